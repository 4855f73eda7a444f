"""One load in a thread of its own."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any


class BackgroundLoad:
    """Loads the backend `index`; a thread that never ends holds nothing up, not even the end of the process."""

    def __init__(self, index: int, load: Callable[[], Any]) -> None:
        self.index = index
        self.future: Future[Any] = Future()
        self._load = load
        Thread(target=self._run, name="backend", daemon=True).start()

    def _run(self) -> None:
        try:
            models = self._load()
        except Exception as error:
            self.future.set_exception(error)
        except BaseException as error:  # would end the thread without a word
            self.future.set_exception(RuntimeError(f"the loader ended its thread by {type(error).__name__}"))
        else:
            self.future.set_result(models)

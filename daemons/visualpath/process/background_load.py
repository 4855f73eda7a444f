"""One load in a thread of its own.

Python stops such a thread when it ends itself; where that is in a model's native code, the whole process is aborted. So
a load is waited for, within reason, and where it takes longer the process must end by `os._exit`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

NAME = "backend"


def loading() -> bool:
    """Whether there is a load in this process that has not ended."""
    return any(thread.name == NAME for thread in threading.enumerate())


class BackgroundLoad:
    """Loads the backend `index`; a thread that never ends holds nothing up, not even the end of the process."""

    def __init__(self, index: int, load: Callable[[], Any]) -> None:
        self.index = index
        self.future: Future[Any] = Future()
        self._load = load
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)
        self._thread.start()

    def wait(self, timeout_s: float) -> None:
        """Until it has ended, but no longer than `timeout_s`."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            models = self._load()
        except Exception as error:
            self.future.set_exception(error)
        except BaseException as error:  # would end the thread without a word
            self.future.set_exception(RuntimeError(f"the loader ended its thread by {type(error).__name__}"))
        else:
            self.future.set_result(models)

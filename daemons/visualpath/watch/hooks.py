"""One hook: events wait in a queue, a thread of its own tells them one after another."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from visualpath.runtime.hooks import HookConfig
from visualpath.runtime.refusals import Refusals
from visualpath.watch.delivery import Event, Untold, address_of, deliver
from visualpath_protocol.clock import NS_PER_S, mono_ns

MAX_WAITING = 100
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0

Result = Literal["done", "failed"]


class Hook:
    """Tells events, each until it is taken or all attempts are used up.

    Args:
        folder: in which a command is run.
        refusals: counts what went wrong; it is told in the log once a second.
        ended: called in the hook's thread for each event that needs no more attempts.
    """

    def __init__(
        self, name: str, config: HookConfig, folder: Path, refusals: Refusals, ended: Callable[[Event, Result], None]
    ) -> None:
        self.name = name
        self.config = config
        self.to = address_of(config)
        self.failure: BaseException | None = None
        self._folder = folder
        self._refusals = refusals
        self._ended = ended
        self._waiting: queue.Queue[Event | None] = queue.Queue(MAX_WAITING)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"hook {name}", daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Events that wait to be told."""
        return self._waiting.qsize()

    def put(self, event: Event) -> bool:
        """Take an event; False (counted) if too many wait."""
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            self._refusals.add(f"hooks.full.{self.name}", f"{event['id']}: {MAX_WAITING} events wait already")
            return False
        return True

    def stop(self) -> None:
        """End soon; what waits is told after the next start, as far as it is still true then."""
        self._stopping.set()
        with suppress(queue.Full):  # the thread looks before it takes the next
            self._waiting.put_nowait(None)

    def join(self, deadline_ns: int) -> None:
        """Wait for the end, at most until then (monotonic): a request that is on its way is left alone."""
        self._thread.join(max(0, deadline_ns - mono_ns()) / NS_PER_S)

    def _run(self) -> None:
        """Thread body. A failure that is ours is kept in `failure` for the loop to raise."""
        try:
            self._work()
        except BaseException as error:  # raised again in the loop's thread
            self.failure = error

    def _work(self) -> None:
        while (event := self._waiting.get()) is not None and not self._stopping.is_set():
            result = self._tell(event)
            if result is not None and not self._stopping.is_set():
                self._ended(event, result)

    def _tell(self, event: Event) -> Result | None:
        """All attempts; None if the stop came first."""
        for attempt in range(self.config.retries + 1):
            try:
                deliver(self.config, event, self._folder, self._stopping)
            except Untold as error:
                if self._stopping.is_set():
                    return None
                last = attempt == self.config.retries or not error.again
                self._refusals.add(
                    f"hooks.failed.{self.name}" if last else f"hooks.retried.{self.name}",
                    f"{event['id']} to {self.to}: {error}",
                )
                if last:
                    return "failed"
                wait_s = max(FIRST_WAIT_S * 2.0**attempt, error.wait_s)
                if self._stopping.wait(min(wait_s, LONGEST_WAIT_S)):
                    return None
            else:
                return "done"
        return "failed"

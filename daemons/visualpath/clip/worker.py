"""One thread for what must not hold the loop up: hashing, syncing, renaming, deleting."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from visualpath_protocol.clock import mono_ns

R = TypeVar("R")

MAX_JOBS = 64


class Worker:
    """Does jobs one after another; each hands its result back to the loop's thread.

    Args:
        call_soon: runs a callback in the loop's thread.
    """

    def __init__(self, call_soon: Callable[[Callable[[], None]], None]) -> None:
        self._call_soon = call_soon
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._open = 0
        self._began_ns = 0
        self._done: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="clip-worker", daemon=True)
        self._thread.start()

    @property
    def has_room(self) -> bool:
        """Whether whoever can wait may hand in a job: at most MAX_JOBS are open then."""
        return self._open < MAX_JOBS

    @property
    def busy_ns(self) -> int:
        """For how long the present job has been done; 0 between two."""
        began_ns = self._began_ns
        return mono_ns() - began_ns if began_ns else 0

    def submit(self, job: Callable[[], R], done: Callable[[R], None]) -> None:
        """Have `job()` done in the thread, then `done(result)` in the loop. What `job` raises is our bug: raised there.

        It takes more than MAX_JOBS only from those whose number is bounded by itself: the recordings of each stream.
        """
        self._open += 1
        self._jobs.put(lambda: self._done.put(_outcome(job, done)))

    def close(self) -> None:
        """Finish all jobs, and hand back their results in this thread."""
        self._jobs.put(None)
        self._thread.join()
        self._deliver()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._began_ns = mono_ns()
            job()
            self._began_ns = 0
            self._call_soon(self._deliver)

    def _deliver(self) -> None:
        while not self._done.empty():
            self._open -= 1
            self._done.get()()


def _outcome(job: Callable[[], R], done: Callable[[R], None]) -> Callable[[], None]:
    """Do the job; returns what is left to do in the loop."""
    try:
        result = job()
    except BaseException as error:  # handed over: it ends the loop, not this thread alone
        bug = error

        def fail() -> None:
            raise bug

        return fail
    return lambda: done(result)

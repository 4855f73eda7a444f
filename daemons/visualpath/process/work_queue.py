"""Between the users of a worker and the thread that owns its child: the frames that wait."""

from __future__ import annotations

import socket
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

from visualpath.process.mailbox import Seen
from visualpath.process.view import AnyFrame
from visualpath.process.worker import WAITING_MAX, WorkerResult


@dataclass(slots=True)
class Task:
    """A frame, and the future of its result.

    Attributes:
        killed: how many children have ended while they were at it.
    """

    number: int
    frame: AnyFrame
    seen: Seen
    killed: int = 0
    future: Future[WorkerResult] = field(default_factory=Future)


class WorkQueue:
    """Frames that wait for the child; the one thing that users and the worker's thread share.

    Attributes:
        woken: becomes readable when there is something to do.
    """

    def __init__(self) -> None:
        self._numbers = 0
        self._waiting: deque[Task] = deque()
        self._changed = threading.Condition()
        self._refusal: WorkerResult | None = None
        self.woken, self._waker = socket.socketpair()
        self.woken.setblocking(False)
        self._waker.setblocking(False)

    @property
    def ended(self) -> bool:
        """Whether nothing is worked on any more."""
        return self._refusal is not None

    def put(self, frame: AnyFrame, seen: Seen) -> Future[WorkerResult]:
        """Add a frame; blocks while there is no room."""
        with self._changed:
            self._changed.wait_for(lambda: len(self._waiting) < WAITING_MAX or self.ended)
            task = Task(self._numbers, frame, seen)
            task.future.set_running_or_notify_cancel()  # so that nobody cancels it: the child may be at it
            self._numbers += 1
            if self._refusal is not None:
                task.future.set_result(self._refusal)
                return task.future
            self._waiting.append(task)
            self._wake()
        return task.future

    def take(self) -> Task | None:
        """The next frame; None: there is none."""
        with self._changed:
            self._changed.notify_all()
            return self._waiting.popleft() if self._waiting else None

    def put_back(self, tasks: list[Task]) -> None:
        """These come first again."""
        with self._changed:
            if self._refusal is None:
                self._waiting.extendleft(reversed(tasks))
                return
        for task in tasks:
            task.future.set_result(self._refusal)

    def end(self, refusal: WorkerResult) -> None:
        """From now on each frame gets this result, also those that wait. Only the first call counts."""
        with self._changed:
            self._refusal = self._refusal or refusal
            left, self._waiting = self._waiting, deque()
            self._changed.notify_all()
            self._wake()
        for task in left:
            task.future.set_result(self._refusal)

    def wait_for_end(self, seconds: float) -> None:
        """Wait, but no longer than there is something to work on."""
        with self._changed:
            self._changed.wait_for(lambda: self.ended, seconds)

    def sleep_again(self) -> None:
        """Forget the wakings so far."""
        self.woken.recv(4096)

    def close(self) -> None:
        """Let go of the sockets, once it has ended."""
        with self._changed:
            self.woken.close()
            self._waker.close()

    def _wake(self) -> None:
        try:
            self._waker.send(b"w")
        except OSError:  # full: it is being woken; closed: nobody is there to be woken
            return

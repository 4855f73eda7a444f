"""A worker whose extractor runs in a process of its own, by this Python or by another venv's.

Laws:
* Frames are sent ahead (`AHEAD`), so that the child never waits for the next one; answers come in the same order.
* A child that dies is started again, and sent again what it had not answered. The frame it was at is tried once more:
  maybe somebody else killed the child; if the next one dies of it too, that frame has an error, and no other.
* A child that takes too long is killed; that costs the frame it was at.
* What an extractor remembered of earlier frames is lost with its child.
* After `FAILURES` failures with no frame in between, the worker gives up: every frame gets the reason, at once.

One thread owns the child; users speak to it by a queue.
"""

from __future__ import annotations

import logging
import selectors
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from visualpath.core.errors import PluginError
from visualpath.core.extractor import BaseExtractor
from visualpath.process.channel import FROM_CHILD, CannotStart, ChannelClosed, Done, Failed, FromChild, Hello, observed
from visualpath.process.child_process import ChildProcess, child_command, work_parts
from visualpath.process.mailbox import Seen
from visualpath.process.view import AnyFrame
from visualpath.process.work_queue import Task, WorkQueue
from visualpath.process.worker import BaseWorker, WorkerResult, closed, found
from visualpath_protocol.errors import MalformedMessage, ProtocolError

log = logging.getLogger(__name__)

AHEAD = 2
FAILURES = 5
TRIES = 2
"""With how many children a frame is tried that ends them."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 5.0
DEFAULT_TIMEOUT_S = 10.0
DEFAULT_START_TIMEOUT_S = 120.0


class ProcessWorker(BaseWorker):
    """Works in a process of its own.

    Args:
        extractor: the class, which the child must be able to import; or an entry point's name, or "module:Class".
        config: its configuration: JSON values.
        source: the name that its observations carry; None: the class's, or what `extractor` says.
        python: the interpreter; None: this one.
        timeout_s: how long a frame may take, from when the child has no other before it.
        start_timeout_s: how long the child may take to load its models.

    Raises:
        PluginError: the extractor cannot be used there; with the child's traceback.
    """

    def __init__(
        self,
        extractor: type[BaseExtractor] | str,
        config: Mapping[str, Any] | None = None,
        source: str | None = None,
        *,
        python: str | Path | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        start_timeout_s: float = DEFAULT_START_TIMEOUT_S,
    ) -> None:
        self.source = source or (extractor if isinstance(extractor, str) else extractor.name)
        self.timeout_s = timeout_s
        self.start_timeout_s = start_timeout_s
        self._command = child_command(python or sys.executable, extractor, self.source, config or {})
        self._queue = WorkQueue()
        self._hello: Future[Hello] = Future()
        self._thread = threading.Thread(target=self._run, name=f"worker-{self.source}", daemon=True)
        self._thread.start()
        try:
            self._depends = self._hello.result().depends
        except BaseException:
            self.close()
            raise

    @property
    def depends(self) -> tuple[str, ...]:
        return self._depends

    def process_async(self, frame: AnyFrame, seen: Seen | None = None) -> Future[WorkerResult]:
        return self._queue.put(frame, seen or {})

    def close(self) -> None:
        self._queue.end(closed(self.source))
        self._thread.join()

    def _run(self) -> None:
        """The thread: one child after the other."""
        failures, why = 0, "it was closed"
        try:
            while not self._queue.ended and failures < FAILURES:
                if failures:
                    pause_s = min(FIRST_PAUSE_S * 2 ** (failures - 1), LONGEST_PAUSE_S)
                    log.warning("worker %s starts again in %.1f s: %s", self.source, pause_s, why)
                    self._queue.wait_for_end(pause_s)
                answered, why = self._run_child()
                failures = 1 if answered else failures + 1
                if not self._hello.done():
                    break
            if not self._queue.ended and self._hello.done():
                log.error("worker %s gives up after %d failures in a row: %s", self.source, failures, why)
        except BaseException as error:
            why = f"a defect of the worker itself: {type(error).__name__}: {error}"
            raise
        finally:
            self._queue.end(WorkerResult(error=f"worker {self.source!r} has given up: {why}"))
            if not self._hello.done():
                self._hello.set_exception(PluginError(f"worker {self.source!r} cannot start: {why}"))
            self._queue.close()

    def _run_child(self) -> tuple[bool, str]:
        """One child, to its end: whether it has answered, and why it ended."""
        try:
            child = ChildProcess(self._command, self.source)
        except PluginError as error:
            return False, str(error)
        life = _Life(child, self._queue, self._hello, self.source)
        why = "a defect of the worker itself"
        try:
            why = life.run(self.start_timeout_s, self.timeout_s)
        finally:
            child.end(orderly=self._queue.ended)
            life.hand_back(why)
        return life.answered, why


class VenvWorker(ProcessWorker):
    """Works in a process of its own, by the Python of another venv; that holds visualpath and the plug-in.

    Args:
        venv_path: the venv's folder; the rest is as with `ProcessWorker`.
    """

    def __init__(
        self,
        extractor: type[BaseExtractor] | str,
        venv_path: str | Path,
        config: Mapping[str, Any] | None = None,
        source: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        start_timeout_s: float = DEFAULT_START_TIMEOUT_S,
    ) -> None:
        python = Path(venv_path) / "bin" / "python"
        if not python.exists():
            raise PluginError(f"{venv_path} is no venv: it has no bin/python; build it, or give another")
        super().__init__(extractor, config, source, python=python, timeout_s=timeout_s, start_timeout_s=start_timeout_s)


class _Life:
    """One child and the frames that it has been sent.

    Attributes:
        answered: whether it has worked on a frame.
    """

    def __init__(self, child: ChildProcess, queue: WorkQueue, hello: Future[Hello], source: str) -> None:
        self.answered = False
        self._child = child
        self._queue = queue
        self._hello = hello
        self._source = source
        self._ready = self._too_long = False
        self._sent: deque[Task] = deque()
        self._since = time.monotonic()

    def run(self, start_timeout_s: float, timeout_s: float) -> str:
        """Until it ends, or has to be ended; why."""
        with selectors.DefaultSelector() as selector:
            for each in (self._child.pidfd, self._queue.woken, self._child.sock):
                selector.register(each, selectors.EVENT_READ)
            while not self._queue.ended:
                self._send_ahead()
                write = selectors.EVENT_WRITE if self._child.channel.waiting else 0
                selector.modify(self._child.sock, selectors.EVENT_READ | write)
                patience_s = timeout_s if self._ready else start_timeout_s
                idle = self._ready and not self._sent
                left_s = None if idle else max(0.0, self._since + patience_s - time.monotonic())
                events = selector.select(left_s)
                if not events:
                    self._too_long = True
                    return f"no answer after {patience_s:g} s" if self._ready else f"not ready after {patience_s:g} s"
                if any(key.fileobj is self._queue.woken for key, _ in events):
                    self._queue.sleep_again()
                try:
                    self._hear()
                except _CannotStart as refused:
                    return str(refused)
                except ProtocolError as error:
                    return f"its process speaks nonsense: {error}"
                except ChannelClosed:
                    return self._child.obituary()
                if any(key.fileobj == self._child.pidfd for key, _ in events):
                    return self._child.obituary()
        return "it was closed"

    def _send_ahead(self) -> None:
        while self._ready and len(self._sent) < AHEAD and (task := self._queue.take()) is not None:
            try:
                parts = work_parts(task.number, task.frame, task.seen)
            except Exception as error:
                task.future.set_result(WorkerResult(error=f"the frame cannot be sent: {error}"))
                continue
            if not self._sent:
                self._since = time.monotonic()
            self._sent.append(task)
            self._child.channel.send(parts)
        self._child.channel.send()

    def _hear(self) -> None:
        while (received := self._child.channel.receive()) is not None:
            self._take(FROM_CHILD.decode(received[0]))

    def _take(self, said: FromChild) -> None:
        self._since = time.monotonic()
        if isinstance(said, CannotStart):
            raise _CannotStart(said.error)
        if isinstance(said, Hello):
            self._ready = True
            if not self._hello.done():
                self._hello.set_result(said)
            return
        if not self._sent or self._sent[0].number != said.number:
            raise MalformedMessage(f"an answer to request {said.number}, which is not the one it is at")
        task = self._sent.popleft()
        self.answered = True
        task.future.set_result(self._result(said, task.frame))

    def _result(self, said: Done | Failed, frame: AnyFrame) -> WorkerResult:
        if isinstance(said, Failed):
            return WorkerResult(error=said.error, timing_ms=said.timing_ms)
        return found(observed(said.observations, self._source, frame.frame_id, frame.t_ns), said.timing_ms)

    def hand_back(self, why: str) -> None:
        """What it has not answered is for the next child, but for a frame that it ended of."""
        if self._sent and not self._queue.ended and self._ready:
            task = self._sent[0]
            task.killed += 1
            if task.killed < TRIES and not self._too_long:
                self._queue.put_back(list(self._sent))
                return
            self._sent.popleft()
            error = f"worker {self._source!r} at frame #{task.frame.frame_id}: {why}"
            task.future.set_result(WorkerResult(error=error))
        self._queue.put_back(list(self._sent))


class _CannotStart(Exception):
    """The child says why."""

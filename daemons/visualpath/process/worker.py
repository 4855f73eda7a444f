"""Workers: the extractor host in the caller's thread, in a thread of its own, or (see `child`) in a process."""

from __future__ import annotations

import threading
import time
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from visualbase.errors import DamagedJpeg
from visualpath.core.errors import ExtractionError
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation
from visualpath.process.host import ExtractorHost
from visualpath.process.mailbox import Seen
from visualpath.process.view import AnyFrame, View, seen_as
from visualpath_protocol.codec import fit_text

if TYPE_CHECKING:
    from typing_extensions import Self

WAITING_MAX = 64
"""Frames that wait for one worker; then who gives it more is held up."""
TRACEBACK_CALLS = 20
TRACEBACK_CHARACTERS = 8000
"""Of a plug-in's traceback that are kept: its innermost calls, its end."""


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """What came of one frame.

    Attributes:
        observation: the first of `observations`; None: there is none.
        error: why the frame could not be looked at, with the traceback where one is known; None: it was.
        timing_ms: from the picture as the extractor gets it to its observations.
        observations: all of them; an empty tuple without an error: it looked and found nothing.
    """

    observation: Observation[Any] | None = None
    error: str | None = None
    timing_ms: float = 0.0
    observations: tuple[Observation[Any], ...] = ()


class BaseWorker(ABC):
    """Runs one extractor. Frames are worked on in the order in which they are given.

    An extractor that fails on a frame costs that frame: its result has an `error`. No call raises for what an
    extractor does; and where the extractor has a process of its own, none blocks for ever. A worker belongs to the
    process that made it, not to forks of that.

    Attributes:
        source: the name that its observations carry.
    """

    source: str

    @property
    @abstractmethod
    def depends(self) -> tuple[str, ...]:
        """The extractors whose observations it needs: see `BaseExtractor.depends`."""

    @abstractmethod
    def process_async(self, frame: AnyFrame, seen: Seen | None = None) -> Future[WorkerResult]:
        """Give it a frame and go on; the future never fails, and is done when the frame's turn is over.

        Blocks while `WAITING_MAX` frames wait. The frame must not be changed any more.

        Args:
            seen: what the extractors that it depends on saw on this frame.
        """

    @abstractmethod
    def close(self) -> None:
        """End what it runs. Frames that wait get an error. May be called twice."""

    def process(self, frame: AnyFrame, seen: Seen | None = None) -> WorkerResult:
        """Give it a frame and wait for what comes of it."""
        return self.process_async(frame, seen).result()

    def extract(self, frame: AnyFrame, seen: Seen | None = None) -> Observation[Any] | None:
        """The first observation of a frame; None: there is none.

        Raises:
            ExtractionError: the frame could not be looked at.
        """
        result = self.process(frame, seen)
        if result.error is not None:
            raise ExtractionError(result.error)
        return result.observation

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class InlineWorker(BaseWorker):
    """Works in the caller's thread.

    Args:
        extractor: the class.
        config: its configuration.
        source: the name that its observations carry; None: the class's own.

    Raises:
        PluginError: it cannot start.
    """

    def __init__(
        self, extractor: type[BaseExtractor], config: Mapping[str, Any] | None = None, source: str | None = None
    ) -> None:
        self.source = source or extractor.name
        self._host = ExtractorHost(extractor, self.source, config or {})
        self._refuses = self._closed = False
        self._host.open()

    @property
    def depends(self) -> tuple[str, ...]:
        return self._host.extractor.depends

    @property
    def view(self) -> View:
        """How its extractor wants pictures."""
        return self._host.view

    @property
    def version(self) -> str:
        """Its extractor's."""
        return str(self._host.extractor.version)

    def process(self, frame: AnyFrame, seen: Seen | None = None) -> WorkerResult:
        if self._refuses:
            return closed(self.source)
        started = time.perf_counter()
        try:
            handled = self._host.handle(seen_as(frame, self._host.view), seen)
        except (ExtractionError, DamagedJpeg, ValueError) as error:
            return WorkerResult(error=with_traceback(error), timing_ms=(time.perf_counter() - started) * 1e3)
        return found(handled.observations, handled.extract_ms)

    def process_async(self, frame: AnyFrame, seen: Seen | None = None) -> Future[WorkerResult]:
        future: Future[WorkerResult] = Future()
        future.set_result(self.process(frame, seen))
        return future

    def refuse(self) -> None:
        """Look at nothing more; may be called by any thread."""
        self._refuses = True

    def close(self) -> None:
        self._refuses = True
        if not self._closed:
            self._closed = True
            self._host.close()


class ThreadWorker(BaseWorker):
    """Works in a thread of its own; arguments as with `InlineWorker`."""

    def __init__(
        self, extractor: type[BaseExtractor], config: Mapping[str, Any] | None = None, source: str | None = None
    ) -> None:
        self.source = source or extractor.name
        self._room = threading.Semaphore(WAITING_MAX)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"worker-{self.source}")
        try:
            # There and nowhere else: some models belong to the thread that loads them.
            self._inline = self._pool.submit(InlineWorker, extractor, config, source).result()
        except BaseException:
            self._pool.shutdown()
            raise

    @property
    def depends(self) -> tuple[str, ...]:
        return self._inline.depends

    def process_async(self, frame: AnyFrame, seen: Seen | None = None) -> Future[WorkerResult]:
        self._room.acquire()
        try:
            future = self._pool.submit(self._process, frame, seen)
        except RuntimeError:  # it is closed
            future = Future()
            future.set_result(closed(self.source))
        future.add_done_callback(lambda _: self._room.release())
        return future

    def _process(self, frame: AnyFrame, seen: Seen | None) -> WorkerResult:
        try:
            return self._inline.process(frame, seen)
        except SystemExit as error:
            return WorkerResult(error=f"the extractor wants the program to end: {error.code!r:.200}")

    def close(self) -> None:
        self._inline.refuse()
        with suppress(RuntimeError):  # it is closed
            self._pool.submit(self._inline.close)
        self._pool.shutdown()


def with_traceback(error: Exception) -> str:
    """What an exception says, followed by the traceback of its cause if it has one: that of the plug-in."""
    if error.__cause__ is None:
        return fit_text(str(error))
    trace = "".join(traceback.format_exception(error.__cause__, limit=-TRACEBACK_CALLS)).rstrip()
    return f"{fit_text(str(error))}\n{trace[-TRACEBACK_CHARACTERS:].encode(errors='replace').decode()}"


def found(observations: list[Observation[Any]], timing_ms: float) -> WorkerResult:
    """The result of a frame that was looked at."""
    return WorkerResult(observations[0] if observations else None, None, timing_ms, tuple(observations))


def closed(source: str) -> WorkerResult:
    """The result of a frame that came too late."""
    return WorkerResult(error=f"worker {source!r} is closed")

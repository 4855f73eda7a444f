"""Several extractors on one frame at once, each within a time that is given to all.

For lossless work on files see `visualpath.process.offline`; the daemons align by event time instead.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from types import TracebackType
from typing import Any

from visualbase.errors import DamagedJpeg
from visualpath.core.errors import ExtractionError, PluginError
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation
from visualpath.observability import FrameDropRecord, ObservabilityHub, TimingRecord
from visualpath.process.host import ExtractorHost
from visualpath.process.view import AnyFrame, seen_as

log = logging.getLogger(__name__)


class ExtractorOrchestrator:
    """Runs extractors on the frames of a stream, in threads.

    A frame whose time is over is given up for the extractors that are late, and one that is still at an earlier frame
    passes over this one; both are traced, as `frame_drop` of reason `timeout` or `backpressure`. An extractor that
    fails costs its own observations (`error`) and, for the same reason, those of the ones that depend on it.

    Args:
        extractors: classes, or objects; an object serves one stream.
        timeout: seconds for a frame, for all extractors together.
        max_workers: how many of them work at the same time.
        hub: where traces go; None: the process's own.

    Raises:
        PluginError: an extractor cannot start, needs one that is not among them, or two have one name.
    """

    def __init__(
        self,
        extractors: Sequence[BaseExtractor | type[BaseExtractor]],
        timeout: float = 0.15,
        max_workers: int = 4,
        hub: ObservabilityHub | None = None,
    ) -> None:
        self.timeout = timeout
        self._hub = hub if hub is not None else ObservabilityHub.get_instance()
        with ExitStack() as opened:  # one that cannot start closes those before it
            self._members = [opened.enter_context(closing(_Member(each))) for each in in_order(extractors)]
            opened.pop_all()
        self._pool = ThreadPoolExecutor(max_workers, thread_name_prefix="extract")

    def extract_all(self, frame: AnyFrame) -> list[Observation[Any]]:
        """All observations that are there in time, in the order of the extractors; blocks for `timeout` at most."""
        started = time.perf_counter()
        found: dict[str, list[Observation[Any]]] = {}
        lost: dict[str, tuple[str, str]] = {}
        waiting, running = list(self._members), dict[Future[list[Observation[Any]]], _Member]()
        while waiting or running:
            for member in [each for each in waiting if set(each.depends) <= found.keys()]:
                waiting.remove(member)
                if member.take():
                    running[self._pool.submit(member.work, frame, dict(found))] = member
                else:
                    lost[member.name] = "backpressure", "it is at an earlier frame"
            left_s = self.timeout - (time.perf_counter() - started)
            done, _ = wait(running, max(0.0, left_s), FIRST_COMPLETED)
            for future in done:
                member = running.pop(future)
                try:
                    found[member.name] = future.result()
                except (ExtractionError, DamagedJpeg, ValueError) as error:
                    log.warning("extractor %s failed on frame #%d: %s", member.name, frame.frame_id, error)
                    lost[member.name] = "error", str(error)
            if not done:
                break
        for future, member in running.items():
            if future.cancel():
                member.let_go()
            lost[member.name] = "timeout", f"not there after {self.timeout:g} s"
        for member in waiting:
            lacking = next(name for name in member.depends if name not in found)
            lost[member.name] = lost[lacking][0], f"there is nothing of {lacking}"
        self._trace(frame, lost, (time.perf_counter() - started) * 1e3)
        return [observation for member in self._members for observation in found.get(member.name, ())]

    def close(self) -> None:
        """End: waits for extractors that are still at work."""
        self._pool.shutdown()
        for member in self._members:
            member.close()

    def __enter__(self) -> ExtractorOrchestrator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _trace(self, frame: AnyFrame, lost: Mapping[str, tuple[str, str]], took_ms: float) -> None:
        for name, (reason, detail) in lost.items():
            self._hub.emit(
                FrameDropRecord(
                    frame_id=frame.frame_id,
                    dropped_frame_ids=(frame.frame_id,),
                    reason=reason,
                    component=name,
                    detail=detail,
                )
            )
        if self._hub.enabled(TimingRecord.level):
            self._hub.emit(TimingRecord(frame_id=frame.frame_id, component="extract_all", processing_ms=took_ms))


class _Member:
    """One extractor and whether it is at work."""

    def __init__(self, extractor: BaseExtractor | type[BaseExtractor]) -> None:
        one = extractor if isinstance(extractor, BaseExtractor) else None
        kind = extractor if isinstance(extractor, type) else type(extractor)
        self.name = extractor.name
        self.depends = extractor.depends
        self.host = ExtractorHost(kind, self.name, {**one.config, **one.backend_config} if one is not None else {})
        self.host.open(one)
        self._at_work = threading.Lock()

    def take(self) -> bool:
        """Begin, unless it is at work."""
        return self._at_work.acquire(blocking=False)

    def let_go(self) -> None:
        self._at_work.release()

    def close(self) -> None:
        self.host.close()

    def work(self, frame: AnyFrame, found: dict[str, list[Observation[Any]]]) -> list[Observation[Any]]:
        """In a thread, once taken."""
        try:
            seen = {name: found[name] for name in self.depends}
            return self.host.handle(seen_as(frame, self.host.view), seen).observations
        finally:
            self.let_go()


def in_order(extractors: Sequence[BaseExtractor | type[BaseExtractor]]) -> list[BaseExtractor | type[BaseExtractor]]:
    """Each after those that it depends on.

    Raises:
        PluginError: one of those is not there, there is a circle, or two have one name.
    """
    names = [extractor.name for extractor in extractors]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PluginError(f"two extractors are called {twice[0]!r}: a source has one name")
    ordered: list[BaseExtractor | type[BaseExtractor]] = []
    rest = list(extractors)
    while rest:
        have = {extractor.name for extractor in ordered}
        ready = [extractor for extractor in rest if set(extractor.depends) <= have]
        if not ready:
            lacking = sorted({name for extractor in rest for name in extractor.depends if name not in names})
            raise PluginError(
                f"no extractor is called {lacking[0]!r}, and {rest[0].name!r} needs it: give it too"
                if lacking
                else f"extractors depend on each other in a circle: {', '.join(e.name for e in rest)}"
            )
        ordered += ready
        rest = [extractor for extractor in rest if extractor not in ready]
    return ordered

"""Work without loss: every extractor looks at every frame, in order, however long that takes.

The same extractor host, aligner and decision as in the daemons; only what drives them differs. Nothing here reads a
clock, so a run gives the same observations and triggers each time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter

from visualpath.core.errors import PluginError
from visualpath.core.stream_fusion import StreamFusion
from visualpath.core.stream_types import Outcome, Tick
from visualpath.process.channel import bodies
from visualpath.process.ipc import INSTANCE
from visualpath.process.view import JpegFrame
from visualpath.process.worker import BaseWorker, WorkerResult
from visualpath_protocol.codec import fit_text
from visualpath_protocol.messages import Obs, Ping, Skip, StreamState

FRAMES_AHEAD = 8
"""Frames that are in work at once, so that extractors of different speed need not wait for each other."""


@dataclass(frozen=True, slots=True)
class Looked:
    """One frame, and what each extractor made of it, by source."""

    frame: JpegFrame
    results: Mapping[str, WorkerResult]


@dataclass(slots=True)
class _InWork:
    frame: JpegFrame
    futures: dict[str, Future[WorkerResult]] = field(default_factory=dict)

    def results(self) -> dict[str, WorkerResult]:
        return {source: future.result() for source, future in self.futures.items()}


class Pipeline:
    """Lets workers look at frames.

    Args:
        workers: one for each source.

    Raises:
        PluginError: two have one name, one depends on another that is not there, or they do in a circle.
    """

    def __init__(self, workers: Sequence[BaseWorker]) -> None:
        self._workers = {worker.source: worker for worker in workers}
        if len(self._workers) < len(workers):
            raise PluginError(f"two extractors have one name: {', '.join(worker.source for worker in workers)}")
        for worker in workers:
            if lacking := set(worker.depends) - self._workers.keys():
                raise PluginError(f"extractor {worker.source!r} needs {', '.join(sorted(lacking))}: give it too")
        try:
            TopologicalSorter({worker.source: worker.depends for worker in workers}).prepare()
        except CycleError as error:
            raise PluginError(f"extractors depend on each other in a circle: {' -> '.join(error.args[1])}") from None

    def look(self, frames: Iterable[JpegFrame]) -> Iterator[Looked]:
        """Each frame with all results, in the order of the frames; a worker that fails has an `error` in its place."""
        rest = iter(frames)
        in_work: deque[_InWork] = deque()
        while True:
            while len(in_work) < FRAMES_AHEAD and (frame := next(rest, None)) is not None:
                in_work.append(_InWork(frame))
            if not in_work:
                return
            self._hand_out(in_work)
            first = in_work[0]
            if len(first.futures) == len(self._workers) and all(each.done() for each in first.futures.values()):
                in_work.popleft()
                yield Looked(first.frame, first.results())
            else:
                wait([f for each in in_work for f in each.futures.values() if not f.done()], None, FIRST_COMPLETED)

    def _hand_out(self, in_work: Iterable[_InWork]) -> None:
        """To each worker each frame as soon as all is known that it needs for it, and never before an earlier one."""
        held_up: set[str] = set()
        for each in in_work:
            for source, worker in self._workers.items():
                if source in each.futures or source in held_up:
                    continue
                needed = [each.futures.get(name) for name in worker.depends]
                if any(future is None or not future.done() for future in needed):
                    held_up.add(source)
                else:
                    each.futures[source] = self._give(worker, each)

    def _give(self, worker: BaseWorker, each: _InWork) -> Future[WorkerResult]:
        known = {name: each.futures[name].result() for name in worker.depends}
        if failed := [name for name, result in known.items() if result.error is not None]:
            future: Future[WorkerResult] = Future()
            future.set_result(WorkerResult(error=f"{failed[0]} failed on it"))
            return future
        return worker.process_async(each.frame, {name: list(result.observations) for name, result in known.items()})


class Decision:
    """Feeds one stream's decision with what workers found, as fusion is fed by extractors.

    Args:
        fusion: of the stream.
        sources: the extractors, which all report each frame.
        epoch: that its triggers carry; above 0.
        fps: nominal frames per second; 0.0: not known.
    """

    def __init__(self, fusion: StreamFusion, sources: Iterable[str], epoch: int = 1, fps: float = 0.0) -> None:
        self._fusion = fusion
        self._epoch = epoch
        self._now = 0
        self._begun = self._feed(StreamState(stream=fusion.stream, epoch=epoch, state="live", fps=fps))
        for source in sources:
            self._feed(Ping(source=source, instance=INSTANCE, streams=[fusion.stream], state="ready"))

    def decide(self, looked: Looked) -> list[Outcome]:
        """What follows from one frame: an aligned set, triggers, and whatever else `StreamFusion` tells."""
        self._now = max(self._now, looked.frame.t_ns)
        outcomes, self._begun = self._begun, []
        for source, result in looked.results.items():
            outcomes += self._feed(self._said(source, looked.frame, result))
        return outcomes

    def close(self) -> list[Outcome]:
        """The stream has ended: let everything that waits leave."""
        outcomes = self._feed(StreamState(stream=self._fusion.stream, epoch=self._epoch, state="ended"))
        while (due := self._fusion.next_deadline()) is not None:
            self._now = max(self._now, due)
            outcomes += self._fusion.feed(Tick(), self._now)
        return outcomes

    def _feed(self, message: Obs | Skip | Ping | StreamState) -> list[Outcome]:
        return self._fusion.feed(message, self._now)

    def _said(self, source: str, frame: JpegFrame, result: WorkerResult) -> Obs | Skip:
        if result.error is not None:
            return Skip(
                source=source,
                instance=INSTANCE,
                seq=0,
                stream=self._fusion.stream,
                epoch=self._epoch,
                first_frame_id=frame.frame_id,
                last_frame_id=frame.frame_id,
                first_t_ns=frame.t_ns,
                t_ns=frame.t_ns,
                reason="error",
                detail=fit_text(result.error),
            )
        return Obs(
            source=source,
            instance=INSTANCE,
            seq=0,
            stream=self._fusion.stream,
            epoch=self._epoch,
            frame_id=frame.frame_id,
            t_ns=frame.t_ns,
            mono_ns=0,
            observations=bodies(result.observations),
            bound_ns=frame.t_ns,
        )

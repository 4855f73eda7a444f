"""A video from its first frame to its last: what extractors see in it, and which moments that makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from visualbase.errors import SourceError
from visualbase.sources import open_source
from visualbase.sources.base import Source
from visualpath.core.align import AlignParams
from visualpath.core.extractor import BaseExtractor
from visualpath.core.fusion import BaseFusion
from visualpath.core.observation import Observation
from visualpath.core.stream_fusion import StreamFusion
from visualpath.core.stream_types import Doubt, FusionFailed, Outcome
from visualpath.process.decision import align_params
from visualpath.process.ipc import NoDecision
from visualpath.process.offline import Decision, Looked, Pipeline
from visualpath.process.view import JpegFrame
from visualpath.process.worker import BaseWorker, InlineWorker
from visualpath.runtime.sections import FusionConfig
from visualpath_protocol.clock import NS_PER_S
from visualpath_protocol.messages import Trig

STREAM = "video"


@dataclass(frozen=True, slots=True)
class Step:
    """One frame, what was seen on it, and what was decided; the last step, at the end of the video, has no frame.

    Attributes:
        dropped: what of the video could not be read, by reason; known at its end.
    """

    looked: Looked | None
    outcomes: list[Outcome]
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def triggers(self) -> list[Trig]:
        """What fired."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, Trig)]

    @property
    def observations(self) -> list[Observation[Any]]:
        """What was seen on the frame, in order of the extractors."""
        results = self.looked.results.values() if self.looked is not None else ()
        return [observation for result in results for observation in result.observations]


def watch(
    source: str, workers: Sequence[BaseWorker], fusion: BaseFusion | None = None, *, stream: str = STREAM
) -> Iterator[Step]:
    """Work through a video without loss: every worker gets every frame.

    Args:
        source: as with `visualbase.sources.open_source`; one that ends.
        workers: one for each source of observations; they stay open.
        fusion: the decision; None: nothing is decided.
        stream: the name that frames, observations and triggers carry.

    Raises:
        SourceError: the video cannot be read, or has several time lines.
        PluginError: the workers do not fit together.
    """
    pipeline = Pipeline(workers)
    with open_source(source) as opened:
        if opened.live:
            raise SourceError(source, "it never ends", "give a file; live streams are for the daemons")
        one_stream = StreamFusion(stream, offline_params(), fusion or NoDecision(), {})
        decision = Decision(one_stream, [worker.source for worker in workers], fps=opened.info.fps)
        for looked in pipeline.look(_frames(source, opened, stream)):
            yield Step(looked, decision.decide(looked))
        yield Step(None, decision.close(), {reason: count for reason, count in opened.dropped.items() if count})


def offline_params() -> AlignParams:
    """The aligner's parameters where nothing is late: as for a stream that is read as fast as it can be."""
    return align_params(FusionConfig(), "fast")


def _frames(name: str, source: Source, stream: str) -> Iterator[JpegFrame]:
    last_ns = -1
    for number, picture in enumerate(source.pictures()):
        if picture.t_ns <= last_ns:
            after = f"its clock is set back after {last_ns / NS_PER_S:.3f} s, before frame #{number}"
            raise SourceError(name, after, "cut it there, and process each part")
        last_ns = picture.t_ns
        yield JpegFrame(
            jpeg=picture.jpeg,
            frame_id=number,
            t_ns=picture.t_ns,
            stream=stream,
            width=picture.width,
            height=picture.height,
        )


@dataclass
class VideoResult:
    """What came of a video.

    Attributes:
        frames: how many were looked at.
        observations: all, in order of frames, then of extractors.
        triggers: the moments.
        errors: frames that each extractor failed on; `fusion`: that the decision failed on.
        first_errors: the first reason of each.
        dropped: what of the video could not be read, by reason, as the source counts it.
        doubts: what keeps the decision from deciding well on this video.
    """

    frames: int = 0
    observations: list[Observation[Any]] = field(default_factory=list)
    triggers: list[Trig] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)
    first_errors: dict[str, str] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    doubts: list[str] = field(default_factory=list)

    def add(self, step: Step) -> None:
        """Take what one step brought, but for its observations: those of a long video fill the memory."""
        if step.looked is not None:
            self.frames += 1
            for source, result in step.looked.results.items():
                if result.error is not None:
                    self._failed(source, step.looked.frame.frame_id, result.error)
        for outcome in step.outcomes:
            if isinstance(outcome, FusionFailed):
                self._failed("fusion", outcome.frame_id, outcome.detail)
            elif isinstance(outcome, Doubt):
                self.doubts.append(outcome.text)
        self.triggers.extend(step.triggers)
        self.dropped.update(step.dropped)

    def _failed(self, source: str, frame_id: int, error: str) -> None:
        self.errors[source] += 1
        self.first_errors.setdefault(source, f"#{frame_id}: {error}")


def process_video(
    source: str,
    modules: Sequence[type[BaseExtractor] | BaseWorker],
    fusion: BaseFusion | None = None,
    backend: str = "simple",
    on_trigger: Callable[[Trig], None] | None = None,
) -> VideoResult:
    """Look at every frame of a video, and decide.

        result = vp.process_video("match.mp4", modules=[FaceExtractor], fusion=HighlightFusion())

    Args:
        source: a file, a folder of pictures, or another address that `open_source` takes and that ends.
        modules: extractor classes, which then work in this thread, or workers of any isolation, which stay open.
        fusion: the decision; None: nothing is decided.
        backend: "simple" is the only one.
        on_trigger: called with each trigger as soon as it is decided.

    Raises:
        SourceError: the video cannot be read.
        PluginError: an extractor cannot start, or they do not fit together.
        ValueError: there is no such backend.
    """
    if backend != "simple":
        raise ValueError(f"there is no backend {backend!r}: write simple")
    result = VideoResult()
    with ExitStack() as stack:
        workers = [
            module if isinstance(module, BaseWorker) else stack.enter_context(InlineWorker(module))
            for module in modules
        ]
        for step in watch(source, workers, fusion):
            result.add(step)
            result.observations.extend(step.observations)
            for trigger in step.triggers:
                if on_trigger is not None:
                    on_trigger(trigger)
    return result

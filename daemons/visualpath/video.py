"""A video from its first frame to its last: what extractors see in it, and which moments that makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from visualbase.errors import SourceError
from visualbase.sources import open_source
from visualpath.core.align import AlignParams
from visualpath.core.extractor import BaseExtractor
from visualpath.core.fusion import BaseFusion
from visualpath.core.observation import Observation
from visualpath.core.stream_fusion import StreamFusion
from visualpath.core.stream_types import FusionFailed, Outcome
from visualpath.process.decision import align_params
from visualpath.process.ipc import NoDecision
from visualpath.process.offline import Decision, Looked, Pipeline
from visualpath.process.view import JpegFrame
from visualpath.process.worker import BaseWorker, InlineWorker
from visualpath.runtime.config import FusionConfig
from visualpath_protocol.messages import Trig

STREAM = "video"


@dataclass(frozen=True, slots=True)
class Step:
    """One frame, what was seen on it, and what was decided; the last step, at the end of the video, has no frame."""

    looked: Looked | None
    outcomes: list[Outcome]

    @property
    def triggers(self) -> list[Trig]:
        """What fired."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, Trig)]


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
        SourceError: the video cannot be read.
        PluginError: the workers do not fit together.
    """
    pipeline = Pipeline(workers)
    decision = Decision(
        StreamFusion(stream, offline_params(), fusion or NoDecision(), {}), [worker.source for worker in workers]
    )
    for looked in pipeline.look(_frames(source, stream)):
        yield Step(looked, decision.decide(looked))
    yield Step(None, decision.close())


def offline_params() -> AlignParams:
    """The aligner's parameters where nothing is late: as for a stream that is read as fast as it can be."""
    return align_params(FusionConfig(), "fast")


def _frames(source: str, stream: str) -> Iterator[JpegFrame]:
    with open_source(source) as opened:
        if opened.live:
            raise SourceError(source, "it never ends", "give a file; live streams are for the daemons")
        for number, picture in enumerate(opened.pictures()):
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
    """

    frames: int = 0
    observations: list[Observation[Any]] = field(default_factory=list)
    triggers: list[Trig] = field(default_factory=list)
    errors: Counter[str] = field(default_factory=Counter)

    def add(self, step: Step) -> None:
        """Take what one step brought."""
        if step.looked is not None:
            self.frames += 1
            for source, looked in step.looked.results.items():
                self.observations.extend(looked.observations)
                self.errors[source] += looked.error is not None
        self.errors["fusion"] += sum(isinstance(outcome, FusionFailed) for outcome in step.outcomes)
        self.triggers.extend(step.triggers)


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
            for trigger in step.triggers:
                if on_trigger is not None:
                    on_trigger(trigger)
    return result

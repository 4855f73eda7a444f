"""What happens on one stream around a moment, while a record is replayed; and what the record itself says of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from visualpath.core.align import AlignedSet, Drop, Late, Reset
from visualpath.core.fusion import BaseFusion, FrameObservations, FusionResult, RuleState
from visualpath.core.stream_types import ByHand, Fused, FusionFailed, Outcome, WildBound
from visualpath.process.record import Head, RecordReader
from visualpath.process.replay import Step
from visualpath.process.survey import Moment
from visualpath_protocol.clock import NS_PER_S
from visualpath_protocol.messages import Bound, Obs, Ping, Skip, StreamState, Trig

BEFORE_NS = 10 * NS_PER_S
"""So far back it is looked for what a source said last."""
AFTER_NS = 2 * NS_PER_S
"""So far ahead for late OBS; for a hold that began before, to its end."""
NEAR_NS = NS_PER_S
"""Triggers so far from the moment are shown; a frame farther from it says nothing about it."""
MAX_KEPT = 10_000
"""So many of the newest SKIPs, of the refused OBS, of the TRIGs."""
MAX_LINES = 16
"""So many of the newest, where time jumps again and again."""

GAP = "the record has a gap"
JUMP = "time jumped"


@dataclass(frozen=True, slots=True)
class Fired:
    """A TRIG; one that was asked for by hand is no rule's, whatever its label."""

    trig: Trig
    by_hand: bool


@dataclass(frozen=True, slots=True)
class Refused:
    """An OBS that came to no set, and the epoch that it is of."""

    epoch: int
    outcome: Late | Drop


@dataclass(slots=True)
class Frame:
    """A frame that was fused.

    Attributes:
        missing: why, for each missing source.
        silent: by which promise each skipped source did not report it, if by no SKIP.
        rules: how they stood after it, by label.
        failed: what the fusion plug-in raised on it.
    """

    aligned: AlignedSet
    missing: dict[str, str]
    silent: dict[str, str]
    rules: dict[str, RuleState]
    failed: str = ""

    @property
    def t_ns(self) -> int:
        """Event time."""
        return self.aligned.t_ns


@dataclass(slots=True, eq=False)
class Line:
    """Frames in rising event time, from where nothing was known to where all was forgotten.

    Attributes:
        began: with what, if something had been before.
        over: what ended it; empty: the end of the record.
        last_t_ns: of its last frame, kept or not.
    """

    began: str = ""
    over: str = ""
    frames: list[Frame] = field(default_factory=list)
    last_t_ns: int = -1


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a record says by itself: its first HEAD, and the TRIGs that were decided then."""

    head: Head
    fired: list[Fired]


def recorded(paths: Iterable[Path], stream: str, moment: Moment) -> Recorded:
    """Read the TRIGs that began by the moment; RecordError as `RecordReader`."""
    head: Head | None = None
    fired: deque[Fired] = deque(maxlen=MAX_KEPT)
    by_hand = False
    for said in RecordReader(paths):
        if isinstance(said, Head):
            head = head or said
        elif said.stream != stream:
            continue
        elif not isinstance(said.message, Trig):
            by_hand = isinstance(said.message, ByHand)
        elif is_of(moment, said.message):
            fired.append(Fired(said.message, by_hand))
    assert head is not None  # a record begins with one
    return Recorded(head, list(fired))


def is_of(moment: Moment, trig: Trig) -> bool:
    """Whether a TRIG may have to do with a moment."""
    return trig.epoch == moment.epoch and trig.t_start_ns <= moment.t_ns + NEAR_NS


class _Watched(BaseFusion):
    """A decision that tells how its rules stand after each frame that is wanted."""

    def __init__(
        self, fusion: BaseFusion, wants: Callable[[int], bool], tell: Callable[[int, BaseFusion], None]
    ) -> None:
        self._fusion = fusion
        self._wants = wants
        self._tell = tell

    def update(self, frame: FrameObservations) -> FusionResult:
        try:
            return self._fusion.update(frame)
        finally:
            if self._wants(frame.t_ns):
                self._tell(frame.frame_id, self._fusion)

    def reset(self) -> None:
        self._fusion.reset()

    def resume(self, label: str, t_end_ns: int) -> None:
        self._fusion.resume(label, t_end_ns)


class Witness:
    """Keeps what happens on one stream around the moment.

    Args:
        strides: stride and phase of the sources that are configured.

    Attributes:
        lines: those with frames around the moment, in order.
        fired: the TRIGs that are decided here.
        stream_state: as the frame daemon last said, in this epoch and up to the moment.
        notes: what it could not be told.
    """

    def __init__(self, stream: str, moment: Moment, strides: dict[str, tuple[int, int]]) -> None:
        self.lines: deque[Line] = deque([Line()], maxlen=MAX_LINES)
        self.skips: deque[Skip] = deque(maxlen=MAX_KEPT)
        self.refused: deque[Refused] = deque(maxlen=MAX_KEPT)
        self.fired: deque[Fired] = deque(maxlen=MAX_KEPT)
        self.stream_state = "unknown"
        self.notes: list[str] = []
        self._stream = stream
        self._moment = moment
        self._from_ns = moment.t_ns - BEFORE_NS
        self._until_ns = moment.t_ns + AFTER_NS
        self._strides = dict(strides)
        self._bounds: dict[str, int] = {}  # by source: the last BOUND
        self._reports: dict[str, int] = {}  # by source: the last frame it reported
        self._after: dict[int, dict[str, RuleState]] = {}
        self._watched = False
        self._left_at_ns: int | None = None

    def watch(self, stream: str, fusion: BaseFusion) -> BaseFusion:
        """Put a watch on the decision of the stream in question, which is a fresh one."""
        if stream != self._stream:
            return fusion
        if self._watched:
            self._begin_line(GAP)
        self._watched = True
        return _Watched(fusion, self._wants, self._ask)

    def see(self, step: Step) -> bool:
        """Take what happened; returns whether all has been seen."""
        message = step.message
        if isinstance(message, Ping):
            self._strides[message.source] = message.stride, message.phase
        elif isinstance(message, Skip) and message.epoch == self._moment.epoch and message.t_ns >= self._from_ns:
            self.skips.append(message)
        self._see_promise(message, step.outcomes)
        self._see_outcomes(step)
        if isinstance(message, StreamState):
            self._see_state(message, step.now_ns)
        return self._left_at_ns is not None and step.now_ns > self._left_at_ns + AFTER_NS

    def _see_promise(self, message: object, outcomes: list[Outcome]) -> None:
        believed = not any(isinstance(outcome, (WildBound, Drop)) for outcome in outcomes)
        if isinstance(message, (Bound, Obs)) and message.epoch == self._moment.epoch and believed:
            said = self._bounds if isinstance(message, Bound) else self._reports
            said[message.source] = max(message.t_ns, said.get(message.source, -1))

    def _see_outcomes(self, step: Step) -> None:
        fused: Frame | None = None  # the last one of this step
        for outcome in step.outcomes:
            if isinstance(outcome, Reset) and isinstance(step.message, (Obs, StreamState)):
                self._begin_line(f"epoch {step.message.epoch} began" if outcome.kind == "epoch" else JUMP)
                self._see_promise(step.message, step.outcomes)
            elif isinstance(outcome, Fused):
                fused = self._see_set(outcome, step.now_ns)
            elif isinstance(outcome, FusionFailed) and fused is not None:
                if outcome.frame_id == fused.aligned.frame_id:
                    fused.failed = outcome.detail
            elif isinstance(outcome, Trig) and is_of(self._moment, outcome):
                self.fired.append(Fired(outcome, isinstance(step.message, ByHand)))
            elif isinstance(outcome, (Late, Drop)) and isinstance(step.message, Obs):
                self._see_refused(Refused(step.message.epoch, outcome))
        self._after.clear()

    def _see_refused(self, refused: Refused) -> None:
        if self._from_ns <= refused.outcome.t_ns <= self._until_ns:
            self.refused.append(refused)

    def _see_set(self, fused: Fused, now_ns: int) -> Frame | None:
        aligned, line = fused.aligned, self.lines[-1]
        if fused.epoch != self._moment.epoch:
            self._see_epoch(fused.epoch, now_ns)
            return None
        line.last_t_ns = aligned.t_ns
        if not self._wants(aligned.t_ns):
            return None
        silent = {source: self._why_silent(source, aligned) for source in aligned.skipped}
        line.frames.append(Frame(aligned, dict(fused.missing), silent, self._after.get(aligned.frame_id, {})))
        return line.frames[-1]

    def _why_silent(self, source: str, aligned: AlignedSet) -> str:
        stride, phase = self._strides.get(source, (1, 0))
        if aligned.frame_id % stride != phase:
            return "its stride"
        if self._bounds.get(source, -1) <= aligned.t_ns < self._reports.get(source, -1):
            return "it reported a later frame and never spoke of this one"
        return "its BOUND"

    def _see_state(self, state: StreamState, now_ns: int) -> None:
        self._see_epoch(state.epoch, now_ns)
        if state.epoch != self._moment.epoch:
            return
        line = self.lines[-1]
        line.over = "the stream ended" if state.state == "ended" else ""
        if max(line.last_t_ns, state.last_t_ns or 0) <= self._moment.t_ns:
            self.stream_state = state.state

    def _see_epoch(self, epoch: int, now_ns: int) -> None:
        if epoch > self._moment.epoch and self._left_at_ns is None:
            self._left_at_ns = now_ns

    def _begin_line(self, began: str) -> None:
        self._bounds.clear()
        self._reports.clear()
        line = self.lines[-1]
        if line.last_t_ns < 0:  # there is nothing to forget
            line.began = line.began or began
            return
        line.over = line.over or began
        if not line.frames:
            self.lines.pop()
        self.lines.append(Line(began))

    def _wants(self, t_ns: int) -> bool:
        """Frames around the moment, the first one after them, and those of a hold that goes on."""
        if t_ns < self._from_ns:
            return False
        frames = self.lines[-1].frames
        if t_ns <= self._until_ns or (frames and frames[-1].t_ns <= self._until_ns):
            return True
        holds = [rule.hold_from_ns for rule in frames[-1].rules.values()] if frames else []
        return any(hold is not None and hold <= self._until_ns for hold in holds)

    def _ask(self, frame_id: int, fusion: BaseFusion) -> None:
        """A plug-in's failure to explain itself is no failure to decide."""
        try:
            rules = {rule.label: rule for rule in fusion.explain()}
            if not all(isinstance(rule, RuleState) for rule in rules.values()):
                raise TypeError("explain() gives no RuleState")
            self._after[frame_id] = rules
        except Exception as error:
            if not self.notes:
                self.notes.append(f"the fusion plug-in fails to explain itself: {type(error).__name__}: {error}")

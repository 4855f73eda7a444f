"""Why there was, or was not, a trigger at a moment: a record is replayed, and watched around that moment."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from visualpath.core.align import AlignedSet, Drop, Late
from visualpath.core.errors import RecordError
from visualpath.core.fusion import BaseFusion, FrameObservations, FusionResult, Reading, RuleState
from visualpath.core.stream_fusion import Fused, FusionFailed
from visualpath.process.replay import Replay, Step
from visualpath.process.survey import Moment
from visualpath_protocol.clock import NS_PER_MS, NS_PER_S
from visualpath_protocol.messages import Obs, Skip, StreamState, Trig, seconds

BEFORE_NS = 10 * NS_PER_S
"""So far back it is looked for what a source said last."""
AFTER_NS = 2 * NS_PER_S
"""So far ahead for late OBS; for a hold that began before, to its end."""
TYPED_NS = NS_PER_MS
"""Times are typed with three decimals; the frame that is meant may be a little later."""
NEAR_NS = NS_PER_S
"""Triggers so far from the moment are shown."""
UNANNOUNCED = "its stride or a BOUND says so"
MAX_RUNS = 3
"""The newest turns in what a source did."""


@dataclass(frozen=True, slots=True)
class SourceReport:
    """What a source had to do with a frame.

    Attributes:
        state: reported, late, skipped, missing or dropped.
        why: the reason, where it did not report.
        signals: of each of its observations.
    """

    source: str
    state: str
    why: str
    signals: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One rule at the moment.

    Attributes:
        fired: the trigger that the moment is part of.
        answer: yes or no, and why.
    """

    label: str
    fired: str | None
    answer: str
    state: RuleState


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything there is to say about a moment.

    Attributes:
        frame_id, frame_t_ns: the frame that was the last at that time, or else the first one.
        mono_ns: when that was captured.
        left: what ended the wait for its observations (`complete`, `window`, ...), after `hold_ns`.
        stream_state: as the frame daemon last said.
        failed: what the fusion plug-in raised on it.
        triggers: near the moment.
        notes: what the record lacks.
    """

    stream: str
    epoch: int
    t_ns: int
    frame_id: int
    frame_t_ns: int
    mono_ns: int
    left: str
    hold_ns: int
    stream_state: str
    failed: str
    sources: list[SourceReport]
    rules: list[Verdict]
    triggers: list[Trig]
    notes: list[str]


@dataclass(slots=True)
class _Frame:
    aligned: AlignedSet
    missing: dict[str, str]
    rules: dict[str, RuleState]
    failed: str = ""

    @property
    def t_ns(self) -> int:
        return self.aligned.t_ns


def explain(paths: Iterable[Path], stream: str, moment: Moment) -> Answer:
    """Replay a record up to a moment, and as far beyond as it takes to see what became of it.

    Raises:
        RecordError, PluginError, ConfigError: the record or its fusion plug-in cannot be used.
    """
    watcher = _Watcher(stream, moment)
    replay = Replay(paths, watch=watcher.watch)
    for step in replay.steps():
        if step.stream == stream and watcher.see(step):
            break
    if not watcher.frames:
        raise RecordError(f"no set of {stream} left within {BEFORE_NS // NS_PER_S} s of {seconds(moment.t_ns)}")
    head = replay.head
    groups = head.streams[stream].setup.groups if head is not None else {}
    return _Report(watcher, moment, groups).answer(stream, replay.notes)


class _Watched(BaseFusion):
    """A decision that tells how its rules stand after each frame from `from_ns` on."""

    def __init__(self, fusion: BaseFusion, from_ns: int, after: dict[int, list[RuleState]]) -> None:
        self._fusion = fusion
        self._from_ns = from_ns
        self._after = after

    def update(self, frame: FrameObservations) -> FusionResult:
        try:
            return self._fusion.update(frame)
        finally:
            if frame.t_ns >= self._from_ns:
                self._after[frame.frame_id] = self._fusion.explain()

    def reset(self) -> None:
        self._fusion.reset()

    def resume(self, label: str, t_end_ns: int) -> None:
        self._fusion.resume(label, t_end_ns)


class _Watcher:
    """Keeps what happens on one stream around the moment."""

    def __init__(self, stream: str, moment: Moment) -> None:
        self.frames: list[_Frame] = []
        self.skips: list[Skip] = []
        self.trigs: list[Trig] = []
        self.refused: list[Late | Drop] = []
        self.stream_state = "unknown"
        self._stream = stream
        self._moment = moment
        self._from_ns = moment.t_ns - BEFORE_NS
        self._after: dict[int, list[RuleState]] = {}

    def watch(self, stream: str, fusion: BaseFusion) -> BaseFusion:
        """Put a watch on the decision of the stream in question."""
        return _Watched(fusion, self._from_ns, self._after) if stream == self._stream else fusion

    def see(self, step: Step) -> bool:
        """Take what happened; returns whether all has been seen."""
        message = step.message
        if isinstance(message, Skip) and message.epoch == self._moment.epoch:
            self.skips.append(message)
        elif isinstance(message, StreamState) and not self._is_past():
            self.stream_state = message.state
        for outcome in step.outcomes:
            if isinstance(outcome, Fused) and outcome.epoch == self._moment.epoch:
                self._see_set(outcome)
            elif isinstance(outcome, (Late, Drop)):
                self.refused.append(outcome)
            elif isinstance(outcome, Trig) and outcome.epoch == self._moment.epoch:
                self.trigs.append(outcome)
            elif isinstance(outcome, FusionFailed):
                self._see_failure(outcome)
        self._after.clear()
        return self._is_past() and self._nothing_is_open()

    def _see_set(self, fused: Fused) -> None:
        aligned = fused.aligned
        if aligned.t_ns >= self._from_ns:
            rules = {rule.label: rule for rule in self._after.get(aligned.frame_id, [])}
            self.frames.append(_Frame(aligned, dict(fused.missing), rules))

    def _see_failure(self, failed: FusionFailed) -> None:
        if self.frames and self.frames[-1].aligned.frame_id == failed.frame_id:
            self.frames[-1].failed = failed.detail

    def _is_past(self) -> bool:
        return bool(self.frames) and self.frames[-1].t_ns > self._moment.t_ns + AFTER_NS

    def _nothing_is_open(self) -> bool:
        """Whether no hold goes on that had begun by the moment."""
        holds = [rule.hold_from_ns for rule in self.frames[-1].rules.values()]
        return all(hold is None or hold > self._moment.t_ns + AFTER_NS for hold in holds)


class _Report:
    """Makes the answer from what was seen.

    Args:
        groups: the names by which rules know sources, where they are others.
    """

    def __init__(self, seen: _Watcher, moment: Moment, groups: dict[str, str]) -> None:
        self._seen = seen
        self._frames = seen.frames
        self._moment = moment
        self._groups = groups
        until_ns = moment.t_ns + TYPED_NS
        self._at = max(0, bisect(self._frames, until_ns, key=lambda frame: frame.t_ns) - 1)
        self._frame = self._frames[self._at]

    def answer(self, stream: str, notes: list[str]) -> Answer:
        frame = self._frame
        return Answer(
            stream=stream,
            epoch=self._moment.epoch,
            t_ns=self._moment.t_ns,
            frame_id=frame.aligned.frame_id,
            frame_t_ns=frame.t_ns,
            mono_ns=next(iter(frame.aligned.payloads.values())).mono_ns,
            left=frame.aligned.reason,
            hold_ns=frame.aligned.hold_ns,
            stream_state=self._seen.stream_state,
            failed=frame.failed,
            sources=sorted(self._sources(frame), key=lambda report: report.source),
            rules=[self._verdict(label) for label in frame.rules],
            triggers=[trig for trig in self._seen.trigs if self._is_near(trig)],
            notes=[*notes, *self._gap()],
        )

    def _gap(self) -> Iterator[str]:
        """Frames after this one, of which there is no set."""
        if self._at + 1 == len(self._frames):
            return
        first, last = self._frame.aligned.frame_id + 1, self._frames[self._at + 1].aligned.frame_id - 1
        if first <= last:
            skips = [skip for skip in self._seen.skips if skip.first_frame_id <= last and first <= skip.last_frame_id]
            why = ", ".join(dict.fromkeys(f"{skip.source} skipped for {skip.reason}" for skip in skips))
            yield f"after that frame no source reported #{first} to #{last}{f': {why}' if why else ''}"

    def _is_near(self, trig: Trig) -> bool:
        return trig.t_start_ns - NEAR_NS <= self._moment.t_ns <= trig.t_end_ns + NEAR_NS

    # Sources.

    def _sources(self, frame: _Frame) -> Iterator[SourceReport]:
        for source in frame.aligned.obs:
            obs: Obs = frame.aligned.payloads[source]
            yield SourceReport(source, "reported", "", [body.signals for body in obs.observations])
        for source in frame.aligned.skipped:
            yield self._refused(source, frame) or SourceReport(
                source, "skipped", self._announced(source, frame) or UNANNOUNCED
            )
        for source, why in frame.missing.items():
            announced = self._announced(source, frame)
            more = f"; its SKIP came later ({announced})" if announced else ""
            yield self._refused(source, frame) or SourceReport(source, "missing", why + more)

    def _announced(self, source: str, frame: _Frame) -> str:
        """The reason of a SKIP of this frame, if there was one."""
        for skip in self._seen.skips:
            if skip.source == source and skip.first_frame_id <= frame.aligned.frame_id <= skip.last_frame_id:
                return f"{skip.reason} {skip.detail}".rstrip()
        return ""

    def _refused(self, source: str, frame: _Frame) -> SourceReport | None:
        for each in self._seen.refused:
            if (each.source, each.frame_id, each.t_ns) == (source, frame.aligned.frame_id, frame.t_ns):
                if isinstance(each, Late):
                    return SourceReport(source, "late", f"{each.behind_ns / NS_PER_MS:.0f} ms of event time behind")
                return SourceReport(source, "dropped", each.reason)
        return None

    # Rules.

    def _verdict(self, label: str) -> Verdict:
        rule = self._frame.rules[label]
        for trig in self._seen.trigs:
            if trig.label == label and trig.t_start_ns <= self._frame.t_ns <= trig.t_end_ns:
                return Verdict(label, trig.trig_id, f"yes: {trig}", rule)
        if self._frame.t_ns < rule.cooldown_until_ns:
            answer = f"no: cooldown until {seconds(rule.cooldown_until_ns)}{self._after_which(label)}"
        elif rule.hold_from_ns is not None:
            answer = self._how_the_hold_ended(rule, rule.hold_from_ns)
        else:
            reasons = [self._reason(reading, self._at) for reading in rule.readings if reading.wanted is not None]
            answer = f"no: {'; '.join(reasons)}"
        return Verdict(label, None, answer, rule)

    def _after_which(self, label: str) -> str:
        """The firing that a cooldown comes from, if it is in the record."""
        fired = [trig for trig in self._seen.trigs if trig.label == label and trig.t_end_ns < self._frame.t_ns]
        return f", after {fired[-1].trig_id} at {seconds(fired[-1].t_end_ns)}" if fired else ""

    def _how_the_hold_ended(self, rule: RuleState, hold_from_ns: int) -> str:
        at = self._at
        later = range(at + 1, len(self._frames))
        end = next((i for i in later if self._frames[i].rules[rule.label].hold_from_ns != hold_from_ns), None)
        last = self._frames[end - 1 if end is not None else -1]
        held = f"held for {(last.t_ns - hold_from_ns) / 1e9:.3f} s of {rule.for_ns / 1e9:g} s"
        if end is None:
            return f"not yet: {held} when the record ends"
        if self._frames[end].aligned.gen != last.aligned.gen:
            return f"no: {held} when time jumped"
        return f"no: {held} when {'; '.join(self._what_ended_it(rule.label, end))}"

    def _what_ended_it(self, label: str, end: int) -> list[str]:
        """Each value that lapsed before the frame, else what was against the condition on it."""
        before, after = self._frames[end - 1].rules[label], self._frames[end].rules[label]
        between = range(self._frames[end - 1].t_ns, self._frames[end].t_ns)
        lapsed = [each for each in before.readings if each.stands_until_ns in between]
        if lapsed:
            return [self._reason(each, end - 1, "became unknown at") for each in lapsed]
        return [self._reason(each, end) for each in after.readings if each.wanted is not None]

    def _reason(self, reading: Reading, at: int, unknown: str = "is unknown since") -> str:
        """One comparison that is not as it would have to be, after the frame at this place."""
        name = f"{reading.source}.{reading.signal}"
        must = "needs" if reading.wanted is not False else "must not be"
        wants = f"({must} {reading.comparison.removeprefix(name).strip()})"
        if reading.value is None or reading.stands_until_ns is None:
            return f"{name} was never seen {wants}{self._what_it_did(reading, at)}"
        if reading.stands_until_ns < self._frames[at].t_ns or unknown.startswith("became"):
            last = f"last seen on frame #{reading.frame_id}"
            return f"{name} {unknown} {seconds(reading.stands_until_ns)} ({last}{self._what_it_did(reading, at)})"
        return f"{name} was {reading.value:g} {wants} on frame #{reading.frame_id}"

    def _what_it_did(self, reading: Reading, at: int) -> str:
        """What the source did in place of giving the signal, in runs of frames."""
        since = -1 if reading.t_ns is None else reading.t_ns
        frames = [frame for frame in self._frames[: at + 1] if frame.t_ns > since]
        runs = []
        for what, run in groupby(frames, lambda frame: self._did(reading, frame)):
            ids = [frame.aligned.frame_id for frame in run]
            runs.append(f"{what} #{ids[0]}" + (f"-#{ids[-1]}" if len(ids) > 1 else ""))
        return f"; {reading.source} {', then '.join(runs[-MAX_RUNS:])}" if runs else ""

    def _did(self, reading: Reading, frame: _Frame) -> str:
        reports = [each for each in self._sources(frame) if self._group_of(each.source) == reading.source]
        states: dict[str, Any] = {each.state: each for each in reports}
        if "reported" in states:
            return f"reported without {reading.signal} on"
        for state in ("late", "dropped", "missing"):
            if state in states:
                return f"was {state if state != 'missing' else states[state].why} on"
        return f"skipped ({states['skipped'].why})" if states else "was not there on"

    def _group_of(self, source: str) -> str:
        return self._groups.get(source, source)

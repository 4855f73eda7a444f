"""Why there was, or was not, a trigger at a moment: a record is replayed, and watched around that moment."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from visualpath.core.align import Late
from visualpath.core.errors import RecordError
from visualpath.core.fusion import Reading, RuleState
from visualpath.process.replay import Replay
from visualpath.process.survey import Moment
from visualpath.process.witness import AFTER_NS, BEFORE_NS, GAP, JUMP, NEAR_NS, Frame, Line, Recorded, Witness, recorded
from visualpath_protocol.clock import NS_PER_MS, NS_PER_S
from visualpath_protocol.messages import Obs, Trig, seconds

TYPED_NS = NS_PER_MS
"""Times are typed with three decimals; the frame that is meant may be a little later."""
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
class Waiting:
    """What several rules waited for at the moment; no verdict of theirs says it again, unless it has nothing else.

    Attributes:
        what: for people: `the gate to open`.
        labels: of these rules, at least two.
        readings: that all of them have.
        reasons: what of these was not as it had to be.
    """

    what: str
    labels: list[str]
    readings: tuple[Reading, ...]
    reasons: list[str]


@dataclass(frozen=True, slots=True)
class Answer:
    """Everything there is to say about a moment.

    Attributes:
        frame_id, frame_t_ns: the frame that was the last at that time, or else the first one.
        mono_ns: when that was captured.
        left: what ended the wait for its observations (`complete`, `window`, ...), after `hold_ns`.
        stream_state: as the frame daemon last said by then.
        failed: what the fusion plug-in raised on it.
        waiting: what is common to several of the rules.
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
    waiting: list[Waiting]
    rules: list[Verdict]
    triggers: list[Trig]
    notes: list[str]


def explain(paths: Iterable[Path], stream: str, moment: Moment) -> Answer:
    """Replay a record to the end of the moment's epoch, and look at what became of the moment.

    Raises:
        RecordError, PluginError, ConfigError: the record or its fusion plug-in cannot be used.
    """
    files = list(paths)
    before = recorded(files, stream, moment)
    setup = before.head.streams[stream].setup
    seen = Witness(stream, moment, setup.expected)
    replay = Replay(files, watch=seen.watch)
    for step in replay.steps():
        if step.stream == stream and seen.see(step):
            break
    lines = [line for line in seen.lines if line.frames and line.frames[0].t_ns <= moment.t_ns + AFTER_NS]
    if not lines:
        raise RecordError(f"no set of {stream} left within {BEFORE_NS // NS_PER_S} s of {seconds(moment.t_ns)}")
    return _Report(seen, before, lines, moment, setup.group_of).answer(stream, replay.notes)


class _Report:
    """Makes the answer from what was seen.

    Args:
        lines: those with frames around the moment, in order; there is one.
        group_of: the name by which rules know a source.
    """

    def __init__(
        self, seen: Witness, before: Recorded, lines: list[Line], moment: Moment, group_of: Callable[[str], str]
    ) -> None:
        self._seen = seen
        self._head = before.head
        self._lines = lines
        self._moment = moment
        self._group_of = group_of
        until_ns = moment.t_ns + TYPED_NS
        begun = [line for line in lines if line.frames[0].t_ns <= until_ns]
        self._passes = [line for line in begun if line.frames[-1].t_ns >= moment.t_ns]
        self._line = (self._passes or sorted(begun, key=lambda line: line.last_t_ns) or lines)[-1]
        self._frames = self._line.frames
        self._at = max(0, bisect(self._frames, until_ns, key=lambda frame: frame.t_ns) - 1)
        self._frame = self._frames[self._at]
        is_meant = abs(self._frame.t_ns - moment.t_ns) <= TYPED_NS
        self._t_ns = self._frame.t_ns if is_meant else moment.t_ns
        self._decided = {each.trig.trig_id for each in seen.fired}
        self._recorded = {each.trig.trig_id for each in before.fired}
        again = [each for each in seen.fired if each.trig.trig_id not in self._recorded]
        self._fired = sorted([*before.fired, *again], key=lambda each: each.trig.t_end_ns)
        self._waiting = list(self._common())

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
            waiting=self._waiting,
            rules=[self._verdict(label) for label in frame.rules],
            triggers=[each.trig for each in self._fired if self._is_near(each.trig)],
            notes=[*notes, *self._seen.notes, *self._other_passes(), *self._gap()],
        )

    def _other_passes(self) -> Iterator[str]:
        if len(self._passes) > 1:
            yield f"time jumped back: epoch {self._moment.epoch} came to that moment again, this is the last time"

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

    def _sources(self, frame: Frame) -> Iterator[SourceReport]:
        for source in frame.aligned.obs:
            obs: Obs = frame.aligned.payloads[source]
            yield SourceReport(source, "reported", "", [body.signals for body in obs.observations])
        for source in frame.aligned.skipped:
            yield self._refused(source, frame) or SourceReport(
                source, "skipped", self._announced(source, frame) or frame.silent[source]
            )
        for source, why in frame.missing.items():
            announced = self._announced(source, frame)
            more = f"; its SKIP came later ({announced})" if announced else ""
            yield self._refused(source, frame) or SourceReport(source, "missing", why + more)

    def _announced(self, source: str, frame: Frame) -> str:
        """The reason of a SKIP of this frame, if there was one."""
        for skip in self._seen.skips:
            if skip.source == source and skip.first_frame_id <= frame.aligned.frame_id <= skip.last_frame_id:
                return f"{skip.reason} {skip.detail}".rstrip()
        return ""

    def _refused(self, source: str, frame: Frame) -> SourceReport | None:
        wanted = self._moment.epoch, source, frame.aligned.frame_id, frame.t_ns
        for refused in self._seen.refused:
            each = refused.outcome
            if (refused.epoch, each.source, each.frame_id, each.t_ns) == wanted:
                if isinstance(each, Late):
                    return SourceReport(source, "late", f"{each.behind_ns / NS_PER_MS:.0f} ms of event time behind")
                return SourceReport(source, "dropped", each.reason)
        return None

    # Rules.

    def _common(self) -> Iterator[Waiting]:
        """What several rules that wait for the same thing have in common."""
        rules = self._frame.rules
        for what in dict.fromkeys(rule.waits_for for rule in rules.values() if rule.waits_for):
            labels = [label for label, rule in rules.items() if rule.waits_for == what]
            shared = set.intersection(*({*rules[label].readings} for label in labels))
            readings = tuple(each for each in rules[labels[0]].readings if each in shared)
            if len(labels) > 1:
                yield Waiting(what, labels, readings, self._failing(readings))

    def _failing(self, readings: Iterable[Reading]) -> list[str]:
        return [self._reason(each, self._at) for each in readings if each.wanted is not None]

    def _verdict(self, label: str) -> Verdict:
        rule = self._frame.rules[label]
        for trig in self._own(label):
            if trig.t_start_ns <= self._t_ns <= trig.t_end_ns:
                return Verdict(label, trig.trig_id, f"yes: {trig}{self._known_from(trig)}", rule)
        if self._is_silence(rule):
            answer = f"no: no frame was fused {self._silence()}"
        elif self._t_ns < rule.cooldown_until_ns:
            answer = f"no: cooldown until {seconds(rule.cooldown_until_ns)}{self._after_which(label)}"
        elif rule.hold_from_ns is not None:
            answer = self._how_the_hold_ended(rule, rule.hold_from_ns)
        else:
            together = [waiting for waiting in self._waiting if label in waiting.labels]
            told = [reading for waiting in together for reading in waiting.readings]
            reasons = self._failing(each for each in rule.readings if each not in told)
            if rule.waits_for and not (together and reasons):
                reasons.insert(0, f"it waited for {rule.waits_for}")
            answer = f"no: {'; '.join(reasons) or 'it is true, but no hold has begun'}"
        return Verdict(label, None, answer, rule)

    def _own(self, label: str) -> list[Trig]:
        """The firings of a rule."""
        return [each.trig for each in self._fired if each.trig.label == label and not each.by_hand]

    def _known_from(self, trig: Trig) -> str:
        if trig.trig_id not in self._recorded:
            return " (decided from the record, which does not have it)"
        if trig.trig_id in self._decided:
            return ""
        is_cut = self._head.number or any(GAP in (line.began, line.over) for line in self._lines)
        why = "cannot be derived again from what is left of the record" if is_cut else "is not decided so again"
        return f" (as recorded; it {why})"

    def _after_which(self, label: str) -> str:
        """The firing that a cooldown comes from, if it is in the record."""
        fired = [trig for trig in self._own(label) if trig.t_end_ns < self._t_ns]
        return f", after {fired[-1].trig_id} at {seconds(fired[-1].t_end_ns)}" if fired else ""

    def _is_silence(self, rule: RuleState) -> bool:
        """Whether the moment is in a time of which nothing is known but, at best, a cooldown."""
        if self._frame.t_ns > self._t_ns:
            return True
        if self._t_ns < rule.cooldown_until_ns:
            return False
        following = [frame.rules.get(rule.label) for frame in self._frames[self._at + 1 : self._at + 2]]
        goes_on = any(state is not None and state.hold_from_ns == rule.hold_from_ns for state in following)
        return self._t_ns > self._frame.t_ns + NEAR_NS and not (rule.hold_from_ns is not None and goes_on)

    def _silence(self) -> str:
        if self._frame.t_ns > self._t_ns:
            return f"before {seconds(self._frame.t_ns)}"
        later = [frame.t_ns for line in self._lines for frame in line.frames if frame.t_ns > self._t_ns]
        since = seconds(self._frame.t_ns)
        return f"from {since} to {seconds(min(later))}" if later else f"after {since} in this epoch"

    def _how_the_hold_ended(self, rule: RuleState, hold_from_ns: int) -> str:
        later = range(self._at + 1, len(self._frames))
        states = {i: self._frames[i].rules.get(rule.label) for i in later}
        end = next((i for i, state in states.items() if state is None or state.hold_from_ns != hold_from_ns), None)
        last = self._frames[end - 1 if end is not None else -1]
        held = f"held for {(last.t_ns - hold_from_ns) / 1e9:.3f} s"
        if rule.for_ns:
            held += f" of {rule.for_ns / 1e9:g} s"
        if waited_for := last.rules[rule.label].waits_for:
            held += f", waiting for {waited_for},"
        if end is not None:
            state = states[end]
            reasons = [self._reason(each, end, has_ended=True) for each in state.ended_by] if state else []
            return f"no: {held} when {'; '.join(reasons) or 'the plug-in ended it, and does not say why'}"
        if self._line.over:
            return f"no: {held} when {self._line.over}"
        return f"not yet: {held} when the record ends"

    def _reason(self, reading: Reading, at: int, has_ended: bool = False) -> str:
        """One comparison that is not as it would have to be at the frame at this place, or with it has ended a hold."""
        name = f"{reading.source}.{reading.signal}"
        must = "needs" if reading.wanted is not False else "must not be"
        wants = f"({must} {reading.comparison.removeprefix(name).strip()})"
        if reading.absent:
            return f"{name} is unknown: {reading.absent} {wants}"
        if reading.value is None or reading.stands_until_ns is None:
            return f"{name} was never seen{self._since()} {wants}{self._what_it_did(reading, at)}"
        if reading.stands_until_ns < self._frames[at].t_ns:
            unknown = f"{'became unknown at' if has_ended else 'is unknown since'} {seconds(reading.stands_until_ns)}"
            instead = self._what_it_did(reading, at - has_ended)  # on that frame it was too late
            return f"{name} {unknown} (last seen on frame #{reading.frame_id}{instead})"
        return f"{name} was {reading.shown or f'{reading.value:g}'} {wants} on frame #{reading.frame_id}"

    def _since(self) -> str:
        """From where on it can be known what was seen."""
        if self._line.began in (GAP, JUMP):
            return f" since {self._line.began}" if self._line.began == JUMP else " after the gap in the record"
        return " in what is left of the record" if self._head.number and self._line is self._seen.lines[0] else ""

    def _what_it_did(self, reading: Reading, at: int) -> str:
        """What the source did in place of giving the signal, in runs of frames."""
        since = -1 if reading.t_ns is None else reading.t_ns
        frames = [frame for frame in self._frames[: at + 1] if frame.t_ns > since]
        runs = []
        for what, run in groupby(frames, lambda frame: self._did(reading, frame)):
            ids = [frame.aligned.frame_id for frame in run]
            runs.append(f"{what} #{ids[0]}" + (f"-#{ids[-1]}" if len(ids) > 1 else ""))
        return f"; {reading.source} {', then '.join(runs[-MAX_RUNS:])}" if runs else ""

    def _did(self, reading: Reading, frame: Frame) -> str:
        reports = [each for each in self._sources(frame) if self._group_of(each.source) == reading.source]
        states: dict[str, Any] = {each.state: each for each in reports}
        if "reported" in states:
            return f"reported without {reading.signal} on"
        for state in ("late", "dropped", "missing"):
            if state in states:
                return f"was {state if state != 'missing' else states[state].why} on"
        return f"skipped ({states['skipped'].why})" if states else "was not there on"

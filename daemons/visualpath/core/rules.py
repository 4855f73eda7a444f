"""The built-in fusion: rules over signals.

Laws:
* The last value of a signal stands for `max_gap` of event time; then it is unknown.
* A hold begins at the first frame on which the condition is true and ends as soon as it is false or
  unknown, also between two frames.
* A rule fires on the frame on which its hold has lasted `for`: t_start is the first frame of the hold,
  t_end the firing frame.
* With `count`, a hold that has lasted `for` counts once, and the rule fires as soon as `count` of them, the last one
  still going on, lie `within` a span that begins with the first: t_start. Between two of them the condition must have
  been false for as long as `for`: a hold that only a flicker, or an unknown value, has ended is the same one.
* With `min_score`, a hold that is long enough waits for the score as long as it lasts; an unknown score is none.
* After a firing nothing is counted until `cooldown` of event time is over; then a new hold begins.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from visualpath.core.conditions import Comparison, Condition, Lookup, Signal, parse_condition, parse_signal
from visualpath.core.errors import RuleError
from visualpath.core.fusion import BaseFusion, FrameObservations, FusionResult, Reading, RuleState
from visualpath.core.trigger import EvidenceItem, Trigger
from visualpath.core.units import Duration, decode_quantity
from visualpath_protocol.messages import Name


class RuleConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One rule as it stands in visualpath.yaml.

    Attributes:
        label: name of the moment.
        when: the condition; see `visualpath.core.conditions`.
        for_ns: how long it must hold (key `for`).
        count: how many times it must have become true, and held so long.
        within_ns: in which span of event time (key `within`).
        cooldown_ns: for how long nothing fires after a firing (key `cooldown`).
        max_gap_ns: for how long a signal's last value stands (key `max_gap`).
        score: a signal `source.name` whose value, clamped to [0, 1], becomes the score; none: 1.0.
        min_score: below it nothing fires.
    """

    label: Name
    when: Any
    for_ns: Duration = msgspec.field(default=Duration(0), name="for")
    count: Annotated[int, Meta(ge=1, le=1000)] = 1
    within_ns: Duration = msgspec.field(default=Duration(0), name="within")
    cooldown_ns: Duration = msgspec.field(default=Duration(2_000_000_000), name="cooldown")
    max_gap_ns: Duration = msgspec.field(default=Duration(300_000_000), name="max_gap")
    score: str = ""
    min_score: Annotated[float, Meta(ge=0, le=1)] = 0.0

    def condition(self) -> Condition:
        """The parsed `when`; RuleError if it cannot be read."""
        return parse_condition(self.when)

    def score_signal(self) -> Signal | None:
        """The parsed `score`; RuleError if it cannot be read."""
        return parse_signal(self.score) if self.score else None

    def check_within(self) -> None:
        """RuleError if `count` times do not go together with `within`."""
        if self.count == 1 and self.within_ns:
            raise RuleError("is the span in which `count` times must lie: say how many, at least 2")
        if self.count > 1 and not self.within_ns:
            raise RuleError(f"is needed: in which span must the {self.count} times lie? e.g. within: 5s")
        if self.count > 1 and self.count * self.for_ns > self.within_ns:
            raise RuleError(f"is shorter than {self.count} times `for`: the rule could never fire")

    def check_min_score(self) -> None:
        """RuleError if there is no score that it could be a bound of."""
        if self.min_score and not self.score:
            raise RuleError("bounds the score: name the signal that gives it, e.g. score: face.conf")


@dataclass(frozen=True, slots=True)
class _Value:
    value: float
    frame_id: int
    t_ns: int


@dataclass(frozen=True, slots=True)
class _Known:
    """The last value of each signal, at an event time."""

    values: Mapping[Signal, _Value]
    t_ns: int


class _Rule:
    """One rule's state on one stream."""

    def __init__(self, config: RuleConfig) -> None:
        self.config = config
        self.condition = config.condition()
        self._score_signal = config.score_signal()
        config.check_within()
        config.check_min_score()
        signals = [*self.condition.signals(), *([self._score_signal] if self._score_signal else [])]
        self.signals: tuple[Signal, ...] = tuple(dict.fromkeys(signals))
        self.hold_from: int | None = None
        self.ended_by: tuple[Reading, ...] = ()
        self.armed_from = 0
        self._long_holds: deque[int] = deque(maxlen=config.count)
        """Since when the newest of those that have lasted `for` held."""
        self._is_counted = False
        """The condition has not been false for long enough since the last of them."""
        self._false_from: int | None = None

    def reset(self) -> None:
        """Forget holds and cooldown."""
        self._forget_holds()
        self.ended_by, self.armed_from = (), 0

    def _forget_holds(self) -> None:
        self.hold_from = None
        self._long_holds.clear()
        self._is_counted, self._false_from = False, None

    def lapse_if_unknown(self, before: _Known, overdue: _Known) -> None:
        """End the hold if what was known before a frame no longer keeps it up at the time of that frame."""
        self.ended_by = ()
        if self.hold_from is not None and not self.condition.holds(self._lookup(overdue)):
            self._end(before, overdue)

    def advance(self, before: _Known, known: _Known, frame_id: int) -> Trigger | None:
        """Take a frame whose values are in `known`."""
        t_ns = known.t_ns
        holds = self.condition.holds(self._lookup(known))
        self._see_whether_it_is_another(holds, t_ns)
        if t_ns < self.armed_from:
            self._long_holds.clear()
            self._is_counted = False
        if t_ns < self.armed_from or not holds:
            if self.hold_from is not None:
                self._end(before, known)
            return None
        if self.hold_from is None:
            self.hold_from = t_ns
        if t_ns - self.hold_from < self.config.for_ns:
            return None
        self._count(self.hold_from)
        if self._waits_for(known):
            return None
        trigger = self._trigger(known, frame_id, self._long_holds[0])
        self._forget_holds()
        self.armed_from = t_ns + max(self.config.cooldown_ns, 1)
        return trigger

    def _see_whether_it_is_another(self, holds: bool | None, t_ns: int) -> None:
        """A hold is another than the one counted last if the condition was false for as long as `for` before it."""
        if holds is False:
            self._false_from = t_ns if self._false_from is None else self._false_from
        if self._false_from is not None and t_ns - self._false_from >= self.config.for_ns:
            self._is_counted = False
        if holds:
            self._false_from = None

    def _count(self, hold_from: int) -> None:
        """Take note of a hold that has lasted `for`."""
        if self._is_counted:
            self._long_holds[-1] = hold_from
        else:
            self._long_holds.append(hold_from)
        self._is_counted = True

    def _waits_for(self, known: _Known) -> str:
        """What a hold that is long enough lacks to fire, for people; empty: nothing."""
        count, within_ns = self.config.count, self.config.within_ns
        times = sum(known.t_ns - since <= within_ns for since in self._long_holds) if count > 1 else 1
        if times < count:
            return f"the condition to hold {count} times within {within_ns / 1e9:g} s (so far {times})"
        if self._score_signal is None or not self.config.min_score:
            return ""
        enough = Comparison(self._score_signal, ">=", self.config.min_score)
        score = self._lookup(known)(self._score_signal)
        if enough.holds(lambda _: score):
            return ""
        return f"{enough} ({'it is unknown' if score is None else f'it was {enough.shown(score)}'})"

    def _end(self, before: _Known, known: _Known) -> None:
        """End the hold; to blame is what was as it had to be before, and is not so in `known`."""
        self.hold_from = None
        was, now = self._lookup(before), self._lookup(known)
        self.ended_by = tuple(
            self._reading(comparison, comparison.holds(now), wanted, known)
            for comparison, wanted in dict.fromkeys(self.condition.against(True, now))
            if comparison.holds(was) is wanted
        )

    def _lookup(self, known: _Known) -> Lookup:
        def lookup(signal: Signal) -> float | None:
            last = self._last(known, signal)
            return None if last is None else last.value

        return lookup

    def _last(self, known: _Known, signal: Signal) -> _Value | None:
        """The last value of a signal, while it stands."""
        last = known.values.get(signal)
        return last if last is not None and known.t_ns - last.t_ns <= self.config.max_gap_ns else None

    def state(self, known: _Known) -> RuleState:
        """How it stands after the last frame."""
        lookup = self._lookup(known)
        wanted = dict(self.condition.against(True, lookup))
        is_long = self.hold_from is not None and known.t_ns - self.hold_from >= self.config.for_ns
        return RuleState(
            label=self.config.label,
            condition=str(self.condition),
            holds=self.condition.holds(lookup),
            readings=tuple(
                self._reading(comparison, comparison.holds(lookup), wanted.get(comparison), known)
                for comparison in dict.fromkeys(self.condition.comparisons())
            ),
            hold_from_ns=self.hold_from,
            for_ns=self.config.for_ns,
            cooldown_until_ns=self.armed_from,
            ended_by=self.ended_by,
            waits_for=self._waits_for(known) if is_long or self._long_holds else "",
        )

    def _reading(self, comparison: Comparison, holds: bool | None, wanted: bool | None, known: _Known) -> Reading:
        reading = Reading(str(comparison), *comparison.signal, holds=holds, wanted=wanted)
        last = known.values.get(comparison.signal)
        if last is None:
            return reading
        return replace(
            reading,
            value=last.value,
            frame_id=last.frame_id,
            t_ns=last.t_ns,
            stands_until_ns=last.t_ns + self.config.max_gap_ns,
            shown=comparison.shown(last.value),
        )

    def _trigger(self, known: _Known, frame_id: int, t_start: int) -> Trigger:
        t_ns = known.t_ns
        score = self._lookup(known)(self._score_signal) if self._score_signal else 1.0
        times = f"{self.config.count} times in " if self.config.count > 1 else "for "
        return Trigger(
            label=self.config.label,
            t_start_ns=t_start,
            t_end_ns=t_ns,
            frame_id=frame_id,
            score=min(max(score or 0.0, 0.0), 1.0),
            reason=f"{self.condition} {times}{(t_ns - t_start) / 1e9:.3f} s",
            evidence=tuple(
                EvidenceItem(source=signal[0], frame_id=last.frame_id, signal=signal[1], value=last.value)
                for signal in self.signals
                if (last := self._last(known, signal)) is not None
            ),
        )


class RulesFusion(BaseFusion):
    """Fires by rules.

    Args:
        rules: RuleConfig objects, or mappings of the same keys.

    Raises:
        RuleError: a condition cannot be read.
        msgspec.ValidationError: a mapping is no rule.
    """

    name = "rules"

    def __init__(self, rules: Sequence[RuleConfig | Mapping[str, Any]]) -> None:
        self._rules = [_Rule(msgspec.convert(rule, RuleConfig, dec_hook=decode_quantity)) for rule in rules]
        self._wanted = {signal for rule in self._rules for signal in rule.signals}
        self._known = _Known({}, 0)

    def update(self, frame: FrameObservations) -> FusionResult:
        """Take the next aligned set. Of several observations of one source the first that has a signal gives it."""
        before = self._known
        overdue = _Known(before.values, frame.t_ns)
        self._known = known = _Known({**before.values, **self._read(frame)}, frame.t_ns)
        for rule in self._rules:
            rule.lapse_if_unknown(before, overdue)
        fired = (rule.advance(before, known, frame.frame_id) for rule in self._rules)
        return FusionResult(
            triggers=tuple(trigger for trigger in fired if trigger is not None),
            observations_used=sum(map(len, frame.observations.values())),
        )

    def _read(self, frame: FrameObservations) -> dict[Signal, _Value]:
        values: dict[Signal, _Value] = {}
        for source, name in self._wanted:
            for observation in frame.observations.get(source, ()):
                if name in observation.signals:
                    values[source, name] = _Value(observation.signals[name], frame.frame_id, frame.t_ns)
                    break
        return values

    def reset(self) -> None:
        """Forget values, holds and cooldowns."""
        self._known = _Known({}, 0)
        for rule in self._rules:
            rule.reset()

    def doubts(self, frame_ns: int) -> list[str]:
        """Rules whose values lapse from one frame to the next: no hold of theirs can last."""
        return [
            f"rule {rule.config.label!r} can never fire: max_gap, {rule.config.max_gap_ns / 1e9:g} s, is shorter than "
            f"the {frame_ns / 1e9:g} s from frame to frame; raise it"
            for rule in self._rules
            if rule.config.for_ns > 0 and rule.config.max_gap_ns < frame_ns
        ]

    def explain(self) -> list[RuleState]:
        """How each rule stands after the last set."""
        return [rule.state(self._known) for rule in self._rules]

    def resume(self, label: str, t_end_ns: int) -> None:
        """Keep the cooldown of a firing before a restart."""
        for rule in self._rules:
            if rule.config.label == label:
                rule.armed_from = max(rule.armed_from, t_end_ns + max(rule.config.cooldown_ns, 1))

"""The built-in fusion: rules over signals.

Laws:
* The last value of a signal stands for `max_gap` of event time; then it is unknown.
* A hold begins at the first frame on which the condition is true and ends as soon as it is false or
  unknown, also between two frames.
* A rule fires on the frame on which its hold has lasted `for`: t_start is the first frame of the hold,
  t_end the firing frame.
* After a firing nothing is counted until `cooldown` of event time is over; then a new hold begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from visualpath.core.conditions import Comparison, Condition, Signal, parse_condition, parse_signal
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
        cooldown_ns: for how long nothing fires after a firing (key `cooldown`).
        max_gap_ns: for how long a signal's last value stands (key `max_gap`).
        score: a signal `source.name` whose value, clamped to [0, 1], becomes the score; none: 1.0.
    """

    label: Name
    when: Any
    for_ns: Duration = msgspec.field(default=Duration(0), name="for")
    cooldown_ns: Duration = msgspec.field(default=Duration(2_000_000_000), name="cooldown")
    max_gap_ns: Duration = msgspec.field(default=Duration(300_000_000), name="max_gap")
    score: str = ""

    def condition(self) -> Condition:
        """The parsed `when`; RuleError if it cannot be read."""
        return parse_condition(self.when)

    def score_signal(self) -> Signal | None:
        """The parsed `score`; RuleError if it cannot be read."""
        return parse_signal(self.score) if self.score else None


@dataclass(frozen=True, slots=True)
class _Value:
    value: float
    frame_id: int
    t_ns: int


class _Rule:
    """One rule's state on one stream."""

    def __init__(self, config: RuleConfig) -> None:
        self.config = config
        self.condition = config.condition()
        self._score_signal = config.score_signal()
        signals = [*self.condition.signals(), *([self._score_signal] if self._score_signal else [])]
        self.signals: tuple[Signal, ...] = tuple(dict.fromkeys(signals))
        self.hold_from: int | None = None
        self.armed_from = 0

    def lapse_if_unknown(self, values: Mapping[Signal, _Value], t_ns: int) -> None:
        """End the hold if, by `t_ns`, the values known before that frame no longer keep it up."""
        if self.hold_from is not None and not self.condition.holds(lambda s: self._valid(values, s, t_ns)):
            self.hold_from = None

    def advance(self, values: Mapping[Signal, _Value], frame_id: int, t_ns: int) -> Trigger | None:
        """Take a frame whose values are in `values`."""
        if t_ns < self.armed_from or not self.condition.holds(lambda s: self._valid(values, s, t_ns)):
            self.hold_from = None
            return None
        if self.hold_from is None:
            self.hold_from = t_ns
        if t_ns - self.hold_from < self.config.for_ns:
            return None
        trigger = self._trigger(values, frame_id, t_ns, self.hold_from)
        self.hold_from = None
        self.armed_from = t_ns + max(self.config.cooldown_ns, 1)
        return trigger

    def _valid(self, values: Mapping[Signal, _Value], signal: Signal, t_ns: int) -> float | None:
        known = self._known(values, signal, t_ns)
        return None if known is None else known.value

    def _known(self, values: Mapping[Signal, _Value], signal: Signal, t_ns: int) -> _Value | None:
        known = values.get(signal)
        return known if known is not None and t_ns - known.t_ns <= self.config.max_gap_ns else None

    def state(self, values: Mapping[Signal, _Value], t_ns: int) -> RuleState:
        """How it stands after the frame at `t_ns`."""

        def lookup(signal: Signal) -> float | None:
            return self._valid(values, signal, t_ns)

        wanted = dict(self.condition.against(True, lookup))
        return RuleState(
            label=self.config.label,
            condition=str(self.condition),
            holds=self.condition.holds(lookup),
            readings=tuple(
                self._reading(comparison, comparison.holds(lookup), wanted.get(comparison), values)
                for comparison in dict.fromkeys(self.condition.comparisons())
            ),
            hold_from_ns=self.hold_from,
            for_ns=self.config.for_ns,
            cooldown_until_ns=self.armed_from,
        )

    def _reading(
        self, comparison: Comparison, holds: bool | None, wanted: bool | None, values: Mapping[Signal, _Value]
    ) -> Reading:
        reading = Reading(str(comparison), *comparison.signal, holds=holds, wanted=wanted)
        known = values.get(comparison.signal)
        if known is None:
            return reading
        stands_until_ns = known.t_ns + self.config.max_gap_ns
        return replace(
            reading, value=known.value, frame_id=known.frame_id, t_ns=known.t_ns, stands_until_ns=stands_until_ns
        )

    def _trigger(self, values: Mapping[Signal, _Value], frame_id: int, t_ns: int, hold_from: int) -> Trigger:
        score = self._valid(values, self._score_signal, t_ns) if self._score_signal else 1.0
        return Trigger(
            label=self.config.label,
            t_start_ns=hold_from,
            t_end_ns=t_ns,
            frame_id=frame_id,
            score=min(max(score or 0.0, 0.0), 1.0),
            reason=f"{self.condition} for {(t_ns - hold_from) / 1e9:.3f} s",
            evidence=tuple(
                EvidenceItem(source=signal[0], frame_id=known.frame_id, signal=signal[1], value=known.value)
                for signal in self.signals
                if (known := self._known(values, signal, t_ns)) is not None
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
        self._values: dict[Signal, _Value] = {}
        self._t_ns = 0  # of the last set

    def update(self, frame: FrameObservations) -> FusionResult:
        """Take the next aligned set. Of several observations of one source the first that has a signal gives it."""
        self._t_ns = frame.t_ns
        for rule in self._rules:
            rule.lapse_if_unknown(self._values, frame.t_ns)
        self._values.update(self._read(frame))
        fired = (rule.advance(self._values, frame.frame_id, frame.t_ns) for rule in self._rules)
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
        self._values.clear()
        for rule in self._rules:
            rule.hold_from, rule.armed_from = None, 0

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
        return [rule.state(self._values, self._t_ns) for rule in self._rules]

    def resume(self, label: str, t_end_ns: int) -> None:
        """Keep the cooldown of a firing before a restart."""
        for rule in self._rules:
            if rule.config.label == label:
                rule.armed_from = max(rule.armed_from, t_end_ns + max(rule.config.cooldown_ns, 1))

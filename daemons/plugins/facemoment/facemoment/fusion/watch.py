"""One kind of reason on one stream: on how many frames in a row it has held, its cooldown, its triggers.

Laws:
* A reason holds for an owner (a face, a hand, a pair), and the frames in a row are that owner's.
* A frame on which the reason's source says nothing, or not enough, counts neither way; after `max_gap` without a known
  value the row ends.
* While the gate is closed, and in the cooldown, no frame counts: a row begins after.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

from facemoment.fusion.gate import Gate
from facemoment.fusion.readings import Values, failing, lookup, readings
from facemoment.fusion.reason import Reason, Sign
from facemoment.fusion.settings import HighlightSettings
from facemoment.fusion.sight import Sight, Value
from visualpath.core.conditions import Signal
from visualpath.core.fusion import Decision, Reading, RuleState
from visualpath.core.trigger import EvidenceItem, Trigger


@dataclass(slots=True)
class _Row:
    """Frames in a row on which a reason held for one owner."""

    since_ns: int
    last_ns: int
    frames: int = 0


class Watch:
    """Looks for one kind of reason.

    Args:
        reason: the kind.
        gate: of the stream, brought up to each frame before `update`.
        settings: how many frames, cooldown, gap.
    """

    def __init__(self, reason: Reason, gate: Gate, settings: HighlightSettings) -> None:
        self.reason = reason
        self._gate = gate
        self._settings = settings
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self.reason.reset()
        self._armed_from = 0
        self._rows: dict[Hashable, _Row] = {}
        self._last: dict[Signal, Value] = {}
        self._here: frozenset[Signal] = frozenset()  # those that the owner shown last has, while it is there
        self._has_nobody = False
        self._t_ns = 0
        self._ended_by: tuple[Reading, ...] = ()

    def resume(self, t_end_ns: int) -> None:
        """Keep the cooldown of a firing before a restart."""
        self._armed_from = max(self._armed_from, t_end_ns + max(self._settings.cooldown_ns, 1))

    def update(self, sight: Sight, frame_id: int, t_ns: int) -> tuple[Trigger | None, Decision | None]:
        """Take the next frame; what came of it, if the reason held."""
        self._t_ns = t_ns
        had_row = bool(self._rows)
        self._rows = {o: row for o, row in self._rows.items() if t_ns - row.last_ns <= self._settings.max_gap_ns}
        signs = self.reason.look(sight)
        if signs is None or not self._counts(t_ns):
            self._note(signs, frame_id, t_ns)
            decision = self._refusal(signs, t_ns)
            if not self._counts(t_ns):
                self._rows.clear()
            self._blame(had_row)
            return None, decision
        holding = self._extend(signs, t_ns)
        self._note(signs, frame_id, t_ns)
        self._blame(had_row)
        ready = [owner for owner in holding if self._rows[owner].frames >= self._settings.frames]
        if not ready:
            return None, Decision(self.reason.label, False, f"it waits for {self._waits_for()}") if holding else None
        owner = max(ready, key=lambda each: signs[each].score)
        return self._fire(signs[owner], self._rows[owner], frame_id, t_ns)

    def state(self) -> RuleState:
        """How it stands after the last frame."""
        standing = self._standing()
        condition = self.reason.condition
        own = readings(condition, standing, self._last, self._settings.max_gap_ns, self._t_ns)
        if self._has_nobody:
            own = tuple(replace(reading, absent=self.reason.nobody) for reading in own)
        return RuleState(
            label=self.reason.label,
            condition=str(condition),
            holds=condition.holds(lookup(standing)),
            readings=(*(() if self._gate.is_open else self._gate.blamed), *own),
            hold_from_ns=min((row.since_ns for row in self._rows.values()), default=None),
            for_ns=0,
            cooldown_until_ns=self._armed_from,
            ended_by=self._ended_by,
            waits_for=self._waits_for(),
        )

    def _counts(self, t_ns: int) -> bool:
        return self._gate.is_open and t_ns >= self._armed_from

    def _holds(self, sign: Sign) -> bool | None:
        return self.reason.condition.holds(sign.values.get)

    def _extend(self, signs: Mapping[Hashable, Sign], t_ns: int) -> list[Hashable]:
        """Carry the rows on; returns the owners for whom the reason holds on this frame."""
        holds = {owner: self._holds(sign) for owner, sign in signs.items()}
        self._rows = {owner: row for owner, row in self._rows.items() if holds.get(owner, False) is not False}
        holding = [owner for owner, held in holds.items() if held]
        for owner in holding:
            row = self._rows.setdefault(owner, _Row(t_ns, t_ns))
            row.last_ns = t_ns
            row.frames += 1
        return holding

    def _refusal(self, signs: Mapping[Hashable, Sign] | None, t_ns: int) -> Decision | None:
        if not any(self._holds(sign) for sign in (signs or {}).values()):
            return None
        cooldown = f"cooldown until {self._armed_from / 1e9:.3f}s"
        why = cooldown if t_ns < self._armed_from else f"it waits for {self._gate.waits_for(t_ns)}"
        return Decision(self.reason.label, False, why)

    def _fire(self, sign: Sign, row: _Row, frame_id: int, t_ns: int) -> tuple[Trigger, Decision]:
        trigger = Trigger(
            label=self.reason.label,
            t_start_ns=row.since_ns,
            t_end_ns=t_ns,
            frame_id=frame_id,
            score=sign.score,
            reason=sign.text,
            evidence=tuple(EvidenceItem(*self._at(signal, frame_id), value) for signal, value in sign.values.items()),
        )
        self._rows.clear()
        self._armed_from = t_ns + max(self._settings.cooldown_ns, 1)
        return trigger, Decision(self.reason.label, True, sign.text)

    @staticmethod
    def _at(signal: Signal, frame_id: int) -> tuple[str, int, str]:
        return signal[0], frame_id, signal[1]

    def _note(self, signs: Mapping[Hashable, Sign] | None, frame_id: int, t_ns: int) -> None:
        """Remember what the owner shows that is nearest to a trigger, to be explained."""
        if signs is None:
            return
        self._here = frozenset()
        self._has_nobody = not signs
        if signs:
            rows = self._rows

            def nearness(owner: Hashable) -> tuple[int, bool, float]:
                sign = signs[owner]
                return rows[owner].frames if owner in rows else 0, self._holds(sign) is True, sign.score

            values = signs[max(signs, key=nearness)].values
            self._last.update({signal: Value(value, frame_id, t_ns) for signal, value in values.items()})
            self._here = frozenset(values)

    def _standing(self) -> Values:
        """The values that stand: those of one that has gone do not."""
        max_gap_ns = self._settings.max_gap_ns
        return {s: v for s, v in self._last.items() if s in self._here and self._t_ns - v.t_ns <= max_gap_ns}

    def _blame(self, had_row: bool) -> None:
        """What ended a row on this frame."""
        self._ended_by = ()
        if had_row and not self._rows:
            own = readings(self.reason.condition, self._standing(), self._last, self._settings.max_gap_ns, self._t_ns)
            self._ended_by = failing(own) or self._gate.blamed

    def _waits_for(self) -> str:
        if not self._gate.is_open:
            return self._gate.waits_for(self._t_ns)
        frames = max((row.frames for row in self._rows.values()), default=0)
        return f"frame {frames + 1} of {self._settings.frames} in a row" if frames else ""

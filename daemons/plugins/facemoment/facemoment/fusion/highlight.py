"""HighlightFusion: the moments of people in front of a camera. Entry point `highlight`.

    fusion:
      plugin: highlight
      config: {preset: conservative, triggers: [expression, v-sign], gate: {blur: 20}}

It needs the extractor `face`, and uses `expression`, `pose`, `gesture`, `face_classifier` and `quality` where they are
there, by these names. Labels: `expression`, `head-turn`, `hand-wave`, `camera-gaze`, `looking-at-each-other`,
`v-sign`, `thumbs-up`; each has a cooldown of its own. A trigger's t_start is the first frame of the row on which its
reason held, t_end the firing frame.

Where a classifier runs, faces are the main one's alone (and the passenger's, who is looked at); else every face counts.
What unknown does is said where it matters: to the gate in `gate`, to frames in a row in `watch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facemoment.fusion.expression import ExpressionSpike
from facemoment.fusion.gate import Gate
from facemoment.fusion.hands import Gesture, HandWave
from facemoment.fusion.looks import CameraGaze, EachOther, HeadTurn
from facemoment.fusion.reason import Reason
from facemoment.fusion.settings import HighlightSettings
from facemoment.fusion.sight import Report, Sight
from facemoment.fusion.watch import Watch
from visualpath.core.fusion import BaseFusion, Decision, FrameObservations, FusionResult, GateChange, RuleState
from visualpath.core.trigger import Trigger


class HighlightFusion(BaseFusion):
    """Fires on what people do, while the quality gate is open. All in event time; the same sets give the same triggers.

    Args:
        config: see `HighlightSettings`.

    Raises:
        PluginConfigError: the configuration has an unknown key or a value that is not allowed.
    """

    name = "highlight"
    depends: tuple[str, ...] = ("face",)

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self._settings = settings = HighlightSettings.parse(config or {})
        self._sight = Sight(settings.max_gap_ns)
        self._gate = Gate(settings.gate, settings.max_gap_ns)
        wanted = [reason for reason in _reasons(settings) if reason.label in settings.triggers]
        self._watches = [Watch(reason, self._gate, settings) for reason in wanted]
        if "triggers" in (config or {}):
            asked = (source for reason in wanted for source, _ in reason.condition.signals())
            self.depends = tuple(dict.fromkeys(("face", *asked)))

    def update(self, frame: FrameObservations) -> FusionResult:
        """Take the next aligned set.

        Raises:
            msgspec.ValidationError: a source's data are of another kind than its name says; nothing has changed then.
        """
        report = Report.of(frame)
        notes: list[GateChange | Decision] = [*self._gate.lapse(self._sight, frame.t_ns)]
        self._sight.take(report)
        notes += self._gate.update(self._sight, frame.t_ns)
        triggers: list[Trigger] = []
        for watch in self._watches:
            trigger, decision = watch.update(self._sight, frame.frame_id, frame.t_ns)
            triggers += [trigger] if trigger is not None else []
            notes += [decision] if decision is not None else []
        return FusionResult(
            triggers=tuple(triggers),
            observations_used=sum(map(len, frame.observations.values())),
            notes=tuple(notes),
        )

    def reset(self) -> None:
        """A new epoch: the gate is closed, and nothing is known."""
        self._sight.reset()
        self._gate.reset()
        for watch in self._watches:
            watch.reset()

    def resume(self, label: str, t_end_ns: int) -> None:
        """Keep the cooldown of a firing before a restart."""
        for watch in self._watches:
            if watch.reason.label == label:
                watch.resume(t_end_ns)

    def doubts(self, frame_ns: int) -> list[str]:
        """A stream so slow that nothing said on one frame stands on the next."""
        max_gap_ns = self._settings.max_gap_ns
        if max_gap_ns >= frame_ns:
            return []
        return [
            f"highlight can hardly fire: max_gap, {max_gap_ns / 1e9:g} s, is shorter than the {frame_ns / 1e9:g} s "
            "from frame to frame; raise it"
        ]

    def explain(self) -> list[RuleState]:
        """How each kind of reason stands after the last set; while the gate is closed, with what keeps it so."""
        return [watch.state() for watch in self._watches]


def _reasons(settings: HighlightSettings) -> list[Reason]:
    return [
        ExpressionSpike(settings),
        HeadTurn(settings),
        HandWave(settings),
        CameraGaze(settings),
        EachOther(settings),
        Gesture("v-sign", "v_sign"),
        Gesture("thumbs-up", "thumbs_up"),
    ]

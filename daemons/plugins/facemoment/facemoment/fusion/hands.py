"""What hands do: wave, and show signs. Hands and bodies are nobody's: they count whoever's face is the main one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping

from facemoment.fusion.reason import Reason, Sign
from facemoment.fusion.settings import HighlightSettings
from facemoment.fusion.sight import Sight, finite
from facemoment.vision import GestureName, Hand
from visualpath.core.conditions import Comparison

WAVE = ("pose", "hand_wave")


class HandWave(Reason):
    """A raised hand swings to and fro: the clearest `Pose.hand_wave`, for bodies have no ids."""

    label = "hand-wave"
    nobody = "no body in sight"

    def __init__(self, settings: HighlightSettings) -> None:
        self.condition = Comparison(WAVE, ">=", settings.hand_wave)

    def look(self, sight: Sight) -> Mapping[Hashable, Sign] | None:
        report = sight.report
        if report is None or report.poses is None:
            return None
        waves = [wave for pose in report.poses if (wave := finite(pose.hand_wave)) is not None]
        if not waves:
            return {}
        wave = max(waves)
        return {0: Sign({WAVE: wave}, min(max(wave, 0.0), 1.0), f"a hand waves, {wave:.2f}")}


class Gesture(Reason):
    """A hand shows a sign."""

    nobody = "no hand in sight"

    def __init__(self, label: str, gesture: GestureName) -> None:
        self.label = label
        self._gesture = gesture
        self._signal = ("gesture", str(gesture))
        self.condition = Comparison(self._signal, ">", 0.0)

    def look(self, sight: Sight) -> Mapping[Hashable, Sign] | None:
        report = sight.report
        return None if report is None or report.hands is None else {h.track_id: self._sign(h) for h in report.hands}

    def _sign(self, hand: Hand) -> Sign:
        score = finite(hand.score) if hand.gesture == self._gesture else 0.0
        if score is None:
            return Sign({}, 0.0, "no score")
        text = f"the {hand.handedness} hand shows {self._gesture}, {score:.2f}"
        return Sign({self._signal: score}, min(max(score, 0.0), 1.0), text)

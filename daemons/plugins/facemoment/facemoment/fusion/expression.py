"""A face's expression rises far above what it usually is."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass

from facemoment.fusion.ewma import Ewma
from facemoment.fusion.reason import NO_FACE, Reason, Sign
from facemoment.fusion.settings import HighlightSettings
from facemoment.fusion.sight import Sight, finite
from facemoment.vision import Expression
from visualpath.core.conditions import Combination, Comparison

Z, VALUE = ("expression", "z"), ("expression", "value")

FORGET_NS = 5_000_000_000
"""After so long out of sight a face's usual expression is forgotten."""


@dataclass(slots=True)
class _Usual:
    """What one expression of one face usually is; `spike_frames`: for so many frames in a row it has been a spike."""

    ewma: Ewma
    t_ns: int
    spike_frames: int = 0


class ExpressionSpike(Reason):
    """Smile, or an emotion other than neutral. Eyes, brows and mouth alone are blinks and speech.

    A spike would blur what it is compared with: of a step, z has fallen from infinity to 2 after 0.2 s. So the
    values of a spike are learned only when it has had as many frames as it needs to fire.
    """

    label = "expression"
    nobody = NO_FACE

    def __init__(self, settings: HighlightSettings) -> None:
        self._settings = settings
        self.condition = Combination(
            "all", (Comparison(Z, ">=", settings.expression_z), Comparison(VALUE, ">", settings.expression_value))
        )
        self._usual: dict[tuple[int, str], _Usual] = {}

    def look(self, sight: Sight) -> Mapping[Hashable, Sign] | None:
        report = sight.report
        if report is None or report.expressions is None:
            return None
        self._usual = {key: each for key, each in self._usual.items() if report.t_ns - each.t_ns <= FORGET_NS}
        signs = {each.track_id: self._strongest(each, report.t_ns) for each in report.expressions}
        faces = sight.counted(report.t_ns)
        return None if faces is None else {f.track_id: signs[f.track_id] for f in faces if f.track_id in signs}

    def reset(self) -> None:
        self._usual.clear()

    def _strongest(self, expression: Expression, t_ns: int) -> Sign:
        """All are learned; the one that holds, or else is the strongest, speaks for the face."""
        signs = [self._sign(expression.track_id, name, value, t_ns) for name, value in _named(expression)]
        unknown = Sign({}, 0.0, "no expression")
        return max(signs, key=lambda sign: (self._holds(sign), sign.score), default=unknown)

    def _holds(self, sign: Sign) -> bool:
        return self.condition.holds(sign.values.get) is True

    def _sign(self, track_id: int, name: str, value: float, t_ns: int) -> Sign:
        usual = self._usual.setdefault((track_id, name), _Usual(Ewma(self._settings.ewma_alpha), t_ns))
        elapsed_ns, usual.t_ns = t_ns - usual.t_ns, t_ns
        z = usual.ewma.z(value)
        values = {VALUE: value, ("expression", name): value, **({} if z is None else {Z: z})}
        sign = Sign(values, min(max(value, 0.0), 1.0), f"{name} rose to {value:.2f}" + (f", z {z:.1f}" if z else ""))
        usual.spike_frames = usual.spike_frames + 1 if self._holds(sign) else 0
        if not 0 < usual.spike_frames <= self._settings.frames:
            usual.ewma.learn(value, elapsed_ns)
        return sign


def _named(expression: Expression) -> Iterator[tuple[str, float]]:
    """Each expression that counts, with its name."""
    for name, value in (("smile", expression.smile), *sorted(expression.emotions.items())):
        known = finite(value)
        if name != "neutral" and known is not None:
            yield name, known

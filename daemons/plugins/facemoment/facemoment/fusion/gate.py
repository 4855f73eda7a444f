"""The quality gate: nothing fires while the picture is not good enough to decide on.

Laws:
* A closed gate opens on the frame on which all conditions have been true for `open_after`.
* An open gate closes on the frame on which they have not been true for `close_after`.
* Unknown is not true: it neither opens a closed gate nor keeps an open one open. What a source said stands for
  `max_gap`, so a few frames that it leaves out change nothing, and a source that dies closes the gate after `max_gap` +
  `close_after`. No condition is about a source that takes no part (see `facemoment.fusion.sight`).
* Where several faces count, all must satisfy; one that fails fails the gate, whatever is unknown of the others. Where
  none does, nothing is asked of it: that there is none is what the gate has against the picture.
"""

from __future__ import annotations

from collections.abc import Iterator

from facemoment.fusion.readings import Values, failing, lookup, readings, told
from facemoment.fusion.settings import GateSettings
from facemoment.fusion.sight import Sight, Value, finite
from facemoment.vision import Face
from visualpath.core.conditions import Combination, Comparison, Signal
from visualpath.core.fusion import GateChange, Reading

COUNT = ("face", "count")
MAIN = ("face_classifier", "main")
BRIGHTNESS = ("quality", "brightness")


class Gate:
    """The gate of one stream.

    Args:
        settings: its conditions.
        max_gap_ns: for how long what a source said stands.

    Attributes:
        is_open: whether decisions may be made.
        blamed: because of what the conditions were not true on the last frame.
    """

    def __init__(self, settings: GateSettings, max_gap_ns: int) -> None:
        self._settings = settings
        self._max_gap_ns = max_gap_ns
        self._of_faces = (
            Comparison(("face", "confidence"), ">=", settings.confidence),
            Comparison(("face", "|yaw|"), "<=", settings.yaw),
            Comparison(("face", "|pitch|"), "<=", settings.pitch),
            Comparison(("face", "inside"), ">=", settings.inside),
            Comparison(("face", "area"), ">=", settings.min_area),
            Comparison(("face", "area"), "<=", settings.max_area),
            Comparison(("face", "off_centre"), "<=", settings.off_centre),
        )
        self.reset()

    def reset(self) -> None:
        """Closed, and nothing is known."""
        self.is_open = False
        self.blamed: tuple[Reading, ...] = ()
        self._since: int | None = None  # the conditions have been otherwise than for its state
        self._last: dict[Signal, Value] = {}
        self._t_ns = 0

    def lapse(self, sight: Sight, t_ns: int) -> list[GateChange]:
        """Let time pass up to the next frame: in a silence of all sources everything becomes unknown."""
        lapsed_ns = self._t_ns + self._max_gap_ns
        if t_ns <= lapsed_ns:
            return []
        self._judge(sight, t_ns)
        return self._follow(False, lapsed_ns, t_ns)

    def update(self, sight: Sight, t_ns: int) -> list[GateChange]:
        """Take what is known at the next frame."""
        self._t_ns = t_ns
        return self._follow(self._judge(sight, t_ns), t_ns, t_ns)

    def waits_for(self, t_ns: int) -> str:
        """What keeps decisions back, for people; empty: it is open."""
        if self.is_open:
            return ""
        if self._since is None:
            return "the gate to open"
        return f"the gate to open (all well for {(t_ns - self._since) / 1e9:.3f} s of {self._open_after()})"

    def _open_after(self) -> str:
        return f"{self._settings.open_after_ns / 1e9:g} s"

    def _follow(self, is_well: bool, since_ns: int, t_ns: int) -> list[GateChange]:
        if is_well is self.is_open:
            self._since = None
            return []
        self._since = since_ns if self._since is None else self._since
        if t_ns - self._since < (self._settings.open_after_ns if is_well else self._settings.close_after_ns):
            return []
        self.is_open, self._since = is_well, None
        return [GateChange(is_well, f"all well for {self._open_after()}" if is_well else "; ".join(told(self.blamed)))]

    def _judge(self, sight: Sight, t_ns: int) -> bool:
        condition = Combination("all", tuple(self._comparisons(sight, t_ns)))
        values = {**_counts(sight, t_ns), **self._faces(sight, t_ns), **_quality(sight, t_ns)}
        self._last.update(values)
        holds = condition.holds(lookup(values))
        self.blamed = failing(readings(condition, values, self._last, self._max_gap_ns, t_ns))
        return holds is True

    def _comparisons(self, sight: Sight, t_ns: int) -> Iterator[Comparison]:
        yield Comparison(COUNT, ">=", 1)
        yield Comparison(COUNT, "<=", self._settings.max_faces)
        if sight.takes_part("face_classifier"):
            yield Comparison(MAIN, ">=", 1)
        if sight.counted(t_ns):
            yield from self._of_faces
        if sight.takes_part("quality"):
            yield Comparison(("quality", "blur"), ">=", self._settings.blur)
            yield Comparison(BRIGHTNESS, ">=", self._settings.min_brightness)
            yield Comparison(BRIGHTNESS, "<=", self._settings.max_brightness)

    def _faces(self, sight: Sight, t_ns: int) -> Values:
        """The worst value of the faces that count, by signal; without one nothing is known."""
        report, faces = sight.faces(t_ns), sight.counted(t_ns)
        if report is None or not faces:
            return {}
        values: dict[Signal, Value] = {}
        for comparison in self._of_faces:
            numbers = [
                _of_face(sight, face, comparison.signal[1], report.frame_id, report.t_ns, t_ns) for face in faces
            ]
            known = [number for number in numbers if number is not None]
            failed = [number for number in known if not comparison.holds(lookup({comparison.signal: number}))]
            if failed or (known and None not in numbers and comparison.signal not in values):
                pick = min if comparison.op == ">=" else max
                values[comparison.signal] = pick(failed or known, key=lambda number: number.value)
        return values


def _of_face(sight: Sight, face: Face, name: str, frame_id: int, seen_ns: int, t_ns: int) -> Value | None:
    if name in ("|yaw|", "|pitch|"):
        angle = sight.number(face.track_id, name.strip("|"), t_ns)
        return None if angle is None else angle._replace(value=abs(angle.value))
    numbers = {
        "confidence": face.confidence,
        "inside": face.inside,
        "area": face.w * face.h,
        "off_centre": max(abs(2 * face.x + face.w - 1), abs(2 * face.y + face.h - 1)),
    }
    number = finite(numbers[name])
    return None if number is None else Value(number, frame_id, seen_ns)


def _counts(sight: Sight, t_ns: int) -> Values:
    """How many faces there are, but for noise, and whether one of them is the main one."""
    report, roles = sight.faces(t_ns), sight.roles(t_ns)
    if report is None or report.faces is None:
        return {}
    known = roles or {}
    count = sum(known.get(face.track_id) != "noise" for face in report.faces)
    values = {COUNT: Value(float(count), report.frame_id, report.t_ns)}
    if roles is not None:
        has_main = any(known.get(face.track_id) == "main" for face in report.faces)
        values[MAIN] = Value(float(has_main), report.frame_id, report.t_ns)
    return values


def _quality(sight: Sight, t_ns: int) -> Values:
    numbers = {("quality", name): sight.number(-1, name, t_ns) for name in ("blur", "brightness")}
    return {signal: number for signal, number in numbers.items() if number is not None}

"""Where people look: into the camera, towards it by a turn of the head, at each other."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Mapping
from statistics import linear_regression

from facemoment.fusion.reason import NO_FACE, Reason, Sign
from facemoment.fusion.settings import HighlightSettings
from facemoment.fusion.sight import Sight, finite
from facemoment.vision import Face
from visualpath.core.conditions import Combination, Comparison

GAZE, TURN, YAW = ("face", "gaze"), ("face", "turn"), ("face", "yaw")
LEFT_YAW, RIGHT_YAW = ("face", "left_yaw"), ("face", "right_yaw")

TURN_WINDOW_NS = 280_000_000
"""A turn is measured over the frames of so long, the last two at least, and over half of it at least. The yaw of a
still head moves by up to a degree from frame to frame: at 30 frames per second that is an error of 42 degrees per
second from one to the next, and of 4 for the line through the frames of this window.
"""
FULL_TURN = 3.0
"""A turn this many times as fast as it must be has the score 1."""
FULL_EACH_OTHER = 45.0
"""Degrees: two who are turned to each other by so much have the score 1."""


class CameraGaze(Reason):
    """Somebody looks into the camera: `Face.gaze`."""

    label = "camera-gaze"
    nobody = NO_FACE

    def __init__(self, settings: HighlightSettings) -> None:
        self.condition = Comparison(GAZE, ">=", settings.camera_gaze)

    def look(self, sight: Sight) -> Mapping[Hashable, Sign] | None:
        faces = sight.fresh_faces()
        return None if faces is None else {face.track_id: _gaze_sign(face) for face in faces}


def _gaze_sign(face: Face) -> Sign:
    gaze = finite(face.gaze)
    if gaze is None:
        return Sign({}, 0.0, "no gaze")
    return Sign({GAZE: gaze}, min(max(gaze, 0.0), 1.0), f"looks into the camera, gaze {gaze:.2f}")


class HeadTurn(Reason):
    """A head turns towards the camera: by how much |yaw| falls in a second, on the straight line nearest to it."""

    label = "head-turn"
    nobody = NO_FACE

    def __init__(self, settings: HighlightSettings) -> None:
        self.condition = Comparison(TURN, ">=", settings.head_turn)
        self._full = FULL_TURN * settings.head_turn
        self._yaws: dict[int, deque[tuple[int, float]]] = {}  # by track: event time and |yaw|

    def look(self, sight: Sight) -> Mapping[Hashable, Sign] | None:
        report = sight.report
        if report is None or report.faces is None:
            return None
        signs = {face.track_id: self._sign(face, report.t_ns, sight.max_gap_ns) for face in report.faces}
        self._yaws = {track_id: yaws for track_id, yaws in self._yaws.items() if track_id in signs}
        faces = sight.counted(report.t_ns)
        return None if faces is None else {face.track_id: signs[face.track_id] for face in faces}

    def reset(self) -> None:
        self._yaws.clear()

    def _sign(self, face: Face, t_ns: int, max_gap_ns: int) -> Sign:
        yaw = finite(face.yaw)
        if yaw is None:
            return Sign({}, 0.0, "no yaw")
        yaws = self._yaws.setdefault(face.track_id, deque())
        if yaws and t_ns - yaws[-1][0] > max_gap_ns:
            yaws.clear()
        yaws.append((t_ns, abs(yaw)))
        while len(yaws) > 2 and t_ns - yaws[0][0] > TURN_WINDOW_NS:
            yaws.popleft()
        if t_ns - yaws[0][0] < TURN_WINDOW_NS // 2:
            return Sign({YAW: yaw}, 0.0, "no turn yet")
        line = linear_regression([(then - t_ns) / 1e9 for then, _ in yaws], [away for _, away in yaws])
        speed = -line.slope
        text = f"head turns towards the camera at {speed:.0f} degrees/s"
        return Sign({TURN: speed, YAW: yaw}, min(max(speed / self._full, 0.0), 1.0), text)


class EachOther(Reason):
    """Two look at each other: the left one is turned to the right, the right one to the left.

    They are the main face and the passenger where a classifier runs, else the two faces, if there are just two.
    """

    label = "looking-at-each-other"
    nobody = "no two faces, of which one is the main one where face_classifier runs"

    def __init__(self, settings: HighlightSettings) -> None:
        limit = settings.each_other
        self.condition = Combination(
            "all", (Comparison(LEFT_YAW, ">", limit), Comparison(RIGHT_YAW, "<", -limit))
        )  # fmt: skip

    def look(self, sight: Sight) -> Mapping[Hashable, Sign] | None:
        report = sight.report
        if report is None or report.faces is None:
            return None
        pair = report.faces
        if sight.takes_part("face_classifier"):
            roles = sight.roles(report.t_ns)
            if roles is None:
                return None
            pair = [face for face in pair if roles.get(face.track_id) in ("main", "passenger")]
        if len(pair) != 2:
            return {}
        left, right = sorted(pair, key=lambda face: face.x + face.w / 2)
        return {(left.track_id, right.track_id): _pair_sign(finite(left.yaw), finite(right.yaw))}


def _pair_sign(left: float | None, right: float | None) -> Sign:
    values = {name: yaw for name, yaw in ((LEFT_YAW, left), (RIGHT_YAW, right)) if yaw is not None}
    if left is None or right is None:
        return Sign(values, 0.0, "no yaw")
    score = min(max(min(left, -right) / FULL_EACH_OTHER, 0.0), 1.0)
    return Sign(values, score, f"two look at each other, yaw {left:.0f} and {right:.0f}")

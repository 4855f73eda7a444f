"""From MediaPipe's 33 points of a body to what `vision.Pose` says about it. numpy only."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facemoment.tracking import Box

Array = npt.NDArray[np.floating[Any]]

COCO = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
"""The place of each of the 17 COCO key points among MediaPipe's 33."""

LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_WRIST, RIGHT_WRIST, LEFT_HIP, RIGHT_HIP = 5, 6, 9, 10, 11, 12
"""Places among the 17."""

VISIBLE = 0.5
"""The least visibility of a key point that is relied upon."""

TORSO_TO_SHOULDERS = 0.9
"""A person's shoulder width in heights from hip to shoulder: 0.259 and 0.818 - 0.530 of the stature (R. Drillis and
R. Contini, "Body segment parameters", 1966)."""


class Arm(NamedTuple):
    """One arm.

    Attributes:
        raised: the wrist is in sight, above the shoulder.
        place: how far the wrist is to the picture's right of the middle between the shoulders, in shoulder widths; None
            where it is not raised.
    """

    raised: bool
    place: float | None


def arms(keypoints: Array, aspect: float) -> tuple[Arm, Arm]:
    """The person's left and right arm.

    Args:
        keypoints: shape (17, 3): x, y in fractions of the picture, visibility.
        aspect: width of the picture divided by its height.
    """
    points = keypoints[:, :2] * (aspect, 1.0)
    middle = (points[LEFT_SHOULDER] + points[RIGHT_SHOULDER]) / 2
    unit = shoulder_width(points)
    found = []
    for shoulder, wrist in ((LEFT_SHOULDER, LEFT_WRIST), (RIGHT_SHOULDER, RIGHT_WRIST)):
        in_sight = min(keypoints[shoulder, 2], keypoints[wrist, 2]) >= VISIBLE
        raised = bool(in_sight and points[wrist, 1] < points[shoulder, 1])
        found.append(Arm(raised, float((points[wrist, 0] - middle[0]) / unit) if raised and unit > 0 else None))
    return found[0], found[1]


def shoulder_width(points: Array) -> float:
    """How wide the shoulders would be if the person faced the camera; from the torso's height where they are not."""
    across = np.linalg.norm(points[LEFT_SHOULDER] - points[RIGHT_SHOULDER])
    torso = points[[LEFT_SHOULDER, RIGHT_SHOULDER]].mean(axis=0) - points[[LEFT_HIP, RIGHT_HIP]].mean(axis=0)
    return float(max(across, TORSO_TO_SHOULDERS * np.linalg.norm(torso)))


def bounds(points: Array) -> Box:
    """The box around points of shape (n, 2 or more); it may reach over the picture's edges."""
    left, top = points[:, :2].min(axis=0).tolist()
    right, bottom = points[:, :2].max(axis=0).tolist()
    return Box(left, top, right - left, bottom - top)


def clipped(box: Box) -> Box:
    """What of a box, in fractions of the picture, lies inside the picture."""
    left, top = (min(max(edge, 0.0), 1.0) for edge in (box.x, box.y))
    right, bottom = (min(max(edge, 0.0), 1.0) for edge in (box.x + box.w, box.y + box.h))
    return Box(left, top, right - left, bottom - top)

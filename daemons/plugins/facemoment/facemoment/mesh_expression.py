"""The expression of a face by the geometry of its mesh: numpy only, no model.

All lengths are in units of the distance between the outer corners of the eyes, so that the size of the head drops out,
and are taken in space, along the head's own axes, so that its turning does, within about 30 degrees.

Each score is a ramp between two limits. They were set on these pictures, each looked at:
    smile: none: img_mpgest_*, asl_yes.mkv, skv_carphone.mp4 (mouth 0.42 to 0.58 wide, corners raised by up to 0.035);
        slight: the middle woman of img_faceapi_sample3.jpg (0.67; 0.07); broad:
        preview_head-pose-face-detection-male.gif, img_sk_astronaut.png, img_fr_obama.jpg, the women at the right of
        img_faceapi_sample1.jpg and 3 (0.70 to 0.83; 0.095 to 0.13).
    mouth_open: closed: img_mpgest_* (lips up to 0.04 apart); open: skv_carphone.mp4 at frame 64 (0.15), the smiles that
        show teeth (0.12 to 0.22). No mouth is wide open in them: the upper limit is an estimate.
    eyes_closed: open: 0.23 to 0.38 of the eye's width, narrowed by a broad smile 0.20 (img_fr_obama.jpg); closed: 0.10
        to 0.14 (img_faceapi_sample1.jpg middle, 2 right, asl_eat.mkv at frame 30, frame 60 of the male gif).
    brow_raise: at rest 0.16 to 0.26; raised: frames 0 and 30 of the male gif (0.28); made up: up to 0.30. Brows differ
        more between people than most people raise them: of the four it is the least sure.

Emotions: happy, surprise and neutral only. Sadness, anger, fear and disgust show in furrows and in small changes
against the person's own face at rest, which a mesh of one picture does not give.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from facemoment.vision import Expression

Array = npt.NDArray[np.floating[Any]]
Ramp = tuple[float, float]

MOUTH_WIDTH: Ramp = (0.58, 0.74)
CORNERS_RAISED: Ramp = (0.03, 0.11)
LIPS_APART: Ramp = (0.04, 0.30)
EYE_SHUT: Ramp = (0.23, 0.13)
BROWS_ABOVE_EYES: Ramp = (0.26, 0.32)

# Vertices of MediaPipe's mesh; left and right are the person's own.
RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
EYES = ((33, 160, 158, 133, 153, 144), (263, 387, 385, 362, 380, 373))  # outer, two above, inner, two below
EYE_CORNERS = (33, 133, 362, 263)
BROWS = (105, 66, 107, 334, 296, 336)
MOUTH_CORNERS = (61, 291)
LIPS = (13, 14)  # inner edges, upper and lower
NOSE_BRIDGE, UNDER_NOSE = 168, 2


def expression(track_id: int, landmarks: Array, aspect: float) -> Expression:
    """Read the expression of a face.

    Args:
        track_id: of the face.
        landmarks: as `vision.Face.landmarks`.
        aspect: width of the picture divided by its height.
    """
    points = in_eye_distances(np.asarray(landmarks, np.float64) * (aspect, 1.0, aspect))
    down = points @ downwards(points)
    wide = ramp(length(points, *MOUTH_CORNERS), MOUTH_WIDTH)
    raised = ramp(down[list(LIPS)].mean() - down[list(MOUTH_CORNERS)].mean(), CORNERS_RAISED)
    smile = (wide * raised) ** 0.5
    mouth_open = ramp(length(points, *LIPS), LIPS_APART)
    eyes_closed = ramp(sum(eye_opening(points, eye) for eye in EYES) / 2, EYE_SHUT)
    brow_raise = ramp(down[list(EYE_CORNERS)].mean() - down[list(BROWS)].mean(), BROWS_ABOVE_EYES)
    return Expression(
        track_id=track_id,
        smile=smile,
        mouth_open=mouth_open,
        eyes_closed=eyes_closed,
        brow_raise=brow_raise,
        emotions={
            "happy": smile,
            "surprise": (mouth_open * brow_raise) ** 0.5 * (1 - smile) * (1 - eyes_closed),
            "neutral": 1 - max(smile, mouth_open, brow_raise),
        },
    )


def in_eye_distances(points: Array) -> Array:
    """Scale points of shape (468, 3) by the distance between the outer corners of the eyes."""
    return points / length(points, RIGHT_EYE_OUTER, LEFT_EYE_OUTER)


def downwards(points: Array) -> Array:
    """The direction, of length 1, from the head's top to its chin: at right angles to the line through the eyes."""
    across = points[LEFT_EYE_OUTER] - points[RIGHT_EYE_OUTER]
    down = points[UNDER_NOSE] - points[NOSE_BRIDGE]
    down = down - across * (down @ across) / (across @ across)
    return np.asarray(down / np.linalg.norm(down))


def eye_opening(points: Array, eye: tuple[int, ...]) -> float:
    """Height of an eye divided by its width (eye aspect ratio: Soukupova and Cech, CVWW 2016)."""
    outer, above_outer, above_inner, inner, below_inner, below_outer = eye
    height = length(points, above_outer, below_outer) + length(points, above_inner, below_inner)
    return height / (2 * length(points, outer, inner))


def length(points: Array, a: int, b: int) -> float:
    """Distance in space between two vertices."""
    return float(np.linalg.norm(points[a] - points[b]))


def ramp(value: float, limits: Ramp) -> float:
    """0 at the first limit and beyond, 1 at the second and beyond, straight between them."""
    start, end = limits
    return float(min(max((value - start) / (end - start), 0.0), 1.0))

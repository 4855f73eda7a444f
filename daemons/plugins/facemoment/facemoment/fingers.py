"""What a hand shows, from its 21 points: how far each finger is stretched, then which gesture that is. numpy only.

The limits are taken from the hand's anatomy, not fitted: a middle finger's three bones are about 45, 27 and 18 mm long
and its knuckle is about 95 mm from the wrist (B. Buchholz et al., "Anthropometric data for describing the kinematics
of the human hand", Ergonomics 35, 1992), so each measure can be computed for a finger that is straight, hooked or
folded. What anatomy leaves open (which way the hand is turned, how far the thumb sticks out) was then chosen on the
labelled pictures that there are: 13 stills, a thumb (in six encodings), a hand that spells; and on hands that hang in
sight. That is few, and nobody shows a v_sign there: expect failures where nobody has looked.

Each condition of a gesture has a degree of truth, 0 to 1, that is 0.5 at its limit; the gesture's score is the least.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facemoment.vision import GestureName

Array = npt.NDArray[np.floating[Any]]

WRIST = 0
THUMB = (1, 2, 3, 4)
FINGERS = ((5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
"""From the knuckle to the tip: index, middle, ring and little finger."""

SHOWN = 0.5
"""The least score of a gesture that is shown."""

STRAIGHT = (0.65, 0.95)
"""Knuckle to tip, in lengths of the finger: straight 1.0, bent by a right angle in the middle 0.71, folded 0.4."""
BENT_DEGREES = (75.0, 45.0)
"""From the line wrist to knuckle to the line knuckle to tip: straight 0 to 20, bent by a right angle in the middle 45,
at the knuckle 90, folded 150. Little and index finger reach 30 when they are spread."""
THUMB_OUT = (1.0, 1.3)
"""Little finger's knuckle to the thumb's tip, in distances from there to the thumb's own knuckle: held out 1.4 and
more, beside the hand 1.1, over the fingers or across the palm 0.6 to 0.9."""
APART_DEGREES = (4.0, 20.0)
"""Between index and middle finger: together 0 to 8, a V 20 to 45."""
UPRIGHT_DEGREES = (75.0, 45.0)
"""Between a hand, wrist to middle finger's tip, and upwards; more than 60: sideways. Forearms slant: none is plumb."""
HANGING_DEGREES = (105.0, 75.0)
"""Between a palm, wrist to middle finger's knuckle, and upwards: it rises, or hangs. A `call` reaches 83 there; hands
that hang beside the body or reach down for something, whose fingers the model guesses, 92 to 150."""
STICKS_OUT = (0.1, 0.5)
"""How far the thumb's tip is above (below) all else of the hand, in palms (wrist to the middle finger's knuckle): its
last two bones are 0.6 long, and the index finger's knuckle lies a little above where they begin. So the fist has to lie
on its side, as where people mean it (44 to 93 degrees from upwards): beside one that stands upright the thumb ends
where the knuckles do (up to 0.13), however far towards the camera the model guesses its tip."""

PATTERNS: Mapping[GestureName, tuple[bool | None, ...]] = {
    "v_sign": (False, True, True, False, False),
    "thumbs_up": (True, False, False, False, False),
    "thumbs_down": (True, False, False, False, False),
    "open_palm": (True, True, True, True, True),
    "fist": (False, False, False, False, False),
    "pointing": (None, True, False, False, False),
    "call": (True, False, False, False, True),
    "rock": (None, True, False, False, True),
    "four": (False, True, True, True, True),
}
"""Which fingers are stretched, from the thumb to the little finger; None: either."""


class Shown(NamedTuple):
    """What a hand shows, and how clearly: 0.5 to 1; "none" with 0.0."""

    gesture: GestureName
    score: float


def recognise(points: Array) -> Shown:
    """Say what a hand shows.

    Args:
        points: shape (21, 3): MediaPipe's hand points in one unit for all axes, x to the picture's right, y down.
    """
    fingers, palm = stretched(points), distance(points[WRIST], points[FINGERS[1][0]])
    upright = rises(points[FINGERS[1][3]] - points[WRIST], UPRIGHT_DEGREES)
    hangs_not = rises(points[FINGERS[1][0]] - points[WRIST], HANGING_DEGREES)
    fist = closed(points)
    more: dict[GestureName, float] = {
        "v_sign": min(apart(points), hangs_not),
        "thumbs_up": min(sticks_out(-points[:, 1] / palm), fist),
        "thumbs_down": min(sticks_out(points[:, 1] / palm), fist),
        "open_palm": upright,  # a hand that rests on something is as flat and open
        "fist": fist,
        "pointing": hangs_not,
        "call": hangs_not,
        "rock": hangs_not,
        "four": upright,
    }
    scores = {gesture: min(more[gesture], *agreement(fingers, pattern)) for gesture, pattern in PATTERNS.items()}
    best = max(scores, key=lambda gesture: scores[gesture])
    return Shown(best, scores[best]) if scores[best] >= SHOWN else Shown("none", 0.0)


def agreement(fingers: tuple[float, ...], pattern: tuple[bool | None, ...]) -> list[float]:
    """How far each finger that matters is as it should be."""
    pairs = zip(fingers, pattern, strict=True)
    return [is_so if should else 1 - is_so for is_so, should in pairs if should is not None]


def stretched(points: Array) -> tuple[float, ...]:
    """How far each finger is stretched, 0 to 1, from the thumb to the little finger."""
    little = points[FINGERS[3][0]]
    degrees = [ramp(distance(little, points[THUMB[3]]) / distance(little, points[THUMB[1]]), *THUMB_OUT)]
    for finger in FINGERS:
        knuckle, _, _, tip = points[list(finger)]
        bent = angle(knuckle - points[WRIST], tip - knuckle)
        degrees.append(min(straight(points, finger), ramp(bent, *BENT_DEGREES)))
    return tuple(degrees)


def straight(points: Array, finger: tuple[int, ...]) -> float:
    """How straight a finger is, wherever it points: 0 to 1."""
    length = sum(distance(points[a], points[b]) for a, b in pairwise(finger))
    return ramp(distance(points[finger[0]], points[finger[3]]) / length, *STRAIGHT)


def closed(points: Array) -> float:
    """Whether the four fingers are all folded: 0 to 1.

    It asks more than that none is stretched: a finger that is straight but stands off the palm is neither. So the model
    guesses the fingers of a flat hand that is seen from its edge, with the thumb above.
    """
    return 1 - max(straight(points, finger) for finger in FINGERS)


def apart(points: Array) -> float:
    """Whether index and middle finger are spread: 0 to 1."""
    index, middle = (points[finger[3]] - points[finger[0]] for finger in FINGERS[:2])
    return ramp(angle(index, middle), *APART_DEGREES)


def rises(vector: Array, degrees: tuple[float, float]) -> float:
    """Whether something points up in the picture, give or take `degrees`: 0 to 1."""
    return ramp(angle(vector, np.array([0.0, -1.0, 0.0])), *degrees)


def sticks_out(heights: Array) -> float:
    """Whether the thumb's tip is above all else of the hand: 0 to 1; from the height of each point in palms."""
    others = np.delete(heights, THUMB[1:])
    return ramp(float(heights[THUMB[3]] - others.max()), *STICKS_OUT)


def distance(a: Array, b: Array) -> float:
    """Between two points."""
    return float(np.linalg.norm(a - b))


def angle(a: Array, b: Array) -> float:
    """Between two vectors, in degrees."""
    return float(np.degrees(np.arctan2(np.linalg.norm(np.cross(a, b)), a @ b)))


def ramp(value: float, none: float, full: float) -> float:
    """0 at `none`, 1 at `full`, straight between them, not beyond."""
    return float(np.clip((value - none) / (full - none), 0.0, 1.0))

"""MediaPipe's models of hands, which lie inside its wheel: palm detection and landmarks. Runs offline."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facemoment.graph import Graph

Points = npt.NDArray[np.float32]


class FoundHand(NamedTuple):
    """A hand that was found.

    Attributes:
        place: its points in the picture; see `vision.Hand.landmarks`.
        world: the same points in metres, which angles can be taken from; the axes are the picture's.
        label: MediaPipe's word for which hand it is, "Left" or "Right". It takes pictures for mirrored, as a phone
            shows its owner; where they are not, its left is the person's right.
        confidence: of the label.
    """

    place: Points
    world: Points
    label: str
    confidence: float


class HandModels:
    """MediaPipe's hand detector and landmarks behind a lock, so that the streams of a process can share them.

    They treat each picture on its own. MediaPipe can follow hands from picture to picture instead, which saves the
    detector where as many are in sight as may be; but a hand that was once taken amiss stays so for as long as it is
    followed: on the thumb of mps_gesture_test_video.mp4, at 10 frames a second, 6 of 47 frames were right, against
    40 of 43. While they load, MediaPipe's libraries write some lines of information to stderr, whatever their
    environment variables say.

    Args:
        max_hands: so many at most are found.
        min_confidence: of the palm detector.
    """

    def __init__(self, max_hands: int, min_confidence: float) -> None:
        from mediapipe.python.solutions.hands import Hands  # here: takes a second and 100 MB

        self._lock = threading.Lock()
        self._hands = Graph(
            partial(Hands, static_image_mode=True, max_num_hands=max_hands, min_detection_confidence=min_confidence)
        )

    def find(self, rgb: npt.NDArray[np.uint8]) -> list[FoundHand]:
        """Find the hands in a picture.

        Args:
            rgb: uint8, shape (height, width, 3), C-contiguous, in R, G, B order.
        """
        with self._lock:
            found = self._hands.process(rgb)
        several = zip(
            found.multi_hand_landmarks or (),
            found.multi_hand_world_landmarks or (),
            (each.classification[0] for each in found.multi_handedness or ()),
            strict=True,
        )
        return [
            FoundHand(coordinates(place), coordinates(world), side.label, min(side.score, 1.0))
            for place, world, side in several
        ]

    def close(self) -> None:
        """Free the models. They cannot be used after that."""
        with self._lock:
            self._hands.close()


def coordinates(points: Any) -> Points:
    """MediaPipe's list of points, as an array of shape (21, 3)."""
    return np.array([(point.x, point.y, point.z) for point in points.landmark], np.float32)

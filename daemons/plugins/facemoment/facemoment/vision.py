"""What the extractors of this package say about people: the types of `Observation.data`, field by field.

Conventions, for all: positions and sizes are fractions of the picture, origin at its top left, x to the right, y down.
Left and right of a picture are the viewer's; left and right of a person (handedness, "left_wrist") are that person's
own. Angles are in degrees. Scores are in [0, 1]. `track_id` names the same face or hand from frame to frame: it is
given out in rising order from 0 in each epoch, never twice, and ends when its owner has been out of sight for a time.

Between processes data travels as plain MessagePack; `read` makes these types of it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec
import numpy as np

from visualpath.core.observation import Observation

T = TypeVar("T", bound=msgspec.Struct)


class Face(msgspec.Struct, frozen=True, kw_only=True):
    """One face; `face` gives a list of them, best confidence first.

    Attributes:
        track_id: the same person's face from frame to frame.
        x, y: left and top edge of the box, clipped to the picture.
        w, h: its width and height, clipped likewise.
        inside: how much of the box, before it was clipped, lies inside the picture.
        confidence: of the detector.
        yaw: positive: turned to the picture's right; 0: towards the camera. None: the mesh found no face in the box.
        pitch: positive: looking up. None as with yaw.
        roll: positive: the head leans clockwise in the picture. None as with yaw.
        gaze: camera gaze, (1 - |yaw| / 10) * (1 - |pitch| / 15), not below 0. None as with yaw.
        landmarks: float32 of shape (468, 3), the vertices of MediaPipe's face mesh: x, y, and depth z in fractions of
            the picture's width, smaller is nearer. None as with yaw.
    """

    track_id: int
    x: float
    y: float
    w: float
    h: float
    confidence: float
    inside: float = 1.0
    yaw: float | None = None
    pitch: float | None = None
    roll: float | None = None
    gaze: float | None = None
    landmarks: np.ndarray[Any, np.dtype[np.float32]] | None = None


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """The expression of one face; `expression` gives a list of them, in the order of `face`.

    Attributes:
        track_id: of the face.
        smile, mouth_open, eyes_closed, brow_raise: how much, 0 to 1.
        emotions: score by emotion, of those that the backend can tell.
    """

    track_id: int
    smile: float
    mouth_open: float
    eyes_closed: float
    brow_raise: float
    emotions: dict[str, float]


def read(observations: Iterable[Observation[Any]], kind: type[T]) -> list[T]:
    """The data of observations, whether they come from this process or over the wire, as a list of `kind`.

    Raises:
        msgspec.ValidationError: the data are of another kind.
    """
    return [each for seen in observations if seen.data is not None for each in msgspec.convert(seen.data, list[kind])]  # type: ignore[valid-type]

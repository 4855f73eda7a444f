"""What the extractors of this package say about people: the types of `Observation.data`, field by field.

Conventions, for all: positions and sizes are fractions of the picture, origin at its top left, x to the right, y down.
Left and right of a picture are the viewer's; left and right of a person (handedness, "left_wrist") are that person's
own. Angles are in degrees. Scores are in [0, 1]. `track_id` names the same face, hand or person from frame to frame:
it is given out in rising order from 0 in each epoch, never twice, and ends when its owner has been out of sight for a
time.

Which backend does the work, and on what device, stands in the metadata of each observation. What a backend does not
tell is None.

Between processes data travels as plain MessagePack; `read` makes these types of it again.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeVar

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
        yaw: positive: turned to the picture's right; 0: towards the camera. None: the mesh found no face in the box, or
            the face is not one of the largest `max_faces`.
        pitch: positive: looking up. None as with yaw.
        roll: positive: the head leans clockwise in the picture. None as with yaw.
        gaze: camera gaze, (1 - |yaw| / 10) * (1 - |pitch| / 15), not below 0. None as with yaw.
        landmarks: float32 of shape (468, 3), the vertices of MediaPipe's face mesh: x, y, and depth z in fractions of
            the picture's width, smaller is nearer. None as with yaw. Of MediaPipe alone.
        landmarks68: float32 of shape (68, 2): x, y of the points of iBUG 300-W, from that before the right ear on. None
            as with yaw. This and the rest: of InsightFace alone.
        keypoints: float32 of shape (5, 2): x, y of right eye, left eye, tip of the nose, right and left corner of the
            mouth.
        embedding: float32 of shape (512,), of length 1: the scalar product of two says how alike two faces are, from
            -1 to 1. Those of different models have nothing to do with each other. None as with yaw.
        age: in years, as the model guesses. None as with yaw.
        gender: likewise.
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
    landmarks68: np.ndarray[Any, np.dtype[np.float32]] | None = None
    keypoints: np.ndarray[Any, np.dtype[np.float32]] | None = None
    embedding: np.ndarray[Any, np.dtype[np.float32]] | None = None
    age: int | None = None
    gender: Literal["female", "male"] | None = None


class Expression(msgspec.Struct, frozen=True, kw_only=True):
    """The expression of one face; `expression` gives a list of them, in the order of `face`.

    Attributes:
        track_id: of the face.
        smile, mouth_open, eyes_closed, brow_raise: how much, 0 to 1. None: the face has no `landmarks`.
        emotions: score by emotion, of those that the backend can tell: happy, surprise and neutral; of HSEmotion also
            anger, disgust, fear and sad, of most of its models contempt, and all together add up to 1.
        valence: how pleasant, -1 to 1; arousal: how stirred, -1 to 1. Of HSEmotion's models named `_mtl` alone.
    """

    track_id: int
    smile: float | None = None
    mouth_open: float | None = None
    eyes_closed: float | None = None
    brow_raise: float | None = None
    emotions: dict[str, float]
    valence: float | None = None
    arousal: float | None = None


Role = Literal["main", "passenger", "transient", "noise"]


class ClassifiedFace(msgspec.Struct, frozen=True, kw_only=True):
    """The role of one face; `face_classifier` gives a list of them, in the order of `face`.

    Attributes:
        track_id: of the face.
        role: main: the one the picture is about, at most one; passenger: beside it, at most one; transient: has not
            been there for long, moves through, or is a third person; noise: too small, or not a face that stays.
        score: stability, size, centrality and being inside the frame, weighted.
        stability, size, centrality, inside: its parts, each 0 to 1.
    """

    track_id: int
    role: Role
    score: float
    stability: float
    size: float
    centrality: float
    inside: float


GestureName = Literal[
    "v_sign", "thumbs_up", "thumbs_down", "open_palm", "fist", "pointing", "call", "rock", "four", "none"
]


class Hand(msgspec.Struct, frozen=True, kw_only=True):
    """One hand; `gesture` gives a list of them.

    Attributes:
        track_id: the same hand from frame to frame.
        handedness: the person's own hand: "left" or "right".
        confidence: of the handedness, which is what the model gives.
        x, y, w, h: box around the landmarks, clipped to the picture.
        gesture: what it shows; "none": nothing of the list.
        score: how clearly it shows that gesture, 0 to 1; 0.0 with "none".
        landmarks: float32 of shape (21, 3): MediaPipe's hand points (0: wrist, 4, 8, 12, 16, 20: finger tips); z as in
            `Face.landmarks`, from the wrist.
    """

    track_id: int
    handedness: Literal["left", "right"]
    confidence: float
    x: float
    y: float
    w: float
    h: float
    gesture: GestureName
    score: float
    landmarks: np.ndarray[Any, np.dtype[np.float32]]


class Pose(msgspec.Struct, frozen=True, kw_only=True):
    """One person's body; `pose` gives a list of them (MediaPipe: at most one), best confidence first.

    Attributes:
        track_id: the same person from frame to frame.
        x, y, w, h: box, clipped to the picture: around the visible key points (MediaPipe), or as the model finds it.
        confidence: mean visibility of the key points (MediaPipe), or that of the model.
        keypoints: float32 of shape (17, 3): x, y, visibility of the 17 COCO key points (nose, eyes, ears, shoulders,
            elbows, wrists, hips, knees, ankles; left before right).
        landmarks: float32 of shape (33, 4): x, y, z, visibility of MediaPipe's points; None from another backend.
        left_hand_raised, right_hand_raised: the wrist is above the shoulder.
        hand_wave: how clearly a raised hand swings to and fro, 0 to 1.
    """

    track_id: int
    x: float
    y: float
    w: float
    h: float
    confidence: float
    keypoints: np.ndarray[Any, np.dtype[np.float32]]
    landmarks: np.ndarray[Any, np.dtype[np.float32]] | None = None
    left_hand_raised: bool = False
    right_hand_raised: bool = False
    hand_wave: float = 0.0


def read(observations: Iterable[Observation[Any]], kind: type[T]) -> list[T]:
    """The data of observations, whether they come from this process or over the wire, as a list of `kind`.

    Raises:
        msgspec.ValidationError: the data are of another kind.
    """
    return [each for seen in observations if seen.data is not None for each in msgspec.convert(seen.data, list[kind])]  # type: ignore[valid-type]

"""Faces in a picture, how each head is turned, and who is who: MediaPipe's bundled models. Runs offline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from facemoment.face_models import Detection, FaceModels
from facemoment.head_pose import HeadPose, head_pose
from facemoment.tracking import Box, Tracker
from facemoment.vision import Face
from visualbase.frame import Frame
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation

INPUT_WIDTH = 640
WARM_UP_FRAMES = 2
GAZE_YAW, GAZE_PITCH = 10.0, 15.0  # degrees at which nobody looks into the camera any more


class FaceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The extractor's `config:` mapping.

    Attributes:
        model_selection: 0: short-range model, for faces within about 2 m of the camera; 1: full-range model,
            within about 5 m, at twice the cost.
        min_confidence: faces below this confidence are not reported.
        max_faces: the mesh is fitted to so many faces, the largest; 0: to none, so no head pose is known.
        max_age_s: a face that has been out of sight for longer than this (seconds of event time) comes back under
            another track_id. Above the time between two frames that are looked at.
    """

    model_selection: Literal[0, 1] = 1
    min_confidence: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    max_faces: Annotated[int, msgspec.Meta(ge=0, le=16)] = 4
    max_age_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 0.5

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> FaceConfig:
        """Check a mapping.

        Raises:
            ValueError: an unknown key, or a value that is not allowed.
        """
        try:
            return msgspec.convert(dict(config), cls)
        except msgspec.ValidationError as err:
            raise ValueError(
                f"face: {err}; allowed are model_selection (0 or 1), min_confidence (above 0, up to 1), "
                "max_faces (0 to 16) and max_age_s (above 0, up to 60)"
            ) from err


class FaceExtractor(BaseExtractor):
    """Finds faces, and how each head is turned. A frame without faces has an empty list.

    Signals:
        count: number of faces.
        conf: the highest confidence, 0 to 1; 0.0 without a face.
        area: area of the largest box as a fraction of the picture, 0 to 1; 0.0 without a face.
        yaw, pitch, roll, gaze: of the face with the largest box, as in `vision.Face`; absent where they are not known.

    Data: list of `vision.Face`, best confidence first.

    Args:
        config: see `FaceConfig`.

    Raises:
        ValueError: the configuration has an unknown key or a value that is not allowed.
    """

    name = "face"
    input_width = INPUT_WIDTH
    pixel_format = "bgr"

    models: FaceModels

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        checked = FaceConfig.parse(self.config)
        self._max_faces = checked.max_faces
        self._tracker = Tracker(round(checked.max_age_s * 1e9))

    @classmethod
    def load_models(cls, config: Mapping[str, Any]) -> FaceModels:
        """Load the models and run them on blank pictures: the first runs take several times as long."""
        checked = FaceConfig.parse(config)
        models = FaceModels(checked.model_selection, checked.min_confidence)
        blank = np.zeros((INPUT_WIDTH * 9 // 16, INPUT_WIDTH, 3), np.uint8)
        anywhere = Detection(Box(0.4, 0.4, 0.2, 0.2), confidence=1.0, right_eye=(0.45, 0.5), left_eye=(0.55, 0.5))
        for _ in range(WARM_UP_FRAMES):
            models.detect(blank)
            models.landmarks(blank, anywhere)
        return models

    def extract(self, frame: Frame) -> Observation[list[Face]]:
        """Find the faces in one picture of shape (height, width, 3), in B, G, R order."""
        rgb = frame.data.take([2, 1, 0], axis=2)  # contiguous, and three times as fast as a copy of [..., ::-1]
        found = self.models.detect(rgb)
        ids = self._tracker.update([each.box for each in found], frame.t_ns)
        faces = [clipped(each, track_id) for each, track_id in zip(found, ids, strict=True)]
        aspect = frame.data.shape[1] / frame.data.shape[0]
        for i in sorted(range(len(faces)), key=lambda i: size(faces[i]), reverse=True)[: self._max_faces]:
            landmarks = self.models.landmarks(rgb, found[i])
            if landmarks is not None:
                faces[i] = with_head(faces[i], landmarks, aspect)
        return Observation(signals=signals(faces), data=faces)

    def reset(self) -> None:
        """Forget whose face is whose."""
        self._tracker.reset()


def clipped(found: Detection, track_id: int) -> Face:
    """What is known of a face before the mesh is fitted."""
    x, y, w, h = found.box
    left, right = max(x, 0.0), min(x + w, 1.0)
    top, bottom = max(y, 0.0), min(y + h, 1.0)
    return Face(
        track_id=track_id,
        x=left,
        y=top,
        w=right - left,
        h=bottom - top,
        inside=min((right - left) * (bottom - top) / (w * h), 1.0),
        confidence=found.confidence,
    )


def with_head(face: Face, landmarks: npt.NDArray[np.float32], aspect: float) -> Face:
    """Add what the mesh tells; `aspect` is the picture's width divided by its height."""
    pose = head_pose(landmarks, aspect)
    return msgspec.structs.replace(face, **pose._asdict(), gaze=camera_gaze(pose), landmarks=landmarks)


def camera_gaze(pose: HeadPose) -> float:
    """How much a head looks into the camera, 0 to 1; see `vision.Face.gaze`."""
    return max(1 - abs(pose.yaw) / GAZE_YAW, 0.0) * max(1 - abs(pose.pitch) / GAZE_PITCH, 0.0)


def signals(faces: list[Face]) -> dict[str, float]:
    """The signals of a frame; see `FaceExtractor`."""
    largest = max(faces, key=size, default=None)
    known = {name: getattr(largest, name, None) for name in ("yaw", "pitch", "roll", "gaze")}
    return {
        "count": float(len(faces)),
        "conf": max((face.confidence for face in faces), default=0.0),
        "area": size(largest) if largest else 0.0,
        **{name: value for name, value in known.items() if value is not None},
    }


def size(face: Face) -> float:
    """Area of the box as a fraction of the picture."""
    return face.w * face.h

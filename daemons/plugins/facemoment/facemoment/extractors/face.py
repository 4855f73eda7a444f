"""Faces in a picture, how each head is turned, and which face is whose from frame to frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from facemoment.backends.found import FoundFace
from facemoment.backends.insightface import InsightFaces, Part
from facemoment.backends.mediapipe import MediaPipeFaces
from facemoment.backends.weights import weights
from facemoment.extractors.settings import Settings
from facemoment.face_models import FaceModels
from facemoment.head_pose import HeadPose
from facemoment.tracking import Tracker
from facemoment.vision import Face
from visualbase.frame import Frame
from visualpath.core.backends import DetectionBackend
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation
from visualpath.plugin.onnx import Device

INPUT_WIDTH = 640
GAZE_YAW, GAZE_PITCH = 10.0, 15.0  # degrees at which nobody looks into the camera any more


class FaceConfig(Settings, frozen=True):
    """The extractor's `config:` mapping, but for what is the host's.

    Attributes:
        min_confidence: faces below this confidence are not reported.
        max_faces: of so many faces, the largest, more than a box is told; 0: of none, so no head pose is known.
        max_age_s: a face that has been out of sight for longer than this (seconds of event time) comes back under
            another track_id. Above the time between two frames that are looked at.
        model_selection: of mediapipe: 0: short-range model, for faces within about 2 m of the camera; 1: full-range
            model, within about 5 m, at twice the cost.
        model: of insightface: name of the pack, as `vpctl models` has it, or a path.
        device: of insightface: auto, cpu or gpu; see `visualpath.plugin.onnx`.
        threads: of insightface: what one picture may use of the CPU.
        parts: of insightface: what is told of the `max_faces` largest: head, embedding, age_gender. Each costs time.
    """

    extractor = "face"
    allowed = (
        "backend (mediapipe or insightface), min_confidence (above 0, up to 1), max_faces (0 to 16) and max_age_s "
        "(above 0, up to 60); for mediapipe model_selection (0 or 1); for insightface model (a name or path), device "
        "(auto, cpu or gpu), threads (1 to 64) and parts (some of head, embedding and age_gender)"
    )

    min_confidence: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    max_faces: Annotated[int, msgspec.Meta(ge=0, le=16)] = 4
    max_age_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 0.5
    model_selection: Literal[0, 1] = 1
    model: str = "buffalo_l"
    device: Device = "auto"
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    parts: list[Part] = msgspec.field(default_factory=lambda: ["head", "embedding", "age_gender"])


def load_mediapipe(config: Mapping[str, Any]) -> MediaPipeFaces:
    """The models in MediaPipe's wheel: the venv face."""
    checked = FaceConfig.parse(config)
    backend = MediaPipeFaces(FaceModels(checked.model_selection, checked.min_confidence), checked.max_faces)
    backend.warm_up(INPUT_WIDTH)
    return backend


def load_insightface(config: Mapping[str, Any]) -> InsightFaces:
    """InsightFace with a pack of weights: the venv insight or insight-gpu."""
    checked = FaceConfig.parse(config)
    return InsightFaces(
        weights(checked.model),
        checked.device,
        checked.threads,
        checked.min_confidence,
        checked.max_faces,
        checked.parts,
    )


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

    backends = {"mediapipe": load_mediapipe, "insightface": load_insightface}
    backend_settings = {"mediapipe": ("model_selection",), "insightface": ("model", "device", "threads", "parts")}

    models: DetectionBackend[FoundFace]

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._tracker = Tracker(round(FaceConfig.parse(self.config).max_age_s * 1e9))

    def extract(self, frame: Frame) -> Observation[list[Face]]:
        """Find the faces in one picture of shape (height, width, 3), in B, G, R order."""
        found = self.models.detect(frame)
        ids = self._tracker.update([each.box for each in found], frame.t_ns)
        faces = [known(each, track_id) for each, track_id in zip(found, ids, strict=True)]
        return Observation(signals=signals(faces), data=faces, metadata=dict(self.models.about))

    def reset(self) -> None:
        """Forget whose face is whose."""
        self._tracker.reset()


def known(found: FoundFace, track_id: int) -> Face:
    """All that is known of a face, its box clipped to the picture."""
    x, y, w, h = found.box
    left, right = max(x, 0.0), min(x + w, 1.0)
    top, bottom = max(y, 0.0), min(y + h, 1.0)
    head: dict[str, float] = {} if found.head is None else {**found.head._asdict(), "gaze": camera_gaze(found.head)}
    return Face(
        track_id=track_id,
        x=left,
        y=top,
        w=right - left,
        h=bottom - top,
        inside=min((right - left) * (bottom - top) / (w * h), 1.0),
        confidence=found.confidence,
        landmarks=found.landmarks,
        landmarks68=found.landmarks68,
        keypoints=found.keypoints,
        embedding=found.embedding,
        age=found.age,
        gender=found.gender,
        **head,
    )


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

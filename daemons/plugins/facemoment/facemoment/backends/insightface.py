"""`face: insightface`: InsightFace 2 with a pack of models that lies on this machine; nothing is downloaded.

Its code is MIT, the weights of its packs are for research that is not commercial: `vpctl models list` says so.

How the head is turned is found by our own `head_pose` from the 68 points: so all signs are those of `vision`, and
angles are relative to the line to the camera, as from the other backend. InsightFace's own `pose` is not used.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from facemoment.backends.found import FoundFace, largest
from facemoment.face_models import visible
from facemoment.head_pose import POINTS_68, head_pose
from facemoment.tracking import Box
from visualbase.frame import Frame
from visualpath.core.errors import ModelError, PluginError
from visualpath.plugin.onnx import Device, providers, session_options, used_device

Part = Literal["head", "embedding", "age_gender"]
TASKS: dict[Part, str] = {"head": "landmark_3d_68", "embedding": "recognition", "age_gender": "genderage"}
"""InsightFace's name of what does each part."""
INPUT_SIZE = (640, 640)
"""Of the detector, where the model leaves it open: width and height that the picture is fitted into."""
BLANK_FACE = np.array([[0.34, 0.46], [0.66, 0.46], [0.5, 0.64], [0.37, 0.82], [0.63, 0.82]], np.float32)
"""Eyes, tip of the nose and corners of the mouth somewhere in a square of length 1: for the warm-up."""


class InsightFaces:
    """Finds faces, and of the largest how the head is turned, an embedding, age and gender.

    Args:
        pack: a folder of ONNX models, as buffalo_l; parts that it has no model for are not told.
        device, threads: see `OnnxModel`.
        min_confidence: faces below this confidence are not reported.
        max_faces: of so many faces, the largest, more than box and key points is told.
        parts: what that is; each costs time for each face.

    Raises:
        ModelError: the folder is no such pack.
        DeviceUnavailable: the GPU was asked for, and one of the models does not use it.
        PluginError: there is no InsightFace in this venv.
    """

    def __init__(
        self,
        pack: Path,
        device: Device,
        threads: int,
        min_confidence: float,
        max_faces: int,
        parts: Collection[Part],
    ) -> None:
        self._app = load_pack(pack, device, threads, ["detection", *(TASKS[part] for part in parts)])
        self._lock = threading.Lock()
        self._detector = self._app.det_model
        self._describing = [model for task, model in self._app.models.items() if task != "detection"]
        self._max_faces = max_faces
        sessions = [model.session for model in self._app.models.values()]
        self.about = used_device(sessions, device).about(pack)
        self._app.prepare(ctx_id=0, det_thresh=min_confidence, det_size=INPUT_SIZE)
        self._warm_up(pack)

    def _warm_up(self, pack: Path) -> None:
        blank = np.zeros((INPUT_SIZE[1], INPUT_SIZE[0], 3), np.uint8)
        try:
            self._detector.detect(blank)
            self._describe(blank, np.array([200, 200, 400, 400, 1], np.float32), BLANK_FACE * 200 + 200)
        except Exception as error:
            raise ModelError(f"a model in {pack} is not what InsightFace takes it for: {error}") from error

    def detect(self, frame: Frame) -> list[FoundFace]:
        """See `DetectionBackend`."""
        with self._lock:
            boxes, points = self._detector.detect(frame.data)  # the best confidence first
            scale = np.array(frame.data.shape[1::-1])
            faces = [found(box, keypoints, scale) for box, keypoints in zip(boxes, points, strict=True)]
            for i in largest(faces, self._max_faces):
                if visible(faces[i].box):
                    faces[i] = described(faces[i], self._describe(frame.data, boxes[i], points[i]), scale)
        return [face for face in faces if visible(face.box)]

    def _describe(self, bgr: npt.NDArray[np.uint8], box: Any, keypoints: Any) -> Any:
        """What all the models say of a face, in InsightFace's own type; None where none was asked."""
        from insightface.app.common import Face

        face = Face(bbox=box[:4], kps=keypoints, det_score=box[4])
        for model in self._describing:
            model.get(bgr, face)
        return face

    def close(self) -> None:
        """Free the models."""
        with self._lock:
            del self._app, self._detector, self._describing


def load_pack(pack: Path, device: Device, threads: int, tasks: list[str]) -> Any:
    """InsightFace's FaceAnalysis on a folder.

    Raises:
        ModelError, PluginError: see `InsightFaces`.
    """
    if not any(pack.glob("*.onnx")):
        raise ModelError(f"{pack} is no folder of ONNX models")
    wanted = providers(device)
    try:
        from insightface.app import FaceAnalysis  # here: takes a second and 100 MB
    except ImportError as error:
        raise PluginError(f"no InsightFace ({error}): let `face` run in the venv insight or insight-gpu") from error
    try:
        app = FaceAnalysis(str(pack), allowed_modules=tasks, providers=wanted, sess_options=session_options(threads))
    except AssertionError:
        raise ModelError(f"{pack} has no model that detects faces") from None
    except Exception as error:
        raise ModelError(f"{pack} cannot be loaded: {error}") from error
    if not app.det_model.use_kps:
        raise ModelError(f"the detector in {pack} gives no key points: take another pack")
    return app


def found(box: Any, keypoints: Any, scale: npt.NDArray[np.integer[Any]]) -> FoundFace:
    """A face as the detector gives it: left, top, right, bottom and score, in pixels."""
    (left, top), (width, height) = box[:2] / scale, (box[2:4] - box[:2]) / scale
    return FoundFace(
        box=Box(float(left), float(top), float(width), float(height)),
        confidence=float(box[4]),
        keypoints=(keypoints / scale).astype(np.float32),
    )


def described(face: FoundFace, known: Any, scale: npt.NDArray[np.integer[Any]]) -> FoundFace:
    """Add what the models said of it."""
    if known.landmark_3d_68 is not None:
        points = (known.landmark_3d_68[:, :2] / scale).astype(np.float32)
        face = face._replace(landmarks68=points, head=head_pose(points, scale[0] / scale[1], POINTS_68))
    if known.embedding is not None and known.embedding.any():
        face = face._replace(embedding=known.normed_embedding.astype(np.float32))
    if known.age is not None:
        face = face._replace(age=known.age, gender="male" if known.gender == 1 else "female")
    return face

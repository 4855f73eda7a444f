"""Faces in a picture, found by MediaPipe's bundled model. Runs offline."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
import numpy as np
import numpy.typing as npt

from visualbase.frame import Frame
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation

INPUT_WIDTH = 640
WARM_UP_FRAMES = 2


class FaceConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The extractor's `config:` mapping.

    Attributes:
        model_selection: 0: short-range model, for faces within about 2 m of the camera; 1: full-range model,
            within about 5 m, at twice the cost.
        min_confidence: faces below this confidence are not reported.
    """

    model_selection: Literal[0, 1] = 1
    min_confidence: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5

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
                f"face: {err}; allowed are model_selection (0 or 1) and min_confidence (above 0, up to 1)"
            ) from err


class Face(msgspec.Struct, frozen=True):
    """One face. The box is in fractions of the picture, origin at the top left, clipped to the picture.

    Attributes:
        x: left edge, 0 to 1.
        y: top edge, 0 to 1.
        w: width, 0 to 1 - x.
        h: height, 0 to 1 - y.
        confidence: the model's score, 0 to 1.
    """

    x: float
    y: float
    w: float
    h: float
    confidence: float


class FaceDetector:
    """MediaPipe's face detector behind a lock, so that the streams of a process can share it.

    It treats each picture on its own (no tracking). While its model loads, MediaPipe's libraries write
    about three lines of information to stderr, whatever their environment variables say.
    """

    def __init__(self, config: FaceConfig) -> None:
        from mediapipe.python.solutions import face_detection  # here: takes a second and 100 MB

        self._lock = threading.Lock()
        self._model = face_detection.FaceDetection(
            model_selection=config.model_selection, min_detection_confidence=config.min_confidence
        )

    def detect(self, bgr: npt.NDArray[np.uint8]) -> list[Face]:
        """Find the faces in a picture.

        Args:
            bgr: uint8, shape (height, width, 3), in B, G, R order.

        Returns:
            The faces, best confidence first.
        """
        rgb = bgr.take([2, 1, 0], axis=2)  # contiguous, and three times as fast as a copy of [..., ::-1]
        with self._lock:
            found = self._model.process(rgb).detections or []
        faces = [clipped(d.location_data.relative_bounding_box, d.score[0]) for d in found]
        faces = [face for face in faces if face.w > 0 and face.h > 0]
        return sorted(faces, key=lambda face: face.confidence, reverse=True)

    def close(self) -> None:
        """Free the model. It cannot be used after that."""
        with self._lock:
            self._model.close()


class FaceExtractor(BaseExtractor):
    """Finds faces. Gives one observation per frame: a frame without faces has an empty list.

    Signals:
        count: number of faces.
        conf: the highest confidence, 0 to 1; 0.0 without a face.
        area: area of the largest box as a fraction of the picture, 0 to 1; 0.0 without a face.

    Data: list of `Face`, best confidence first.

    Args:
        config: see `FaceConfig`.

    Raises:
        ValueError: the configuration has an unknown key or a value that is not allowed.
    """

    name = "face"
    input_width = INPUT_WIDTH
    pixel_format = "bgr"

    models: FaceDetector

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        FaceConfig.parse(self.config)

    @classmethod
    def load_models(cls, config: Mapping[str, Any]) -> FaceDetector:
        """Load the model and run it on blank pictures: the first runs take several times as long."""
        detector = FaceDetector(FaceConfig.parse(config))
        blank = np.zeros((INPUT_WIDTH * 9 // 16, INPUT_WIDTH, 3), np.uint8)
        for _ in range(WARM_UP_FRAMES):
            detector.detect(blank)
        return detector

    def extract(self, frame: Frame) -> Observation[list[Face]]:
        """Find the faces in one picture of shape (height, width, 3), in B, G, R order."""
        faces = self.models.detect(frame.data)
        return Observation(
            signals={
                "count": float(len(faces)),
                "conf": max((face.confidence for face in faces), default=0.0),
                "area": max((face.w * face.h for face in faces), default=0.0),
            },
            data=faces,
        )


def clipped(box: Any, confidence: float) -> Face:
    """Turn MediaPipe's relative box, which may reach over the edges, into a `Face` inside the picture."""
    left, right = (min(max(edge, 0.0), 1.0) for edge in (box.xmin, box.xmin + box.width))
    top, bottom = (min(max(edge, 0.0), 1.0) for edge in (box.ymin, box.ymin + box.height))
    return Face(x=left, y=top, w=right - left, h=bottom - top, confidence=confidence)

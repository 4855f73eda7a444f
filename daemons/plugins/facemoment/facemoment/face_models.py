"""MediaPipe's models of faces, which lie inside its wheel: detection and mesh. Runs offline."""

from __future__ import annotations

import math
import threading
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from facemoment.graph import Graph
from facemoment.tracking import Box

VERTICES = 468
ROI_SIZE = 1.5  # of the square in which the mesh is fitted, in lengths of the box's longer side: as MediaPipe's own

# The mesh alone: `mp.solutions.face_mesh` would look for the face again, by a detector of short range, which costs as
# much and misses more. The model "with attention" sees whether eyes are closed, which the other does not, and refuses
# profiles.
MESH_GRAPH = """
input_stream: "image"
input_stream: "roi"
input_side_packet: "with_attention"
output_stream: "landmarks"
node {
  calculator: "FaceLandmarkCpu"
  input_stream: "IMAGE:image"
  input_stream: "ROI:roi"
  input_side_packet: "WITH_ATTENTION:with_attention"
  output_stream: "LANDMARKS:landmarks"
}
"""


class Detection(NamedTuple):
    """A face that was found.

    Attributes:
        box: in fractions of the picture; it may reach over the edges.
        confidence: the model's score, 0 to 1.
        right_eye, left_eye: the person's own, x and y in fractions of the picture.
    """

    box: Box
    confidence: float
    right_eye: tuple[float, float]
    left_eye: tuple[float, float]


class FaceModels:
    """MediaPipe's face detector and face mesh behind a lock, so that the streams of a process can share them.

    They treat each picture on its own (no tracking). While they load, MediaPipe's libraries write some lines of
    information to stderr, whatever their environment variables say.

    Args:
        model_selection: of the detector: 0: short range; 1: full range.
        min_confidence: faces below this confidence are not reported.
    """

    def __init__(self, model_selection: int, min_confidence: float) -> None:
        from mediapipe.framework.formats.rect_pb2 import NormalizedRect  # here: takes a second and 100 MB
        from mediapipe.python.solution_base import SolutionBase
        from mediapipe.python.solutions.face_detection import FaceDetection

        self._rect = NormalizedRect
        self._lock = threading.Lock()
        self._detector = Graph(
            partial(FaceDetection, model_selection=model_selection, min_detection_confidence=min_confidence)
        )
        self._mesh = Graph(
            partial(SolutionBase, graph_config=MESH_GRAPH, side_inputs={"with_attention": True}, outputs=["landmarks"])
        )

    def detect(self, rgb: npt.NDArray[np.uint8]) -> list[Detection]:
        """Find the faces in a picture.

        Args:
            rgb: uint8, shape (height, width, 3), C-contiguous, in R, G, B order.

        Returns:
            The faces of which something lies inside the picture, best confidence first.
        """
        with self._lock:
            found = self._detector.process(rgb).detections or []
        faces = [detection(each.location_data, each.score[0]) for each in found]
        return sorted((face for face in faces if visible(face.box)), key=lambda face: face.confidence, reverse=True)

    def landmarks(self, rgb: npt.NDArray[np.uint8], face: Detection) -> npt.NDArray[np.float32] | None:
        """Fit the mesh to a face.

        Args:
            rgb: the picture that the face was found in.
            face: what `detect` found.

        Returns:
            See `vision.Face.landmarks`. None: the model sees no face there.
        """
        roi = self._rect(**square_around(face, *rgb.shape[1::-1]))
        with self._lock:
            found = self._mesh.process({"image": rgb, "roi": roi}).landmarks
        if found is None:
            return None
        return np.array([(point.x, point.y, point.z) for point in found.landmark[:VERTICES]], np.float32)

    def close(self) -> None:
        """Free the models. They cannot be used after that."""
        with self._lock:
            self._detector.close()
            self._mesh.close()


def detection(location: Any, confidence: float) -> Detection:
    """Read what MediaPipe says about a face."""
    box, eyes = location.relative_bounding_box, location.relative_keypoints
    return Detection(
        box=Box(box.xmin, box.ymin, box.width, box.height),
        confidence=confidence,
        right_eye=(eyes[0].x, eyes[0].y),
        left_eye=(eyes[1].x, eyes[1].y),
    )


def visible(box: Box) -> bool:
    """Whether some of a box lies inside the picture."""
    x, y, w, h = box
    return w > 0 and h > 0 and x < 1 and y < 1 and x + w > 0 and y + h > 0


def square_around(face: Detection, width: int, height: int) -> dict[str, float]:
    """The square in which the mesh is fitted, upright as the eyes are, as MediaPipe's own graph cuts it out.

    Args:
        face: where the face is.
        width, height: of the picture, in pixels.

    Returns:
        The fields of a `NormalizedRect`: centre and size in fractions of the picture, rotation in radians, clockwise.
    """
    side = ROI_SIZE * max(face.box.w * width, face.box.h * height)
    x, y = face.box.centre
    across, down = face.left_eye[0] - face.right_eye[0], face.left_eye[1] - face.right_eye[1]
    return {
        "x_center": x,
        "y_center": y,
        "width": side / width,
        "height": side / height,
        "rotation": math.atan2(down * height, across * width),
    }

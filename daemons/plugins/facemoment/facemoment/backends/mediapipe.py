"""`face: mediapipe` and `pose: mediapipe`: the models that lie inside MediaPipe's wheel. They run on the CPU."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from facemoment.backends.found import FoundFace, FoundPerson, largest
from facemoment.body import COCO, VISIBLE, bounds
from facemoment.face_models import Detection, FaceModels
from facemoment.head_pose import head_pose
from facemoment.pose_models import PoseModels
from facemoment.tracking import Box
from visualbase.frame import Frame

WARM_UP_FRAMES = 2
ON_CPU = {"device": "cpu"}


class MediaPipeFaces:
    """Finds faces, and fits a mesh to the largest of them, which tells how the head is turned.

    Args:
        models: which this object closes.
        max_faces: how many meshes are fitted.
    """

    about = ON_CPU

    def __init__(self, models: FaceModels, max_faces: int) -> None:
        self._models = models
        self._max_faces = max_faces

    def warm_up(self, width: int) -> None:
        """Run the models on blank pictures of a width in pixels: the first runs take several times as long."""
        blank = np.zeros((width * 9 // 16, width, 3), np.uint8)
        anywhere = Detection(Box(0.4, 0.4, 0.2, 0.2), confidence=1.0, right_eye=(0.45, 0.5), left_eye=(0.55, 0.5))
        for _ in range(WARM_UP_FRAMES):
            self._models.detect(blank)
            self._models.landmarks(blank, anywhere)

    def detect(self, frame: Frame) -> list[FoundFace]:
        """See `DetectionBackend`."""
        rgb = to_rgb(frame)
        found = self._models.detect(rgb)
        faces = [FoundFace(each.box, each.confidence) for each in found]
        aspect = rgb.shape[1] / rgb.shape[0]
        for i in largest(faces, self._max_faces):
            landmarks = self._models.landmarks(rgb, found[i])
            if landmarks is not None:
                faces[i] = faces[i]._replace(landmarks=landmarks, head=head_pose(landmarks, aspect))
        return faces

    def close(self) -> None:
        """Free the models."""
        self._models.close()


class MediaPipePose:
    """Follows the most prominent person of each stream.

    Args:
        models: which this object closes.
    """

    about = ON_CPU

    def __init__(self, models: PoseModels) -> None:
        self._models = models

    def find(self, frame: Frame) -> list[FoundPerson]:
        """See `PoseBackend`; one person at most."""
        landmarks = self._models.find(to_rgb(frame), frame.stream, frame.epoch)
        if landmarks is None:
            return []
        keypoints = landmarks[list(COCO)][:, [0, 1, 3]]
        in_sight = keypoints[keypoints[:, 2] >= VISIBLE]
        box = bounds(in_sight if len(in_sight) else keypoints)
        return [FoundPerson(box, float(keypoints[:, 2].mean()), keypoints, landmarks)]

    def close(self) -> None:
        """Free the models."""
        self._models.close()


def to_rgb(frame: Frame) -> npt.NDArray[np.uint8]:
    """The picture in R, G, B order, contiguous; three times as fast as a copy of [..., ::-1]."""
    return frame.data.take([2, 1, 0], axis=2)

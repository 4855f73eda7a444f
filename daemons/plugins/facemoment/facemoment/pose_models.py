"""MediaPipe's model of a body, which lies inside its wheel. Runs offline."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from facemoment.graph import Graph

WARM_UP_FRAMES = 2


class PoseModels:
    """Gives each stream of a process a model of its own, for it follows the person from picture to picture.

    That finds more than looking anew at each picture (recall 0.86 against 0.77 on the videos of shared/media, at a
    confidence of 0.7) at four fifths of the cost. Each takes about 80 MB, and a third of a second for its first
    picture; the first one is warm before it is asked for. While they load, MediaPipe's libraries write some lines of
    information to stderr, whatever their environment variables say.

    Args:
        make: makes one model.
        width: of the pictures, in pixels; the first model is warmed up with such.
    """

    def __init__(self, make: Callable[[], PoseModel], width: int) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._by_stream: dict[str, PoseModel] = {}
        self._epochs: dict[str, int] = {}
        self._spare: PoseModel | None = make()
        for _ in range(WARM_UP_FRAMES):
            self._spare.find(np.zeros((width * 9 // 16, width, 3), np.uint8))

    def find(self, rgb: npt.NDArray[np.uint8], stream: str, epoch: int) -> npt.NDArray[np.float32] | None:
        """Find the person in the next picture of a stream; in a new epoch none is followed any more.

        Args:
            rgb: as of `PoseModel.find`, whose answer this is.
        """
        with self._lock:
            model = self._by_stream.get(stream)
            if model is None:
                model, self._spare = self._spare or self._make(), None
                self._by_stream[stream] = model
            elif self._epochs[stream] != epoch:
                model.reset()
            self._epochs[stream] = epoch
        return model.find(rgb)

    def close(self) -> None:
        """Free all models."""
        with self._lock:
            models = [model for model in (self._spare, *self._by_stream.values()) if model is not None]
            self._spare = None
            self._by_stream.clear()
        for model in models:
            model.close()


class PoseModel:
    """Follows the most prominent person of one stream.

    Args:
        min_confidence: a person below it is not reported: that of the detector, or, of one who is followed, that of
            the model.
    """

    def __init__(self, min_confidence: float) -> None:
        from mediapipe.python.solutions.pose import Pose  # here: takes a second and 100 MB

        # Not smoothed: MediaPipe takes every picture for 33 ms after the last, so at 10 a second a wave would fade.
        self._graph = Graph(
            partial(
                Pose,
                model_complexity=1,
                smooth_landmarks=False,
                min_detection_confidence=min_confidence,
                min_tracking_confidence=min_confidence,
            )
        )

    def find(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32] | None:
        """Find the person in the next picture.

        Args:
            rgb: uint8, shape (height, width, 3), C-contiguous, in R, G, B order.

        Returns:
            See `vision.Pose.landmarks`. None: nobody is there.
        """
        found = self._graph.process(rgb).pose_landmarks
        if found is None:
            return None
        return np.array([(point.x, point.y, point.z, point.visibility) for point in found.landmark], np.float32)

    def reset(self) -> None:
        """Forget where the person was."""
        self._graph.reset()

    def close(self) -> None:
        """Free it. It cannot be used after that."""
        self._graph.close()

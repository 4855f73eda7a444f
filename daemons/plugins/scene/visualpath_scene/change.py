"""How much a picture differs from the one before it: PySceneDetect's ContentDetector."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

FULL_SCALE = 255.0


class ChangeMeter:
    """Compares the pictures of one stream, each with the one before it.

    Of PySceneDetect's detectors this one compares neighbours, so it needs no frame rate, bears frames that are left
    out, and knows at once. Its AdaptiveDetector wants to see the pictures after a cut, too, and speaks two late.
    """

    def __init__(self) -> None:
        self._shape: tuple[int, ...] | None = None

    def change(self, bgr: npt.NDArray[np.uint8]) -> float | None:
        """Mean difference of hue, saturation and value from the picture before, 0 to 1.

        Args:
            bgr: uint8, shape (height, width, 3).

        Returns:
            None for the first picture, and for one of another size than the last.
        """
        if bgr.shape != self._shape:
            self._detector, self._any_time = new_detector()
            self._detector.process_frame(self._any_time, bgr)
            self._shape = bgr.shape
            return None
        self._detector.process_frame(self._any_time, bgr)
        # In public it tells the score only into a table of all frames ever seen; hence the pinned version.
        return float(self._detector._frame_score) / FULL_SCALE


def new_detector() -> tuple[Any, Any]:
    """A detector that has seen nothing, and a time to give it: it reads that only where scenes have a least length."""
    from scenedetect.common import FrameTimecode  # here: takes 0.2 s and 40 MB
    from scenedetect.detectors import ContentDetector

    return ContentDetector(min_scene_len=0), FrameTimecode(0, fps=1.0)

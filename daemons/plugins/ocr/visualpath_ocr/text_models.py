"""RapidOCR's models, which lie inside its wheel: where text is, and what it says. Runs offline."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

DETECTION, RECOGNITION = "PP-OCRv6_det_small.onnx", "PP-OCRv6_rec_small.onnx"


class FoundText(NamedTuple):
    """A line of text.

    Attributes:
        text: what it says.
        confidence: mean over its characters, 0 to 1.
        corners: float64 of shape (4, 2), x and y in pixels: from the top left of the text clockwise.
    """

    text: str
    confidence: float
    corners: npt.NDArray[np.float64]


class TextModels:
    """RapidOCR behind a lock, so that the streams of a process can share it.

    Some of its defaults cost much and are changed: it enlarges small pictures until their shorter side has 736 pixels,
    it looks whether each line stands on its head, and it reads six lines at once, all padded to the longest, which
    takes a third longer on one core, and 260 MB.

    Args:
        max_side: to find text, larger pictures are shrunk to so many pixels on their longer side; it is read unshrunk.
        min_confidence: texts below this are not reported.
        threads: of the models, and of OpenCV in this process; more than there are cores count as one for each.
    """

    def __init__(self, max_side: int, min_confidence: float, threads: int) -> None:
        import cv2  # these two here: take a second and 100 MB
        import rapidocr

        cv2.setNumThreads(threads)
        folder = Path(rapidocr.__file__).parent / "models"
        self._lock = threading.Lock()
        self._engine: Any = rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",  # it warns of each picture without text
                "Global.text_score": min_confidence,
                "Global.use_cls": False,
                "Det.limit_type": "max",
                "Det.limit_side_len": max_side,
                "Det.model_path": str(folder / DETECTION),
                "Rec.rec_batch_num": 1,
                "Rec.model_path": str(folder / RECOGNITION),
                "EngineConfig.onnxruntime.intra_op_num_threads": threads,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
            }
        )

    def warm_up(self, size: tuple[int, int]) -> None:
        """Read a word in a picture of this (height, width): RapidOCR loads a model when it first has use for it.

        Raises:
            FileNotFoundError: the wheel lacks a model. RapidOCR left to itself would download it.
        """
        import cv2

        height, width = size
        picture = np.full((height, width, 3), 255, np.uint8)
        cv2.putText(
            picture, "visualpath", (width // 8, height // 2), cv2.FONT_HERSHEY_SIMPLEX, height / 200, (0, 0, 0), 5
        )
        self.find(picture)

    def find(self, bgr: npt.NDArray[np.uint8]) -> list[FoundText]:
        """Read a picture.

        Args:
            bgr: uint8, shape (height, width, 3), in B, G, R order.

        Returns:
            Lines from top to bottom, those side by side from left to right.
        """
        with self._lock:
            read = self._engine(bgr)
        if read.txts is None:
            return []
        lines = zip(read.txts, read.scores, read.boxes, strict=True)
        return [FoundText(text, float(confidence), np.asarray(box, np.float64)) for text, confidence, box in lines]

    def close(self) -> None:
        """Free the models. They cannot be used after that."""
        with self._lock:
            self._engine = None

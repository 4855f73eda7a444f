"""`pose: yolo`: a YOLO pose model of Ultralytics' (v8, 11) as ONNX, several persons; decoded here, without their code.

Their weights, and ONNX files made of these, are under AGPL-3.0; `vpctl models list` says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from facemoment.backends.found import FoundPerson
from facemoment.letterbox import Letterbox
from facemoment.tracking import Box
from visualbase.frame import Frame
from visualpath.core.errors import ModelError
from visualpath.plugin.onnx import Device, OnnxModel

Rows = npt.NDArray[np.floating[Any]]

KEYPOINTS = 17
ROWS = 5 + 3 * KEYPOINTS
"""Of the output: centre x and y, width, height and confidence of a person, then x, y and visibility of each point."""
USUAL_SIZE = 640
"""Of the input, in pixels, where the model leaves it open."""
GREY = 114 / 255
"""Beside the picture, as in training (Ultralytics' LetterBox)."""
SAME_PERSON = 0.7
"""Boxes that overlap by more (intersection over union) are one person's: the default of Ultralytics' predict."""


class YoloPose:
    """Finds people, each picture on its own.

    Args:
        path: the ONNX file.
        device, threads: see `OnnxModel`.
        min_confidence: persons below this confidence are not reported.
        max_persons: so many at most, the surest.

    Raises:
        ModelError: the file is no such model.
    """

    def __init__(self, path: Path, device: Device, threads: int, min_confidence: float, max_persons: int) -> None:
        self._model = OnnxModel(path, device, threads)
        self._height, self._width = input_size(path, self._model.input_shape)
        self._min_confidence = min_confidence
        self._max_persons = max_persons
        self.about = self._model.used.about(path)
        check_output(path, self._model.warm_up(self._blank()))

    def find(self, frame: Frame) -> list[FoundPerson]:
        """See `PoseBackend`."""
        height, width = frame.data.shape[:2]
        place = Letterbox.fit(width, height, self._width, self._height)
        batch = self._blank()
        place.fill(batch[0], frame.data[:, :, ::-1])
        return persons(self._model.run(batch)[0][0], place, self._min_confidence, self._max_persons)

    def _blank(self) -> npt.NDArray[np.float32]:
        return np.full((1, 3, self._height, self._width), GREY, np.float32)

    def close(self) -> None:
        """Free the model."""
        self._model.close()


def input_size(path: Path, shape: Sequence[int | str | None]) -> tuple[int, int]:
    """Height and width of the pictures that a model wants.

    Raises:
        ModelError: it wants no pictures.
    """
    if len(shape) != 4 or shape[1] != 3:
        raise ModelError(f"{path} wants an input of shape {tuple(shape)}, not (1, 3, height, width)")
    height, width = (size if isinstance(size, int) else USUAL_SIZE for size in shape[2:])
    return height, width


def check_output(path: Path, outputs: Sequence[Rows]) -> None:
    """Whether a model says what is decoded here.

    Raises:
        ModelError: it does not.
    """
    shapes = [output.shape for output in outputs]
    if [shape[:2] for shape in shapes] != [(1, ROWS)] or len(shapes[0]) != 3:
        raise ModelError(
            f"{path} has outputs of shape {', '.join(map(str, shapes))}, not one of (1, {ROWS}, any): it must be a "
            "pose model of YOLO v8 or 11, exported without nms; that of YOLO 26 is another"
        )


def persons(rows: Rows, place: Letterbox, min_confidence: float, max_persons: int) -> list[FoundPerson]:
    """Decode the model's output.

    Args:
        rows: shape (56, n); see `ROWS`. Lengths in pixels of the model's input.
        place: where the picture lay in that.
        min_confidence, max_persons: as of `YoloPose`.

    Returns:
        The best confidence first.
    """
    sure = np.flatnonzero(rows[4] >= min_confidence)
    sure = sure[np.argsort(-rows[4, sure], kind="stable")]
    x, y, w, h = rows[:4, sure].astype(np.float64)
    boxes = np.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2], axis=1)
    kept = distinct(boxes, max_persons)
    return [_person(rows[:, sure[i]], boxes[i], place) for i in kept]


def distinct(boxes: Rows, most: int) -> list[int]:
    """Non-maximum suppression: which boxes are of different persons.

    Args:
        boxes: shape (n, 4): left, top, right, bottom; the surest first.
        most: how many are wanted.
    """
    kept: list[int] = []
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.flatnonzero(area > 0)
    while len(left) and len(kept) < most:
        best, others = left[0], left[1:]
        kept.append(int(best))
        sides = np.minimum(boxes[best, 2:], boxes[others, 2:]) - np.maximum(boxes[best, :2], boxes[others, :2])
        shared = sides.clip(min=0).prod(axis=1)
        left = others[shared <= SAME_PERSON * (area[best] + area[others] - shared)]
    return kept


def _person(row: Rows, box: Rows, place: Letterbox) -> FoundPerson:
    (left, right), (top, bottom) = place.fractions(box[[0, 2]], box[[1, 3]])
    points = row[5:].reshape(KEYPOINTS, 3)
    x, y = place.fractions(points[:, 0], points[:, 1])
    return FoundPerson(
        box=Box(float(left), float(top), float(right - left), float(bottom - top)),
        confidence=float(row[4]),
        keypoints=np.column_stack([x, y, points[:, 2]]).astype(np.float32),
    )

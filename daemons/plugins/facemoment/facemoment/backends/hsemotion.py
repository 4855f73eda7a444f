"""`expression: hsemotion`: HSEmotion's ONNX models (A. Savchenko), run without their package.

The package (hsemotion-onnx 0.3.1) knows one place for weights, downloads them by itself if it can, and asks for OpenCV
and onnx besides; what it does with a picture is a few lines. Sizes, order of classes and normalisation are those of its
`facial_emotions.py` (github.com/av-savchenko/hsemotion-onnx); valence stands before arousal.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from facemoment.backends.mesh import aspect
from facemoment.letterbox import Picture, resized
from facemoment.mesh_expression import expression
from facemoment.vision import Expression, Face
from visualbase.frame import Frame
from visualpath.core.errors import ModelError
from visualpath.plugin.onnx import Device, OnnxModel

EMOTIONS = ("anger", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
"""In the model's order; one that knows seven does not know contempt."""
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
"""Of ImageNet's pictures: R, G, B, from 0 to 1."""

Scores = npt.NDArray[np.floating[Any]]


class HsEmotions:
    """Reads emotions from the pictures of faces; smile, eyes and brows from their landmarks, where they have some.

    Args:
        path: the ONNX file.
        device, threads: see `OnnxModel`.
        max_faces: so many faces are read, the largest.

    Raises:
        ModelError: the file is no such model.
    """

    def __init__(self, path: Path, device: Device, threads: int, max_faces: int) -> None:
        self._model = OnnxModel(path, device, threads)
        self._size = input_size(path, self._model.input_shape)
        self._max_faces = max_faces
        self.about = self._model.used.about(path)
        outputs = self._model.warm_up(np.zeros((1, 3, self._size, self._size), np.float32))
        if len(outputs) != 1 or outputs[0].shape not in [(1, n) for n in (7, 8, 9, 10)]:
            shapes = ", ".join(str(output.shape) for output in outputs)
            raise ModelError(
                f"{path} has outputs of shape {shapes}, not one of 7 or 8 emotions: no model of HSEmotion's"
            )

    def read(self, frame: Frame, faces: Sequence[Face]) -> list[Expression]:
        """See `ExpressionBackend`."""
        by_size = sorted(faces, key=lambda face: face.w * face.h, reverse=True)
        chosen = {face.track_id for face in by_size[: self._max_faces]}
        return [self._read(frame, face) for face in faces if face.track_id in chosen]

    def _read(self, frame: Frame, face: Face) -> Expression:
        batch = normalised(cut_out(frame.data, face), self._size)
        emotions, mood = understood(self._model.run(batch)[0][0])
        known = Expression(track_id=face.track_id, emotions={})
        if face.landmarks is not None:
            known = expression(face.track_id, face.landmarks, aspect(frame))
        return msgspec.structs.replace(known, emotions=emotions, **mood)

    def close(self) -> None:
        """Free the model."""
        self._model.close()


def input_size(path: Path, shape: Sequence[int | str | None]) -> int:
    """Width and height of the pictures that a model wants; by its file's name where it leaves them open.

    Raises:
        ModelError: it wants no pictures.
    """
    if len(shape) != 4 or shape[1] != 3:
        raise ModelError(f"{path} wants an input of shape {tuple(shape)}, not (1, 3, size, size)")
    return shape[2] if isinstance(shape[2], int) else 224 if "_b0_" in path.name else 260


def cut_out(bgr: Picture, face: Face) -> Picture:
    """The part of a picture in a face's box, of one pixel at least, in R, G, B order."""
    height, width = bgr.shape[:2]
    left, top = min(int(face.x * width), width - 1), min(int(face.y * height), height - 1)
    right, bottom = max(round((face.x + face.w) * width), left + 1), max(round((face.y + face.h) * height), top + 1)
    return bgr[top:bottom, left:right, ::-1]


def normalised(rgb: Picture, size: int) -> npt.NDArray[np.float32]:
    """A picture as the model wants it: stretched, shape (1, 3, size, size)."""
    scaled = (resized(rgb, size, size) / 255 - MEAN) / DEVIATION
    return np.asarray(scaled.transpose(2, 0, 1)[np.newaxis], np.float32)


def understood(logits: Scores) -> tuple[dict[str, float], dict[str, float]]:
    """What the model says of one face.

    Args:
        logits: 7 or 8 of emotions, and valence and arousal where the model tells them.

    Returns:
        The emotions by name, in [0, 1], which add up to 1; and `valence` and `arousal`, in [-1, 1], if there are any.
    """
    knows_mood = len(logits) > len(EMOTIONS)
    raw = logits[:-2] if knows_mood else logits
    names = [name for name in EMOTIONS if len(raw) == len(EMOTIONS) or name != "contempt"]
    shares = np.exp(raw - raw.max())
    emotions = dict(zip(names, (shares / shares.sum()).tolist(), strict=True))
    mood = zip(("valence", "arousal"), np.clip(logits[-2:], -1, 1).tolist(), strict=True) if knows_mood else ()
    return emotions, dict(mood)

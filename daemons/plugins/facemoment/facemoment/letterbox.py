"""Pictures as a model with an input of fixed size wants them. numpy only: no venv need have OpenCV for it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.floating[Any]]


class Letterbox(NamedTuple):
    """Where a picture lies, whole and in its own proportions, in the middle of a larger one; all in pixels of that."""

    left: int
    top: int
    width: int
    height: int

    @classmethod
    def fit(cls, width: int, height: int, into_width: int, into_height: int) -> Letterbox:
        """As large as a picture of `width` and `height` can be in it."""
        scale = min(into_width / width, into_height / height)
        w, h = max(round(width * scale), 1), max(round(height * scale), 1)
        return cls((into_width - w) // 2, (into_height - h) // 2, w, h)

    def fill(self, canvas: npt.NDArray[np.float32], picture: Picture) -> None:
        """Put a picture there.

        Args:
            canvas: shape (channels, height, width); changed in place.
            picture: shape (any height, any width, channels), 0 to 255; becomes 0 to 1.
        """
        scaled = resized(picture, self.width, self.height).transpose(2, 0, 1)
        np.multiply(
            scaled, 1 / 255, out=canvas[:, self.top : self.top + self.height, self.left : self.left + self.width]
        )

    def fractions(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """From pixels of the larger picture to fractions of the one that lies in it."""
        return (x - self.left) / self.width, (y - self.top) / self.height


def resized(picture: Picture, width: int, height: int) -> npt.NDArray[np.floating[Any] | np.uint8]:
    """Scale a picture of shape (height, width, channels), bilinear between pixel centres: OpenCV's INTER_LINEAR.

    Returns:
        Shape (height, width, channels): float32, not rounded; the picture itself where it has that size already.
    """
    if picture.shape[:2] == (height, width):
        return picture
    top, below, down = _between(picture.shape[0], height)
    left, right, across = _between(picture.shape[1], width)
    rows = picture[top] * (1 - down[:, None, None]) + picture[below] * down[:, None, None]
    return np.asarray(rows[:, left] * (1 - across[:, None]) + rows[:, right] * across[:, None])


def _between(length: int, wanted: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """For each pixel that is wanted the two it lies between, and how far it is on from the first, 0 to 1."""
    at = np.clip((np.arange(wanted) + 0.5) * (length / wanted) - 0.5, 0, length - 1)
    first = at.astype(np.intp)
    return first, np.minimum(first + 1, length - 1), (at - first).astype(np.float32)

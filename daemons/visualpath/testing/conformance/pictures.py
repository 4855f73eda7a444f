"""What the kit shows an extractor: scenes with something that moves, and what cameras give on bad days."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from visualbase.frame import Frame
from visualpath.process.view import View, seen_as

Picture = npt.NDArray[np.uint8]

FRAME_NS = 40_000_000
WIDTH, HEIGHT = 640, 360


@cache
def scene(number: int) -> Picture:
    """A bright square that moves over a noisy gradient; shape (360, 640, 3). The same number, the same picture."""
    ramp = np.linspace(20, 160, WIDTH)[None, :, None] * np.array([1.0, 0.8, 0.6])
    noise = np.random.default_rng(number).normal(0, 6, (HEIGHT, WIDTH, 3))
    picture: Picture = np.clip(ramp + noise, 0, 255).astype(np.uint8)
    left = 40 + number * 23 % 500
    picture[120:220, left : left + 100] = 230
    return picture


def odd_pictures() -> Iterator[tuple[str, Picture]]:
    """What each is, and the picture; the sizes change from one to the next."""
    noise = np.random.default_rng(7).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    yield "1 x 1", np.full((1, 1, 3), 128, np.uint8)
    yield "2 x 3", np.full((3, 2, 3), 90, np.uint8)
    yield "portrait, 90 x 160", scene(3)[:160, :90]
    yield "wide and flat, 640 x 16", scene(4)[150:166]
    yield "narrow and high, 16 x 360", scene(5)[:, 100:116]
    yield "black", np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    yield "white", np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    yield "noise", noise
    yield "large, 1920 x 1080", np.tile(scene(6), (3, 3, 1))
    yield "an ordinary one after these", scene(7)


def as_seen(picture: Picture, view: View) -> Picture:
    """Pixels in the size and format that an extractor asks for, by way of JPEG as in the daemons."""
    pixels: Picture = seen_as(Frame(np.ascontiguousarray(picture), 0, 0), view).data
    return pixels


class UnreadableFrame(Frame):
    """A frame whose pixels cannot be had, so that an extractor fails in the midst of its work."""

    def __getattribute__(self, name: str) -> Any:
        """All but the pixels."""
        if name == "data":
            raise OSError("the kit lets this frame fail")
        return super().__getattribute__(name)


def frame_of(pixels: Picture, number: int, stream: str = "kit", epoch: int = 1) -> Frame:
    """A frame with pixels of its own, as every frame of a daemon has."""
    height, width = pixels.shape[:2]
    return Frame(pixels.copy(), number, number * FRAME_NS, stream, epoch, 0, width, height)

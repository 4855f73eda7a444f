"""`synthetic://`: pictures that say their own number and time, for tests and for trying things out without a camera.

The upper half of each picture is a grid of black and white cells that spells its number, its `t_ns` and a check
sum; `read_code` gets them back from the pixels after JPEG, H.264, or being made smaller. The lower half is a
coloured ground that depends on the seed, with a white block that moves, so that pictures have something to encode.
"""

from __future__ import annotations

import random
import threading
from binascii import crc_hqx
from collections.abc import Iterator
from fractions import Fraction
from itertools import count, islice
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np
import numpy.typing as npt

from visualbase import jpeg
from visualbase.errors import SourceError
from visualbase.jpeg import Pixels
from visualbase.sources.base import Picture, Source, SourceInfo
from visualbase.sources.query import read_query
from visualpath_protocol.clock import NS_PER_S, mono_ns

_COLUMNS, _ROWS = 16, 7
"""Of the grid: 32 bits of number, 64 of time, 16 of check sum."""
_CODE_BYTES = _COLUMNS * _ROWS // 8
_DARK, _BRIGHT = 16, 235
_MIN_WIDTH, _MIN_HEIGHT = 128, 112
"""A cell then has 8x8 pixels, one block of JPEG or H.264."""
_MAX_SIDE = 8192


class Pattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What the query of a `synthetic://` address may say: `synthetic://?width=640&height=480&fps=30&vfr=1`.

    Attributes:
        width: in pixels, even, 128 or more.
        height: in pixels, even, 112 or more.
        fps: frames per second, on average with `vfr`.
        frames: how many; 0: without end.
        vfr: irregular intervals, 0.5 to 1.5 of the nominal one, the same for the same seed.
        seed: of ground and intervals.
        live: as a camera: at the pace of the clock, times of CLOCK_MONOTONIC, numbers from 0 at each opening.
    """

    width: int = 640
    height: int = 480
    fps: float = 30.0
    frames: int = 300
    vfr: bool = False
    seed: int = 0
    live: bool = False

    @classmethod
    def from_uri(cls, uri: str) -> Pattern:
        """Read the address.

        Raises:
            SourceError: an unknown key, or a value out of range.
        """
        hint = "write synthetic://?width=640&height=480&fps=30&frames=300&vfr=0&seed=0&live=0"
        parts = urlsplit(uri)
        if parts.netloc or parts.path not in ("", "/"):
            raise SourceError(uri, f"{parts.netloc + parts.path!r} has no meaning here", hint)
        pattern = read_query(uri, cls, hint)
        if not (_MIN_WIDTH <= pattern.width <= _MAX_SIDE and _MIN_HEIGHT <= pattern.height <= _MAX_SIDE):
            allowed = f"{_MIN_WIDTH}x{_MIN_HEIGHT} to {_MAX_SIDE}x{_MAX_SIDE}"
            raise SourceError(uri, f"{pattern.width}x{pattern.height} is not within {allowed}", hint)
        if pattern.width % 2 or pattern.height % 2:
            raise SourceError(uri, "width and height must be even", hint)
        if not 0.1 <= pattern.fps <= 1000 or not 0 <= pattern.frames < 2**32:
            raise SourceError(uri, "fps must be 0.1 to 1000, frames 0 to 2^32 - 1", hint)
        return pattern

    def times(self) -> Iterator[int]:
        """`t_ns` of each picture from the first, at 0, without end."""
        interval = NS_PER_S / Fraction(self.fps).limit_denominator(1001)
        if not self.vfr:
            for number in count():
                yield round(number * interval)
        chance = random.Random(self.seed)  # noqa: S311 - repeatable is what is wanted
        t_ns = 0
        while True:
            yield t_ns
            t_ns += chance.randrange(round(interval) // 2, round(interval) * 3 // 2)

    def ground(self) -> Pixels:
        """What all pictures of this pattern have in common: uint8, shape (height, width, 3), R, G, B."""
        chance = np.random.default_rng(self.seed)
        corners = chance.integers(40, 200, (2, 2, 3)).astype(np.float32)
        across = np.linspace(0, 1, self.width, dtype=np.float32)[None, :, None]
        down = np.linspace(0, 1, self.height, dtype=np.float32)[:, None, None]
        top = corners[0, 0] * (1 - across) + corners[0, 1] * across
        bottom = corners[1, 0] * (1 - across) + corners[1, 1] * across
        ground: Pixels = (top * (1 - down) + bottom * down).astype(np.uint8)
        return ground


class SyntheticSource(Source):
    """Pictures of a `Pattern`.

    Args:
        uri: see `Pattern`.
        loop: without end, whatever `frames` says; number and time go on.
        jpeg_quality: 1 to 100.

    Raises:
        SourceError: the address is wrong.
    """

    def __init__(self, uri: str, *, loop: bool = False, jpeg_quality: int = 85) -> None:
        self._pattern = Pattern.from_uri(uri)
        self._ends_after = self._pattern.frames if self._pattern.frames and not loop else None
        self._jpeg_quality = jpeg_quality
        self._ground = self._pattern.ground()
        self._closed = threading.Event()
        self.live = self._pattern.live
        self.dropped: dict[str, int] = {}
        self.info = SourceInfo(
            width=self._pattern.width, height=self._pattern.height, fps=self._pattern.fps, origin_ns=0
        )

    def pictures(self) -> Iterator[Picture]:
        """All pictures in order; live ones when their time has come."""
        start_ns = mono_ns() if self.live else 0
        for number, after_ns in enumerate(islice(self._pattern.times(), self._ends_after)):
            t_ns = start_ns + after_ns
            if self.live:
                self._closed.wait(max(0, t_ns - mono_ns()) / NS_PER_S)
            pixels = draw(self._ground, number, t_ns)
            yield Picture(
                t_ns, jpeg.encode(pixels, quality=self._jpeg_quality), self._pattern.width, self._pattern.height
            )

    def close(self) -> None:
        """A live wait ends."""
        self._closed.set()


class Code(NamedTuple):
    """What a picture says of itself."""

    number: int
    t_ns: int


def draw(ground: Pixels, number: int, t_ns: int) -> Pixels:
    """A picture that says `number` (32 bits) and `t_ns` (64 bits): uint8, R, G, B, of the size of `ground`."""
    pixels: Pixels = ground.copy()
    said = number.to_bytes(4, "big") + t_ns.to_bytes(8, "big")
    bits = np.unpackbits(np.frombuffer(said + _check(said), np.uint8)).reshape(_ROWS, _COLUMNS)
    rows, columns = _edges(pixels)
    grid = np.where(bits, _BRIGHT, _DARK).astype(np.uint8)
    cells = grid.repeat(np.diff(rows), axis=0).repeat(np.diff(columns), axis=1)
    pixels[: rows[-1]] = cells[:, :, None]
    height, width = pixels.shape[:2]
    side = height // 8
    left = number * 4 % (width - side)
    pixels[height * 3 // 4 : height * 3 // 4 + side, left : left + side] = 255
    return pixels


def read_code(pixels: Pixels) -> Code | None:
    """What `draw` has written, or None if it cannot be read with certainty.

    Args:
        pixels: uint8, shape (height, width, channels) or (height, width), any order of colours; the whole picture,
            perhaps made smaller.
    """
    grey = pixels if pixels.ndim == 2 else pixels.mean(axis=2)
    rows, columns = _edges(grey)
    bits = [
        grey[_middle(rows, row), _middle(columns, column)].mean() > (_DARK + _BRIGHT) / 2
        for row in range(_ROWS)
        for column in range(_COLUMNS)
    ]
    code = np.packbits(bits).tobytes()
    said, check = code[: _CODE_BYTES - 2], code[_CODE_BYTES - 2 :]
    if _check(said) != check:
        return None
    return Code(int.from_bytes(said[:4], "big"), int.from_bytes(said[4:], "big"))


def read_number(pixels: Pixels) -> int | None:
    """The number of the picture; see `read_code`."""
    code = read_code(pixels)
    return None if code is None else code.number


def _check(said: bytes) -> bytes:
    """CRC-16/CCITT; its start value makes an all-dark grid wrong."""
    return crc_hqx(said, 0xFFFF).to_bytes(2, "big")


def _edges(pixels: npt.NDArray[Any]) -> tuple[list[int], list[int]]:
    """Where the rows and columns of the grid begin, and where it ends: the upper half, over the whole width."""
    height, width = pixels.shape[:2]
    rows = [height * row // (2 * _ROWS) for row in range(_ROWS + 1)]
    columns = [width * column // _COLUMNS for column in range(_COLUMNS + 1)]
    return rows, columns


def _middle(edges: list[int], index: int) -> slice:
    """The inner half of a cell: its rim is where neighbours bleed in."""
    start, end = edges[index], edges[index + 1]
    rim = (end - start) // 4
    return slice(start + rim, max(end - rim, start + rim + 1))

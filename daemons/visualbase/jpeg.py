"""JPEG to pixels and back, by libjpeg-turbo. Every call releases the GIL while it works."""

from __future__ import annotations

import re
from typing import Literal

import numpy as np
import numpy.typing as npt
import simplejpeg

from visualbase.errors import DamagedJpeg

PixelFormat = Literal["bgr", "gray"]
Pixels = npt.NDArray[np.uint8]

MAX_SIDE = 65500
"""Pixels of width or height that libjpeg takes."""

_END_OF_IMAGE = b"\xff\xd9"
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""What begins a segment; the others are pixels, fill bytes, and restarts among the pixels."""
_BEGIN = b"\xff\xd8"
_COLOURS_TAKEN = ("YCbCr", "Gray")


def encode(rgb: Pixels, *, quality: int = 85) -> bytes:
    """A picture as JPEG with 4:2:0 chroma.

    Args:
        rgb: uint8, shape (height, width, 3), R, G, B order.
        quality: 1 to 100.

    Raises:
        ValueError: `rgb` or `quality` is none of these.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"a picture is uint8 of shape (height, width, 3), not {rgb.dtype} of shape {rgb.shape}")
    if not 1 <= quality <= 100:
        raise ValueError(f"JPEG quality {quality} is not in 1 to 100")
    data: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality, "rgb", "420")
    return data


def decode(data: bytes | memoryview, *, width_at_least: int | None, pixel_format: PixelFormat) -> Pixels:
    """The pixels of a JPEG, no larger than needed.

    libjpeg decodes at n/8 of the size for less work than the whole; the smallest n that still
    gives `width_at_least` is taken. A picture is never enlarged.

    Args:
        width_at_least: in pixels; None decodes at full size.
        pixel_format: "bgr" gives shape (height, width, 3), "gray" (height, width, 1).

    Returns:
        uint8, C-contiguous, writable.

    Raises:
        DamagedJpeg: the bytes are no JPEG, are cut short or decode with errors.
    """
    full_width, full_height = size(data)
    wanted = full_width if width_at_least is None else min(width_at_least, full_width)
    try:
        pixels: Pixels = simplejpeg.decode_jpeg(data, pixel_format, min_width=max(wanted, 1))
    except ValueError as error:
        raise DamagedJpeg(f"JPEG of {full_width}x{full_height}, {len(data)} bytes: {error}") from error
    return pixels


def scaled(width: int, width_at_least: int) -> int:
    """The width in pixels at which `decode` would decode a JPEG of `width`."""
    return next((eighth for n in range(1, 8) if (eighth := -(-width * n // 8)) >= width_at_least), width)


def size(data: bytes | memoryview) -> tuple[int, int]:
    """(width, height) in pixels, from the JPEG's header alone.

    Raises:
        DamagedJpeg: the bytes do not begin with a JPEG header.
    """
    return _header(data)[:2]


def whole_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels of a JPEG that can be handed on as it is; None if it must be encoded anew.

    That is so for colours that `decode` does not take (CMYK), and where more follows the JPEG than zeros, with which
    some cameras fill up. Only header and end are looked at: damage between them shows when somebody decodes.

    Raises:
        DamagedJpeg: the bytes do not begin with a JPEG header, or the JPEG in them has no end.
    """
    width, height, colours = _header(data)
    if data.rstrip(b"\0").endswith(_END_OF_IMAGE):
        return (width, height) if colours in _COLOURS_TAKEN else None
    if not _has_end(data):
        raise DamagedJpeg(f"JPEG of {width}x{height}, {len(data)} bytes: cut short")
    return None


def _has_end(data: bytes) -> bool:
    """Whether its segments lead to an end; another picture or a film may follow, as in the files of telephones."""
    at = len(_BEGIN)
    while (marker := _MARKER.search(data, at)) is not None:
        if marker[0] == _END_OF_IMAGE:
            return True
        at = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2], "big")
    return False


def _header(data: bytes | memoryview) -> tuple[int, int, str]:
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except ValueError as error:
        raise DamagedJpeg(f"{len(data)} bytes that do not begin as a JPEG does: {error}") from error
    return width, height, colours

"""A picture as an extractor wants it, whether it comes as JPEG or as pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from visualbase import jpeg
from visualbase.frame import Frame
from visualbase.jpeg import PixelFormat


@dataclass(frozen=True, slots=True)
class View:
    """What an extractor asks for: see `BaseExtractor`.

    Attributes:
        input_width: the picture is decoded at the smallest of libjpeg's scales that is at least this wide; None: whole.
        pixel_format: "bgr" or "gray".
    """

    input_width: int | None
    pixel_format: PixelFormat


@dataclass(frozen=True, slots=True)
class JpegFrame:
    """A picture that is not decoded yet; fields as in `Frame`."""

    jpeg: bytes
    frame_id: int
    t_ns: int
    stream: str = ""
    epoch: int = 0
    wall_ns: int = 0
    width: int = 0
    height: int = 0


AnyFrame: TypeAlias = Frame | JpegFrame

RAW_QUALITY = 95
"""JPEG quality for pixels that must be brought to another size or format: the way they would have come from a ring."""


def seen_as(frame: AnyFrame, view: View) -> Frame:
    """A frame as an extractor wants it.

    Pixels of the wanted format that are not much too large are handed on as they are. Others go by way of JPEG, as
    all do in the daemons: it is the one scaler that every venv has.

    Raises:
        DamagedJpeg: the JPEG cannot be decoded.
        ValueError: the pixels are no uint8 of shape (height, width, 3) or (height, width, 1).
    """
    if isinstance(frame, Frame):
        check_pixels(frame.data)
        if _fits(frame, view):
            return frame
        frame = _encoded(frame)
    pixels = jpeg.decode(frame.jpeg, width_at_least=view.input_width, pixel_format=view.pixel_format)
    return Frame(
        data=pixels,
        frame_id=frame.frame_id,
        t_ns=frame.t_ns,
        stream=frame.stream,
        epoch=frame.epoch,
        wall_ns=frame.wall_ns,
        width=frame.width,
        height=frame.height,
    )


def check_pixels(data: np.ndarray[Any, Any]) -> None:
    """Whether pixels are some.

    Raises:
        ValueError: they are no uint8 of shape (height, width, 3) or (height, width, 1).
    """
    if data.dtype != np.uint8 or data.ndim != 3 or data.shape[2] not in (1, 3) or not data.size:
        raise ValueError(
            f"pixels are uint8 of shape (height, width, 3) or (height, width, 1), not {data.dtype} of {data.shape}"
        )


def _fits(frame: Frame, view: View) -> bool:
    _, width, channels = frame.data.shape
    wanted = 1 if view.pixel_format == "gray" else 3
    return channels == wanted and (view.input_width is None or jpeg.scaled(width, view.input_width) == width)


def _encoded(frame: Frame) -> JpegFrame:
    bgr = frame.data.repeat(3, axis=2) if frame.data.shape[2] == 1 else frame.data
    height, width = bgr.shape[:2]
    return JpegFrame(
        jpeg=jpeg.encode(bgr[:, :, ::-1], quality=RAW_QUALITY),
        frame_id=frame.frame_id,
        t_ns=frame.t_ns,
        stream=frame.stream,
        epoch=frame.epoch,
        wall_ns=frame.wall_ns,
        width=frame.width or width,
        height=frame.height or height,
    )

"""One decoded picture, as extractors see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Frame:
    """A decoded picture with its place on the stream's time line.

    Attributes:
        data: pixels, uint8, C-contiguous; shape (height, width, 3) in B, G, R order, or
            (height, width, 1) for an extractor whose `pixel_format` is "gray". It may be smaller
            than the original (`width`, `height`): see `BaseExtractor.input_width`. Read only.
        frame_id: number of the frame in its epoch, from 0.
        t_ns: event time in ns on the stream's own time line (not UTC); strictly rising in an epoch.
        stream: name of the stream.
        epoch: number of the stream's time line; rises at each restart or discontinuity.
        wall_ns: UTC at capture in ns since 1970, for people only.
        width: width of the original picture in pixels.
        height: height of the original picture in pixels.
    """

    data: npt.NDArray[np.uint8]
    frame_id: int
    t_ns: int
    stream: str = ""
    epoch: int = 0
    wall_ns: int = 0
    width: int = 0
    height: int = 0

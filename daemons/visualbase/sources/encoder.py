"""Decoded pictures of PyAV as the JPEGs that go into the ring."""

from __future__ import annotations

import numpy as np
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter

from visualbase import jpeg
from visualbase.errors import SourceError


class FrameEncoder:
    """Encodes the pictures of one source.

    Args:
        uri: of the source, for its errors.
        quality: 1 to 100.
    """

    def __init__(self, uri: str, quality: int) -> None:
        self._uri = uri
        self._quality = quality
        self._reformatter = VideoReformatter()  # kept: setting one up costs as much as converting a picture

    def encode(self, frame: VideoFrame) -> bytes:
        """The picture as JPEG, 4:2:0, turned to stand upright: its sides may be those of `frame` swapped.

        Raises:
            SourceError: FFmpeg cannot convert its pixel format, or it is too large for a JPEG.
        """
        if max(frame.width, frame.height) > jpeg.MAX_SIDE:
            reason = f"{frame.width}x{frame.height} pixels, and JPEG ends at {jpeg.MAX_SIDE} a side"
            raise SourceError(self._uri, reason, "make it smaller")
        try:
            rgb = self._reformatter.reformat(frame, format="rgb24")
        except FFmpegError as error:
            reason = f"pixel format {frame.format.name} cannot be converted: {error.strerror}"
            raise SourceError(self._uri, reason, "convert the video to yuv420p") from None
        pixels = np.asarray(rgb.to_ndarray(), dtype=np.uint8)
        return jpeg.encode(np.rot90(pixels, quarter_turns(frame)), quality=self._quality)


def quarter_turns(frame: VideoFrame) -> int:
    """How many turns of 90 degrees counterclockwise make it stand upright: 0 to 3; other angles are rounded.

    A picture that is to be mirrored is not: the display matrix that says so lies in `frame.side_data`, and PyAV 18
    crashes when what was read from there is collected as garbage.
    """
    return round(frame.rotation / 90) % 4

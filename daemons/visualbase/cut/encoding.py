"""Decoded pictures as H.264 that any player shows as it showed the source."""

from __future__ import annotations

from fractions import Fraction

from av.codec.context import Flags
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from av.video.stream import VideoStream

from visualbase.cut.output import ClipFile
from visualbase.errors import MuxError, OtherSize
from visualbase.sources.file import FALLBACK_INTERVAL
from visualpath_protocol.clock import NS_PER_S

_OPTIONS = {"crf": "18", "preset": "veryfast", "bf": "0"}
"""CRF 18 looks as the source does. Without B-frames the picture written last is shown last, and lasts as told."""
_FULL_RANGE = ColorRange.JPEG.value
_MAX_TICKS_PER_S = 1_000_000


class H264Encoder:
    """Encodes the pictures of one clip at the times they are given.

    The picture keeps its size, colours and rotation (told to the player, as the source told it). 10 bits and 4:2:2
    or 4:4:4 become 8 bits of 4:2:0, save that a picture with an odd side stays 4:4:4, as 4:2:0 cannot hold it.

    Args:
        clip: gets the packets; a stream is added to it.
        first: the first picture, for the setup.
        source: stream that the pictures come from.
    """

    def __init__(self, clip: ClipFile, first: VideoFrame, source: VideoStream) -> None:
        self._clip = clip
        self._reformatter = VideoReformatter()
        self._size = (first.width, first.height)
        self._is_rgb = first.format.is_rgb
        is_full = first.format.name.startswith("yuvj") or (first.color_range == _FULL_RANGE and not self._is_rgb)
        sampling = "444p" if first.width % 2 or first.height % 2 else "420p"
        self._format = ("yuvj" if first.format.name.startswith("yuvj") else "yuv") + sampling
        self._time_base = source.time_base or FALLBACK_INTERVAL
        if self._time_base < Fraction(1, _MAX_TICKS_PER_S):
            self._time_base = Fraction(1, _MAX_TICKS_PER_S)
        begin = first.pts * source.time_base if first.pts is not None and source.time_base else Fraction(0)
        rate = source.average_rate or 1 / FALLBACK_INTERVAL
        self._stream = clip.encode_pictures(rate, begin, _OPTIONS)
        self._stream.width, self._stream.height = self._size
        self._stream.pix_fmt = self._format
        codec = self._stream.codec_context
        codec.time_base = self._time_base
        codec.flags |= Flags.frame_duration  # otherwise the last picture lasts as long as one does on average
        codec.color_range = _FULL_RANGE if is_full else ColorRange.MPEG.value
        codec.colorspace = Colorspace.SMPTE170M.value if self._is_rgb else first.colorspace
        codec.color_primaries, codec.color_trc = first.color_primaries, first.color_trc
        if source.sample_aspect_ratio:
            codec.sample_aspect_ratio = source.sample_aspect_ratio
        self._stream.set_display_rotation(first.rotation)

    def add(self, frame: VideoFrame, from_ns: int, until_ns: int) -> None:
        """The next picture, shown from and until these ns of the clip.

        Raises:
            OtherSize: its size is not the first one's.
            MuxError: it cannot be encoded, or a failing disk.
        """
        if (frame.width, frame.height) != self._size:
            raise OtherSize(
                f"{self._clip.source}: the pictures change their size from {_by(self._size)} to "
                f"{_by((frame.width, frame.height))}: ask for a span on one side of that"
            )
        try:
            encoded = self._stream.encode(self._converted(frame, from_ns, until_ns))
        except FFmpegError as error:
            raise MuxError(f"{self._clip.source}: a picture cannot be encoded: {error.strerror}") from error
        for packet in encoded:
            self._clip.add_encoded(packet)

    def finish(self) -> None:
        """No further picture will come.

        Raises:
            MuxError: a failing disk.
        """
        for packet in self._stream.encode(None):
            self._clip.add_encoded(packet)

    def _converted(self, frame: VideoFrame, from_ns: int, until_ns: int) -> VideoFrame:
        if frame.format.name != self._format:
            colours = (
                {"dst_colorspace": Colorspace.SMPTE170M, "dst_color_range": ColorRange.MPEG} if self._is_rgb else {}
            )
            frame = self._reformatter.reformat(frame, format=self._format, **colours)
        frame.pict_type = 0  # the encoder decides, not the source
        frame.time_base = self._time_base
        frame.pts = self._ticks(from_ns)
        frame.duration = self._ticks(until_ns) - frame.pts
        return frame

    def _ticks(self, ns: int) -> int:
        return round(Fraction(ns, NS_PER_S) / self._time_base)


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"

"""A video file as a source: FFmpeg's demuxers and decoders by way of PyAV."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from typing import TypeAlias

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from visualbase import jpeg
from visualbase.errors import DamagedJpeg, SourceError
from visualbase.sources.base import Picture, Source, SourceInfo
from visualbase.sources.encoder import FrameEncoder, quarter_turns
from visualpath_protocol.clock import NS_PER_S

FALLBACK_INTERVAL = Fraction(1, 25)
"""Seconds from picture to picture where the file names no rate."""

SET_BACK = 1
"""A file's clock that falls by so many seconds was set back; by less, its pictures are out of order."""

_TEXT_AS_VIDEO = "tty"
"""FFmpeg's demuxer that plays a text file as terminal output."""

Shown: TypeAlias = "VideoFrame | Packet[VideoStream]"


class FileSource(Source):
    """The first video stream of a file; cover art does not count as one.

    `t_ns` is the presentation time of the picture on the file's raw time line; the duration that
    the container claims is never used. A file that is damaged is read as far as it goes.

    Pictures stand upright, whatever the file says by way of a rotation; pixels that are not square and interlaced
    fields stay as they are. Motion JPEG is not encoded anew.

    Where the file's clock is set back, as in files that were joined, `t_ns` falls with it (`TimeLine.place_or_anew`).

    `dropped` counts `damaged` (packets that the decoder refused), `not_rising` (pictures whose time
    is not above the one before) and `cut_short` (readings that ended in an error, not at the end).

    Args:
        path: of the file.
        loop: begin again at the end; times go on as if the file were that much longer.
        jpeg_quality: 1 to 100.

    Raises:
        SourceError: no file, or nothing in it that can be shown.
    """

    live = False

    def __init__(self, path: str, *, loop: bool = False, jpeg_quality: int = 85) -> None:
        self.dropped = {"damaged": 0, "not_rising": 0, "cut_short": 0}
        self._path = path
        self._loop = loop
        self._encoder = FrameEncoder(path, jpeg_quality)
        self._reading = _Reading(path, self.dropped)
        rate = self._reading.stream.average_rate
        self._line = TimeLine(1 / rate if rate else FALLBACK_INTERVAL)
        width, height = self._reading.size
        origin_ns = min(0, ns(self._reading.time_of(self._reading.first) or Fraction(0)))
        self.info = SourceInfo(width, height, fps=float(rate or 0), origin_ns=origin_ns)

    def pictures(self) -> Iterator[Picture]:
        """All pictures in order of presentation; with `loop`, without end."""
        while True:
            for shown in self._reading.all_shown():
                t_ns = self._line.place_or_anew(self._reading.time_of(shown))
                if t_ns is None:
                    self.dropped["not_rising"] += 1
                else:
                    data = self._encoder.encode(shown) if isinstance(shown, VideoFrame) else bytes(shown)
                    yield Picture(t_ns, data, *jpeg.size(data))
            if not self._loop:
                return
            self._reading.close()
            self._reading = _Reading(self._path, self.dropped)
            self._line.begin_again()

    def close(self) -> None:
        """Close the file."""
        self._reading.close()


class TimeLine:
    """Presentation times as they stand in a file to strictly rising `t_ns`.

    Args:
        interval: nominal seconds from picture to picture, for pictures that carry no time.
    """

    def __init__(self, interval: Fraction) -> None:
        self._nominal = interval
        self._step = interval
        self._last: Fraction | None = None  # in the file's time
        self._shift = Fraction(0)
        self._next_pass: Fraction | None = None  # where the next pass begins, on our time line
        self._last_t_ns = -1
        self._refused: Fraction | None = None  # the time of the picture before, if that had no place

    def place(self, time: Fraction | None) -> int | None:
        """`t_ns` of the next picture; None if its time is not above that of the one before.

        Args:
            time: seconds in the file; None if the picture carries none.
        """
        if time is None:
            time = Fraction(0) if self._last is None else self._last + self._nominal
        if self._next_pass is not None:
            self._shift, self._next_pass = self._next_pass - time, None
        elif self._last is None:
            self._shift = Fraction(max(0, -ns(time)), NS_PER_S)
        t_ns = ns(time + self._shift)
        if t_ns <= self._last_t_ns:
            return None
        if self._last is not None:
            self._step = time - self._last
        self._last, self._last_t_ns, self._refused = time, t_ns, None
        return t_ns

    def place_or_anew(self, time: Fraction | None) -> int | None:
        """As `place`, but where the file's clock is set back for good, another time line begins: `t_ns` falls.

        That is so when two pictures in a row agree on it; the first of them, and any other that is alone with its
        time, has no place.
        """
        before = self._refused
        t_ns = self.place(time)
        if t_ns is not None or time is None or self._last is None:
            return t_ns
        self._refused = time
        if self._last - time < SET_BACK or before is None or not before < time <= before + SET_BACK:
            return None
        self._shift = max(self._shift, -time)
        self._last, self._last_t_ns, self._refused = time, ns(time + self._shift), None
        return self._last_t_ns

    def begin_again(self) -> None:
        """The next picture is the file's first again: it follows the last after the last interval."""
        assert self._last is not None, "a pass has at least one picture"
        self._next_pass = self._last + self._shift + self._step
        self._last = None


class _Reading:
    """One pass over the file, with its first picture already decoded: only that proves that there is one."""

    def __init__(self, path: str, dropped: dict[str, int]) -> None:
        self._dropped = dropped
        self._container = open_file(path)
        try:
            self.stream = first_video(self._container, path)
            self._decoding = Decoding(self.stream, dropped)
            self._rest = self._read_all()
            first = next(self._rest, None)
            if first is None:
                raise SourceError(path, "not one picture can be decoded", "the file is damaged; try another copy")
            self.first: Shown = first
        except BaseException:
            self._container.close()
            raise

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the first picture, upright."""
        if isinstance(self.first, VideoFrame):
            sides = (self.first.width, self.first.height)
            return sides if quarter_turns(self.first) % 2 == 0 else sides[::-1]
        return jpeg.size(bytes(self.first))

    def all_shown(self) -> Iterator[Shown]:
        return chain([self.first], self._rest)

    def time_of(self, shown: Shown) -> Fraction | None:
        """Seconds in the file."""
        time_base = self.stream.time_base
        return None if shown.pts is None or time_base is None else shown.pts * time_base

    def close(self) -> None:
        self._rest.close()
        self._container.close()

    def _read_all(self) -> Generator[Shown, None, None]:
        try:
            for packet in self._container.demux(self.stream):
                yield from self._decoding.shown_by(packet)
        except FFmpegError:
            self._dropped["cut_short"] += 1
            yield from self._decoding.shown_by(None)  # what the decoder still holds


class Decoding:
    """A stream's packets to what is shown: a decoded picture, or the packet where that is a JPEG to be handed on.

    Args:
        dropped: where packets that the decoder refused are counted, as `damaged`.
    """

    def __init__(self, stream: VideoStream, dropped: dict[str, int]) -> None:
        stream.thread_type = "SLICE"  # threads by frame hold pictures back, and lose those that follow damage
        self._codec = stream.codec_context
        self._dropped = dropped
        self._hands_on: bool | None = None if self._codec.name == "mjpeg" else False

    def shown_by(self, packet: Packet[VideoStream] | None) -> Sequence[Shown]:
        """What the packet completes; None gives what the decoder still holds."""
        try:
            if self._hands_on and packet is not None and packet.size and jpeg.whole_size(bytes(packet)):
                return [packet]
            frames = self._codec.decode(packet)
            if self._hands_on is None and frames and packet is not None:
                self._hands_on = _is_that_picture(bytes(packet), frames[0])
                return [packet] if self._hands_on else frames
        except (FFmpegError, DamagedJpeg):
            self._dropped["damaged"] += 1
            return []
        return frames


def _is_that_picture(data: bytes, frame: VideoFrame) -> bool:
    """Whether a JPEG shows what FFmpeg makes of it: not one field of two, nor a picture that lies on its side."""
    return jpeg.whole_size(data) == (frame.width, frame.height) and quarter_turns(frame) == 0


def open_file(path: str) -> InputContainer:
    """Open a file for reading, and nothing but that file.

    Raises:
        SourceError: it cannot be read, or holds no media.
    """
    try:
        # "file:" and the list: neither a name with a colon nor a playlist may reach for the network.
        return av.open(f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace")
    except FileNotFoundError as error:
        raise SourceError(path, "no such file", "check the path") from error
    except IsADirectoryError as error:
        raise SourceError(path, "this is a directory", "give one file in it") from error
    except PermissionError as error:
        raise SourceError(path, f"{error.strerror}".lower(), "let this user read the file") from error
    except FFmpegError as error:
        reason = "the file is empty" if _is_empty(path) else f"no video file that FFmpeg can read ({error.strerror})"
        raise SourceError(path, reason, "give a file that ffprobe can read") from error


def _is_empty(path: str) -> bool:
    return os.path.exists(path) and os.path.getsize(path) == 0


def first_video(container: InputContainer, path: str) -> VideoStream:
    """The video stream that counts: the first that is no cover art.

    Raises:
        SourceError: there is none.
    """
    if container.format.name != _TEXT_AS_VIDEO:
        for stream in container.streams.video:
            if stream.disposition & Disposition.attached_pic:
                continue
            if stream.codec_context is None:
                raise SourceError(path, "FFmpeg does not know its video codec", "convert it to H.264")
            return stream
    kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
    what = "text" if container.format.name == _TEXT_AS_VIDEO else kinds
    raise SourceError(path, f"no video in it, only {what}", "give a file with a video stream")


def ns(seconds: Fraction) -> int:
    """The nearest nanosecond."""
    return round(seconds * NS_PER_S)

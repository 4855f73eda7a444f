"""A file's packets from a keyframe on, with their event times."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from visualbase.cut.output import MediaPacket
from visualbase.errors import SourceError
from visualbase.sources.file import FALLBACK_INTERVAL, first_video, ns, open_file
from visualpath_protocol.clock import NS_PER_S

_MAX_UNTOLD = 17
"""Pictures that are waited for until one has a decoding time: one more than a decoder may hold back."""


@dataclass(frozen=True)
class Span:
    """Event time from `from_ns` to `to_ns`."""

    from_ns: int
    to_ns: int

    def __str__(self) -> str:
        return f"{self.from_ns / NS_PER_S:.3f} to {self.to_ns / NS_PER_S:.3f} s"


@dataclass(frozen=True)
class Cut:
    """What has been written: from its first picture until its last ends, how many, and packets of sound beside them."""

    delivered: Span
    frames: int
    sounds: int


@dataclass(frozen=True)
class Entry:
    """Where to begin reading: at the keyframe of `key_ns`, which a seek to `near_ns` leads to; None: the beginning."""

    key_ns: int | None = None
    near_ns: int | None = None


class CutReader:
    """Reads pictures and sound of one file once; `t_ns` is that of `FileSource`.

    Args:
        path: of the file.
        origin_ns: of the file, see `SourceInfo`.
        entry: where to begin.
        with_sound: False leaves the sound out.

    Raises:
        SourceError: no file, or nothing in it that can be shown.
    """

    def __init__(self, path: str, origin_ns: int, entry: Entry, *, with_sound: bool = False) -> None:
        self.path = path
        self._origin_ns = origin_ns
        self._key_ns = entry.key_ns
        self.begins_at_a_key = entry.key_ns is not None
        self._container = open_file(path)
        try:
            self.video: VideoStream = first_video(self._container, path)
            self.video.thread_type = "SLICE"  # as FileSource does, for the same pictures after damage
            self.audio: list[AudioStream] = [s for s in self._container.streams.audio if s.codec_context and with_sound]
            self.interval = 1 / self.video.average_rate if self.video.average_rate else FALLBACK_INTERVAL
            if entry.near_ns is not None and self.video.time_base is not None:
                ticks = Fraction(entry.near_ns + origin_ns, NS_PER_S) / self.video.time_base
                with suppress(FFmpegError, OverflowError):  # not in this format, or not so far: from the beginning
                    self._container.seek(int(ticks), stream=self.video)
        except BaseException:
            self._container.close()
            raise

    def packets(self) -> Iterator[MediaPacket]:
        """From the entry on, and the sound beside it. Where FFmpeg cannot read on, the file ends.

        Pictures are decoded at known times, if at any: Matroska tells none for the first, which are counted back.
        """
        untold: list[MediaPacket] = []
        for packet in self._read():
            if packet.stream is not self.video:
                yield packet
                continue
            untold.append(packet)
            if packet.dts is not None or len(untold) > _MAX_UNTOLD:
                self._count_back(untold)
                yield from untold
                untold.clear()
        yield from untold

    def _count_back(self, packets: list[MediaPacket]) -> None:
        """Give each of them a decoding time that has none, if the last one has."""
        dts = packets[-1].dts
        if dts is None or self.video.time_base is None:
            return
        step = max(1, round(self.interval / self.video.time_base))
        for n, packet in enumerate(reversed(packets)):
            packet.dts = dts - n * step

    def _read(self) -> Iterator[MediaPacket]:
        waiting = self._key_ns is not None
        with suppress(FFmpegError):
            for packet in self._container.demux(self.video, *self.audio):
                if waiting and packet.stream is self.video:
                    waiting = not (packet.is_keyframe and self.t_ns_of(packet) == self._key_ns)
                if packet.size and not (waiting and packet.stream is self.video):
                    yield packet

    def decode(self, packet: MediaPacket | None) -> list[VideoFrame]:
        """The pictures that a packet completes, none if it is damaged; None gives those that are left."""
        try:
            return self.video.codec_context.decode(packet)
        except FFmpegError:
            return []

    def time_of(self, shown: MediaPacket | VideoFrame) -> Fraction | None:
        """Event time in seconds; None if the file tells none."""
        time_base = self._time_base(shown)
        return None if shown.pts is None else shown.pts * time_base - Fraction(self._origin_ns, NS_PER_S)

    def t_ns_of(self, shown: MediaPacket | VideoFrame) -> int | None:
        """Event time in ns; None if the file tells none."""
        time = self.time_of(shown)
        return None if time is None else ns(time)

    def length_of(self, shown: MediaPacket | VideoFrame) -> Fraction | None:
        """Seconds for which it is shown, by the file; None if that tells nothing."""
        return shown.duration * self._time_base(shown) if shown.duration else None

    def coded_ns(self, packet: MediaPacket) -> int | None:
        """Event time at which it is decoded: whatever follows is shown no earlier. None if the file tells none."""
        if packet.dts is None:
            return None
        return ns(packet.dts * self._time_base(packet) - Fraction(self._origin_ns, NS_PER_S))

    def _time_base(self, shown: MediaPacket | VideoFrame) -> Fraction:
        """The stream's: the last pictures out of a decoder come without."""
        stream = self.video if isinstance(shown, VideoFrame) else shown.stream
        assert stream.time_base is not None
        return stream.time_base

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __enter__(self) -> CutReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def outside(path: str, asked: Span, edge: str) -> SourceError:
    """The error for a span of which the file has nothing; `edge` says where the file begins or ends."""
    return SourceError(path, f"nothing of {asked} is in it, {edge}", "ask for a span that its pictures meet")


def find_entry(path: str, origin_ns: int, t_ns: int) -> Entry:
    """The last keyframe at or before an instant; the beginning if there is none, or the file tells no times."""
    for near_ns in (t_ns, None):  # a seek may land too late: then from the beginning
        with CutReader(path, origin_ns, Entry(near_ns=near_ns)) as reader:
            key_ns = _last_key(reader, t_ns)
        if key_ns is not None:
            return Entry(key_ns, near_ns)
    return Entry()


def _last_key(reader: CutReader, t_ns: int) -> int | None:
    key_ns = None
    for packet in reader.packets():
        at_ns, coded_ns = reader.t_ns_of(packet), reader.coded_ns(packet)
        if packet.is_keyframe and at_ns is not None:
            if at_ns > t_ns:
                break
            key_ns = at_ns
        if coded_ns is not None and coded_ns > t_ns:
            break
    return key_ns

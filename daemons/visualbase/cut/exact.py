"""A span of a file to the frame: decoded, and encoded anew as H.264."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from av.video.frame import VideoFrame

from visualbase.cut.encoding import H264Encoder
from visualbase.cut.output import ClipFile, MediaPacket
from visualbase.cut.reading import Cut, CutReader, Span, outside
from visualbase.cut.sound import Sound
from visualbase.errors import SourceError
from visualbase.sources.file import TimeLine, ns
from visualpath_protocol.clock import NS_PER_S


def encode_span(reader: CutReader, asked: Span, target: Path) -> Cut | None:
    """Write the pictures whose interval [t_i, t_{i+1}) meets the span, each at its time.

    Returns:
        None if the first picture that can be decoded from the reader's entry on comes after the start.

    Raises:
        SourceError: the file holds nothing of the span.
        MuxError: a failing disk.
        OtherSize: the pictures change their size within the span.
        SoundRefused: the sound does not go into an MP4.
    """
    with ClipFile(target, reader.path) as clip:
        return _Exact(reader, asked, clip).run()


@dataclass
class _Held:
    """A picture that waits for its end to be known."""

    frame: VideoFrame
    t_ns: int


class _Exact:
    def __init__(self, reader: CutReader, asked: Span, clip: ClipFile) -> None:
        self._reader = reader
        self._asked = asked
        self._clip = clip
        self._sound = Sound(reader, clip, asked)
        self._encoder: H264Encoder | None = None
        self._delivered = asked
        self._frames = 0

    def run(self) -> Cut | None:
        rest = self._reader.packets()
        line = TimeLine(self._reader.interval)
        before: _Held | None = None
        step_ns = ns(self._reader.interval)
        for frame in self._decoded(rest):
            t_ns = line.place(self._reader.time_of(frame))
            if t_ns is None:
                continue
            if before is None and t_ns > self._asked.from_ns and self._reader.begins_at_a_key:
                return None
            if before is not None:
                step_ns = t_ns - before.t_ns
                self._show(before, t_ns)
            before = _Held(frame, t_ns)
            if t_ns > self._asked.to_ns:
                break
        else:
            if before is not None:
                self._show(before, self._end_of(before) or before.t_ns + step_ns)
        if self._encoder is None:
            raise self._outside(before)
        self._encoder.finish()
        self._sound.finish(self._delivered.to_ns, rest)
        self._clip.finish()
        return Cut(self._delivered, self._frames, self._sound.written)

    def _decoded(self, packets: Iterator[MediaPacket]) -> Iterator[VideoFrame]:
        for packet in packets:
            if packet.stream is self._reader.video:
                yield from self._reader.decode(packet)
            else:
                self._sound.feed(packet)
        yield from self._reader.decode(None)

    def _end_of(self, picture: _Held) -> int | None:
        """When it ends by the file, which knows of no picture after it; None if the file tells nothing."""
        time, length = self._reader.time_of(picture.frame), self._reader.length_of(picture.frame)
        return None if time is None or length is None else ns(time + length)

    def _show(self, picture: _Held, until_ns: int) -> None:
        """The picture is shown until then."""
        if self._encoder is None:
            self._sound.not_before(picture.t_ns)
            if until_ns <= self._asked.from_ns or picture.t_ns > self._asked.to_ns:
                return
            self._encoder = H264Encoder(self._clip, picture.frame, self._reader.video)
            for template in self._reader.audio:
                self._clip.copy_sound(template)
            self._clip.start()
            self._sound.begin(picture.t_ns)
            self._delivered = Span(picture.t_ns, until_ns)
        self._delivered = Span(self._delivered.from_ns, until_ns)
        self._encoder.add(picture.frame, picture.t_ns - self._delivered.from_ns, until_ns - self._delivered.from_ns)
        self._frames += 1

    def _outside(self, last: _Held | None) -> SourceError:
        if last is None:
            return SourceError(self._reader.path, "no picture can be decoded", "the file is damaged; try another copy")
        if last.t_ns > self._asked.to_ns:
            return outside(self._reader.path, self._asked, f"it begins at {last.t_ns / NS_PER_S:.3f} s")
        return outside(self._reader.path, self._asked, f"its last picture comes at {last.t_ns / NS_PER_S:.3f} s")

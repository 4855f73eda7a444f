"""A span of a file without encoding: from the keyframe at or before its start, sound and all."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from av.stream import Stream

from visualbase.cut.output import ClipFile, MediaPacket
from visualbase.cut.reading import Cut, CutReader, Span, outside
from visualbase.cut.sound import Sound
from visualbase.errors import SourceError
from visualbase.sources.file import ns
from visualpath_protocol.clock import NS_PER_S


def copy_span(reader: CutReader, asked: Span, target: Path) -> Cut:
    """Write the pictures from the reader's entry to the end of the span, and what they need to be shown.

    Raises:
        SourceError: the file carries no times, or nothing of the span.
        MuxError: the file's codec does not go into an MP4, or a failing disk.
        SoundRefused: only its pictures do.
    """
    with ClipFile(target, reader.path) as clip:
        return _Copy(reader, asked, clip).run()


class _Copy:
    def __init__(self, reader: CutReader, asked: Span, clip: ClipFile) -> None:
        self._reader = reader
        self._asked = asked
        self._clip = clip
        self._sound = Sound(reader, clip, asked)
        self._stream: Stream | None = None
        self._from_ns = 0
        self._last_ns = 0  # shown latest of those written
        self._last_end_ns = 0
        self._unsent: list[MediaPacket] = []  # that one and those decoded after it
        self._tail: list[MediaPacket] = []  # shown after the span, and nothing in it may depend on them
        self._frames = 0
        self._delay = 0  # ticks from the decoding of the first picture to its showing

    def run(self) -> Cut:
        rest = self._reader.packets()
        for packet in rest:
            if packet.stream is not self._reader.video:
                self._sound.feed(packet)
            elif not self._feed(packet):
                break
        if self._stream is None:
            raise SourceError(self._reader.path, "no keyframe in it", 'use mode="exact"')
        until_ns = min([self._t_ns(packet) for packet in self._tail], default=self._last_end_ns)
        if until_ns <= self._asked.from_ns:
            raise outside(self._reader.path, self._asked, f"it ends at {until_ns / NS_PER_S:.3f} s")
        self._lengthen(until_ns)
        self._send()
        self._sound.finish(until_ns, rest)
        self._clip.finish()
        return Cut(Span(self._from_ns, until_ns), self._frames, self._sound.written)

    def _feed(self, packet: MediaPacket) -> bool:
        """The next packet of pictures; False when no more are wanted."""
        t_ns = self._t_ns(packet)
        if self._stream is None:
            if packet.is_keyframe:
                self._begin(packet, t_ns)
            return True
        if t_ns < self._from_ns:
            return True  # refers to pictures before the keyframe (open GOP), and is shown before it
        if t_ns <= max(self._last_ns, self._asked.to_ns):
            for each in (*self._tail, packet):
                self._write(each)
            self._tail.clear()
            return True
        coded_ns = self._reader.coded_ns(packet)
        self._tail.append(packet)
        return coded_ns is None or coded_ns <= max(self._last_ns, self._asked.to_ns)

    def _begin(self, packet: MediaPacket, t_ns: int) -> None:
        if t_ns > self._asked.to_ns:
            raise outside(self._reader.path, self._asked, f"it begins at {t_ns / NS_PER_S:.3f} s")
        assert packet.pts is not None
        assert packet.time_base is not None
        self._stream = self._clip.copy_pictures(self._reader.video, packet.pts * packet.time_base)
        for template in self._reader.audio:
            self._clip.copy_sound(template)
        self._clip.start()
        self._from_ns = self._last_ns = t_ns
        self._delay = packet.pts - packet.dts if packet.dts is not None else 0
        self._sound.not_before(t_ns)
        self._sound.begin(t_ns)
        self._write(packet)

    def _write(self, packet: MediaPacket) -> None:
        t_ns = self._t_ns(packet)
        if t_ns >= self._last_ns:
            self._send()
            length = self._reader.length_of(packet) or self._reader.interval
            self._last_ns, self._last_end_ns = t_ns, ns((self._reader.time_of(packet) or 0) + length)
        self._unsent.append(packet)
        self._frames += 1

    def _send(self) -> None:
        assert self._stream is not None
        for packet in self._unsent:
            self._clip.add(packet, self._stream)
        self._unsent.clear()

    def _lengthen(self, until_ns: int) -> None:
        """Show the last picture until then.

        An MP4 ends where its packets end by the order of decoding, but not after the latest that a picture is shown.
        """
        shown, decoded = self._unsent[0], self._unsent[-1]
        shown.duration = self._ticks(until_ns - self._last_ns)
        if shown.pts is not None and decoded.dts is not None:
            missing = shown.pts + shown.duration - decoded.dts - self._delay
            decoded.duration = max(1, missing, shown.duration if decoded is shown else 0)

    def _ticks(self, length_ns: int) -> int:
        assert self._reader.video.time_base is not None
        return round(Fraction(length_ns, NS_PER_S) / self._reader.video.time_base)

    def _t_ns(self, packet: MediaPacket) -> int:
        t_ns = self._reader.t_ns_of(packet)
        if t_ns is None:
            raise SourceError(self._reader.path, "the file carries no times", 'use mode="exact", which counts frames')
        return t_ns

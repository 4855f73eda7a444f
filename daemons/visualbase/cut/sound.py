"""The sound of a cut: the packets that begin within it, as they are."""

from __future__ import annotations

from collections.abc import Iterator

from visualbase.cut.output import ClipFile, MediaPacket
from visualbase.cut.reading import CutReader, Span
from visualpath_protocol.clock import NS_PER_S

LAG_NS = 2 * NS_PER_S
"""How far behind the pictures a container may put the sound that belongs to them."""


class Sound:
    """Sorts out the packets of sound while the pictures are being cut; what its place is not known of yet is held.

    Args:
        asked: what lies within it is wanted in any case.

    Attributes:
        written: packets that are in the clip.
    """

    def __init__(self, reader: CutReader, clip: ClipFile, asked: Span) -> None:
        self._reader = reader
        self._clip = clip
        self._asked = asked
        self.written = 0
        self._from_ns: int | None = None
        self._held: list[tuple[int, MediaPacket]] = []

    def feed(self, packet: MediaPacket) -> None:
        """The next packet of any stream of sound."""
        t_ns = self._reader.t_ns_of(packet)
        if t_ns is not None:
            self._held.append((t_ns, packet))
        if self._from_ns is not None:
            self._write(self._asked.to_ns)

    def not_before(self, t_ns: int) -> None:
        """The clip begins no earlier."""
        self._held = [held for held in self._held if held[0] >= t_ns]

    def begin(self, from_ns: int) -> None:
        """The clip's first picture is that of `from_ns`."""
        self._from_ns = from_ns

    def finish(self, until_ns: int, rest: Iterator[MediaPacket]) -> None:
        """The last picture is shown until then; `rest` is what follows it in the file."""
        if self._reader.audio and (not self._held or self._held[-1][0] < until_ns):
            for packet in rest:
                t_ns = self._reader.t_ns_of(packet) or 0
                if packet.stream is self._reader.video:
                    if t_ns > until_ns + LAG_NS:
                        break
                    continue
                self._held.append((t_ns, packet))
                if t_ns >= until_ns:
                    break
        self._write(until_ns)

    def _write(self, until_ns: int) -> None:
        assert self._from_ns is not None
        for t_ns, packet in self._held:
            if self._from_ns <= t_ns < until_ns:
                self._clip.add_sound(packet)
                self.written += 1
        self._held = [held for held in self._held if held[0] >= until_ns]

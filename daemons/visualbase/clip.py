"""Which frames a clip holds, and what is absent: pure bookkeeping on event time.

Frame i is shown during [t_i, t_{i+1}). A clip of [start, end] holds exactly the frames whose interval
meets the span. What is absent is a gap with a reason; delivered and gaps together cover the span.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from visualpath_protocol.messages import FrameHeader

GapReason = Literal["before_start", "after_end", "not_received", "evicted", "epoch_change", "size_change"]


@dataclass(frozen=True)
class Gap:
    """Event time [from_ns, to_ns) that the clip lacks."""

    from_ns: int
    to_ns: int
    reason: GapReason


@dataclass(frozen=True)
class Shown:
    """A frame of the clip, and the event time at which the next one takes its place."""

    header: FrameHeader
    until_ns: int


class ClipTimeline:
    """Takes the frames of one epoch in order and tells which belong to the clip.

    A frame is decided when its successor is known, so `feed` answers for the frame before.

    Args:
        start_ns: first instant asked for; may lie before the stream's start.
        end_ns: last instant asked for.
        frame_ns: nominal frame interval; stands for a successor that never comes.
    """

    def __init__(self, start_ns: int, end_ns: int, frame_ns: int) -> None:
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.closed = False
        self.gaps: list[Gap] = []
        self.first_ns: int | None = None
        self.until_ns: int | None = None
        self.frames = 0
        self._frame_ns = frame_ns
        self._undecided: FrameHeader | None = None
        self._covered_ns = start_ns

    def feed(self, header: FrameHeader, absent: GapReason = "not_received") -> Shown | None:
        """The next frame; returns the one before it if that belongs to the clip. Closes at the first past the end.

        Frames between the two, by their numbers, are `absent`.
        """
        before, self._undecided = self._undecided, header
        shown = None
        if before is None:
            self._open(header)
        else:
            shown = self._decide(before, header, absent)
        if header.t_ns > self.end_ns:
            self.closed = True
        return shown

    def finish(self, reason: GapReason) -> Shown | None:
        """No further frame will come; returns the last one if it belongs to the clip."""
        shown = None
        if not self.closed:
            self.closed = True
            last = self._undecided
            if last is not None:
                shown = self._show(last, last.t_ns + self._frame_ns)
            self._lack(self.end_ns, reason)
        return shown

    def ask_until(self, end_ns: int) -> None:
        """More is wanted at the end. Only while it is not closed: what is past cannot be asked for."""
        assert not self.closed
        self.end_ns = max(self.end_ns, end_ns)

    def ask_from(self, start_ns: int) -> None:
        """More is wanted at the beginning, and cannot be had: it is lacking for the reason that what follows is."""
        if start_ns >= self.start_ns:
            return
        first = self.gaps[0] if self.gaps and self.gaps[0].from_ns == self.start_ns else None
        shown_ns = self.start_ns if first or self.first_ns is None else min(self.start_ns, self.first_ns)
        self.start_ns = start_ns
        if start_ns < shown_ns:
            self._note(Gap(start_ns, shown_ns, first.reason if first else "evicted"))

    def end_at(self, t_ns: int, reason: GapReason) -> None:
        """Nothing from `t_ns` on belongs to the clip, whatever was decided."""
        self.closed = True
        self.gaps = [Gap(gap.from_ns, min(gap.to_ns, t_ns), gap.reason) for gap in self.gaps if gap.from_ns < t_ns]
        from_ns = max(t_ns, self.start_ns)
        if from_ns < self.end_ns:
            self._note(Gap(from_ns, self.end_ns, reason))

    def taken(self, shown: Shown) -> None:
        """The frame's picture is in the clip."""
        if self.first_ns is None:
            self.first_ns = shown.header.t_ns
        self.until_ns = shown.until_ns
        self.frames += 1

    def lost(self, shown: Shown, reason: GapReason) -> None:
        """The frame's picture could not be had."""
        self._note(Gap(max(shown.header.t_ns, self.start_ns), min(shown.until_ns, self.end_ns), reason))

    @property
    def is_reached(self) -> bool:
        """Whether anything of the span has been decided."""
        return self._covered_ns > self.start_ns

    @property
    def delivered(self) -> tuple[int, int] | None:
        """First instant shown, and the one at which the last picture ends."""
        return None if self.first_ns is None or self.until_ns is None else (self.first_ns, self.until_ns)

    def _note(self, gap: Gap) -> None:
        """Add a gap in its place, joined with what it continues."""
        for other in [other for other in self.gaps if other.reason == gap.reason]:
            if gap.from_ns == other.to_ns or gap.to_ns == other.from_ns:
                self.gaps.remove(other)
                gap = Gap(min(gap.from_ns, other.from_ns), max(gap.to_ns, other.to_ns), gap.reason)
        self.gaps.append(gap)
        self.gaps.sort(key=lambda each: each.from_ns)

    def _open(self, first: FrameHeader) -> None:
        """What lies before the first frame known: not yet begun, or no longer in the ring."""
        if first.t_ns > self.start_ns:
            self._lack(min(first.t_ns, self.end_ns), "before_start" if first.frame_id == 0 else "evicted")

    def _decide(self, frame: FrameHeader, successor: FrameHeader, absent: GapReason) -> Shown | None:
        until_ns = successor.t_ns
        if successor.frame_id > frame.frame_id + 1:
            until_ns = min(until_ns, frame.t_ns + self._frame_ns)
        elif successor.t_ns > frame.t_ns:
            self._frame_ns = successor.t_ns - frame.t_ns
        shown = self._show(frame, until_ns)
        if until_ns < successor.t_ns:
            self._lack(min(successor.t_ns, self.end_ns), absent)
        return shown

    def _show(self, frame: FrameHeader, until_ns: int) -> Shown | None:
        if until_ns <= self.start_ns or frame.t_ns > self.end_ns:
            return None
        self._covered_ns = max(self._covered_ns, until_ns)
        return Shown(frame, until_ns)

    def _lack(self, to_ns: int, reason: GapReason) -> None:
        if to_ns > self._covered_ns:
            self.gaps.append(Gap(self._covered_ns, to_ns, reason))
            self._covered_ns = to_ns

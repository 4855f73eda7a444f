"""The frames of one stream that can still be read: what was announced, completed from the ring."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise

from visualbase.errors import Evicted
from visualbase.ring import RingReader
from visualpath_protocol.messages import FrameHeader

EPOCHS_KEPT = 4
"""A stream that begins anew again and again must not pile up."""


class FrameIndex:
    """Headers of one stream in order of (epoch, frame_id).

    Args:
        reader: of the stream's ring.
        length_ns: how much event time to keep per epoch; at least the ring's length.
    """

    def __init__(self, reader: RingReader, length_ns: int) -> None:
        self._reader = reader
        self._length_ns = length_ns
        self._headers: deque[FrameHeader] = deque()

    @property
    def last(self) -> FrameHeader | None:
        """The newest frame."""
        return self._headers[-1] if self._headers else None

    def add(self, header: FrameHeader) -> list[FrameHeader]:
        """Take an announced frame; returns what is new: the frame, after those that were not announced but written."""
        last = self.last
        if last is not None and _order(header) <= _order(last):
            return []
        fresh = [header]
        if last is None or header.epoch != last.epoch or header.frame_id != last.frame_id + 1:
            fresh = [*(h for h in self._unannounced() if _order(h) < _order(header)), header]
        for each in fresh:
            self._append(each)
        return fresh

    def catch_up(self) -> list[FrameHeader]:
        """Take what was written and not announced; returns it."""
        fresh = list(self._unannounced())
        for each in fresh:
            self._append(each)
        return fresh

    def frames_from(self, epoch: int, t_ns: int) -> list[FrameHeader]:
        """The frames of an epoch from the one that is shown at `t_ns` on."""
        frames = [header for header in self._headers if header.epoch == epoch]
        first = next((i for i, (_, after) in enumerate(pairwise(frames)) if after.t_ns > t_ns), max(len(frames) - 1, 0))
        return frames[first:]

    def bytes_of(self, epoch: int, span: tuple[int, int]) -> int | None:
        """How large the pictures of a span are that are known of; None if none of them can be read any more."""
        frames = [h for h in self.frames_from(epoch, span[0]) if h.t_ns <= span[1] and h.payloads]
        if not frames or not can_read(self._reader, frames[-1]):
            return None
        return sum(header.payloads[0].length for header in frames)

    def _unannounced(self) -> Iterator[FrameHeader]:
        """What lies in the ring behind the newest frame known."""
        last = self.last
        return (h for h in self._reader.scan(since=last) if last is None or _order(h) > _order(last))

    def _append(self, header: FrameHeader) -> None:
        if self._headers and header.epoch != self._headers[-1].epoch:
            kept = sorted({h.epoch for h in self._headers})[-EPOCHS_KEPT + 1 :]
            self._headers = deque(h for h in self._headers if h.epoch in kept)
        self._headers.append(header)
        oldest_ns = header.t_ns - self._length_ns
        while self._headers[0].epoch == header.epoch and self._headers[0].t_ns < oldest_ns:
            self._headers.popleft()
        if self._headers[0].epoch != header.epoch and header.t_ns - self._first_t_ns(header.epoch) > self._length_ns:
            self._headers = deque(h for h in self._headers if h.epoch == header.epoch)

    def _first_t_ns(self, epoch: int) -> int:
        return next(h.t_ns for h in self._headers if h.epoch == epoch)


def can_read(reader: RingReader, header: FrameHeader) -> bool:
    """Whether the ring still holds a frame's picture."""
    try:
        return bool(reader.read(header.payloads[0]))
    except (Evicted, IndexError):
        return False


def _order(header: FrameHeader) -> tuple[int, int]:
    return header.epoch, header.frame_id

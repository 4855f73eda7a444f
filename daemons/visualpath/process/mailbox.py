"""Between the thread that receives frames and the one that works: the newest frame of each stream.

Drop strategy `skip_oldest`: a frame that comes while the last one still waits takes its place.
"""

from __future__ import annotations

import threading

from visualpath_protocol.messages import FrameHeader


class Mailbox:
    """One slot per stream; `put` and `take` may be called from different threads."""

    def __init__(self) -> None:
        self._slots: dict[str, FrameHeader] = {}
        self._changed = threading.Condition()
        self._closed = False

    def put(self, header: FrameHeader) -> FrameHeader | None:
        """Offer a frame; returns the one it replaced, which will not be worked on."""
        with self._changed:
            replaced = self._slots.get(header.stream)
            self._slots[header.stream] = header  # a stream keeps its place in the row, or one would starve
            self._changed.notify()
            return replaced

    def take(self) -> FrameHeader | None:
        """The frame that has waited longest among the streams; blocks. None once closed."""
        with self._changed:
            while not self._slots and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            return self._slots.pop(next(iter(self._slots)))

    def close(self) -> None:
        """Let `take` return None from now on."""
        with self._changed:
            self._closed = True
            self._changed.notify()

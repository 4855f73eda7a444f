"""The alignment loop of the project's first documents, which the benches run beside the engine.

"Stream synchronization", its function `_process_aligned_observations`: OBS are kept by frame_id; the time is the newest
timestamp seen; a frame leaves, with what has come of it, when it is more than the window older than that.
"""

from __future__ import annotations

from typing import NamedTuple

WINDOW_NS = 100_000_000


class Emitted(NamedTuple):
    """One frame that left, with the sources whose OBS left with it, in the order in which they came."""

    frame_id: int
    t_ns: int
    sources: list[str]


class FixedWindowLoop:
    """Aligns by the newest timestamp alone; no clock moves it, and nothing leaves when no OBS comes.

    It remembers nothing of a frame that left: an OBS that comes later is a frame of its own, which leaves at once
    when it is old enough. Whoever counts takes the first `Emitted` of a frame_id as the frame, the others as late.
    """

    def __init__(self, window_ns: int = WINDOW_NS) -> None:
        self._window_ns = window_ns
        self._newest_ns = 0
        self._waiting: dict[int, tuple[int, list[str]]] = {}  # by frame_id: its t_ns and its sources

    def obs(self, source: str, frame_id: int, t_ns: int) -> list[Emitted]:
        """Take one OBS; returns the frames that leave, in the order in which they were first seen."""
        self._newest_ns = max(self._newest_ns, t_ns)
        self._waiting.setdefault(frame_id, (t_ns, []))[1].append(source)
        overdue = [key for key, (seen_ns, _) in self._waiting.items() if self._newest_ns - seen_ns > self._window_ns]
        return [Emitted(key, *self._waiting.pop(key)) for key in overdue]

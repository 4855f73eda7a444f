"""Whether a raised hand waves: it swings to and fro, over event time. Pure Python.

A swing ends where the hand has come back by `LEAST_SWING`: that is a change of direction. Noise comes back by less;
walking, and a hand that moves once, do not come back at all. The limits are reasoned, and tested on scripted wrists:
there is no wave among our pictures.
"""

from __future__ import annotations

from collections import deque

WINDOW_NS = 1_500_000_000  # changes of direction count for so long: people wave about one to three times a second
MAX_GAP_NS = 500_000_000  # a hand that was out of sight for longer begins anew
LEAST_SWING = 0.2  # in shoulder widths: about 8 cm; key points jitter by a fifth of that
FULL_SWING = 0.4  # a swing that is clear to everybody
LEAST_CHANGES = 2  # one is a hand that came and went
FULL_CHANGES = 4


class WaveDetector:
    """Follows one hand of one person."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self._last_ns: int | None = None
        self._changes: deque[tuple[int, float]] = deque()  # time, and size of the swing that ended there
        self._start = 0.0  # of the swing that goes on
        self._end = 0.0  # how far it has come
        self._end_ns = 0

    def update(self, t_ns: int, place: float | None) -> float:
        """Take one frame.

        Args:
            t_ns: its event time, above that of the frame before it.
            place: how far the wrist is beside the body, in shoulder widths, to either side; None: not raised, or not
                in sight.

        Returns:
            How clearly the hand waves, 0 to 1: the changes of direction within `WINDOW_NS` by `FULL_CHANGES`, times
            their mean swing by `FULL_SWING`, each up to 1. 0.5: two clear changes; fewer are no wave.
        """
        if self._last_ns is not None and t_ns - self._last_ns > MAX_GAP_NS:
            self.reset()
        if place is not None:
            self._follow(t_ns, place)
            self._last_ns = t_ns
        while self._changes and t_ns - self._changes[0][0] > WINDOW_NS:
            self._changes.popleft()
        if place is None or len(self._changes) < LEAST_CHANGES:
            return 0.0
        swing = sum(size for _, size in self._changes) / len(self._changes)
        return min(len(self._changes) / FULL_CHANGES, 1.0) * min(swing / FULL_SWING, 1.0)

    def _follow(self, t_ns: int, place: float) -> None:
        if self._last_ns is None:
            self._start = self._end = place
        elif (place - self._end) * (self._end - self._start) >= 0:  # onwards
            self._end, self._end_ns = place, t_ns
        elif abs(place - self._end) >= LEAST_SWING:  # back, and by enough
            if abs(self._end - self._start) >= LEAST_SWING:
                self._changes.append((self._end_ns, abs(self._end - self._start)))
            self._start, self._end, self._end_ns = self._end, place, t_ns

"""What has happened lately: how much each counter has grown in the last minutes. Pure."""

from __future__ import annotations

from collections import Counter, deque

from visualpath_protocol.clock import NS_PER_S

STEP_NS = 10 * NS_PER_S
SPAN_NS = 300 * NS_PER_S
"""Long enough for whoever asks once a minute, short enough that a trouble that is over is soon forgotten."""


class Lately:
    """Remembers the counters of the last `SPAN_NS`, one copy every `STEP_NS`.

    Args:
        counters: those of the daemon; they only rise.
    """

    def __init__(self, counters: Counter[str]) -> None:
        self._counters = counters
        self._copies: deque[dict[str, int]] = deque([{}], maxlen=SPAN_NS // STEP_NS + 1)

    def step(self, _now: int) -> None:
        """Take a copy; to be called every `STEP_NS`."""
        self._copies.append(dict(list(self._counters.items())))  # other threads may be counting

    def growth(self) -> dict[str, int]:
        """By counter that has grown in the last `SPAN_NS`, or since the start: how much."""
        before = self._copies[0]
        grown = ((name, count - before.get(name, 0)) for name, count in list(self._counters.items()))
        return {name: growth for name, growth in grown if growth > 0}

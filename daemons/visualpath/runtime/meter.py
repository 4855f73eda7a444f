"""How often something happens at present, and how long it takes."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from visualpath_protocol.clock import NS_PER_MS, NS_PER_S

WINDOW_NS = 5 * NS_PER_S
MAX_SAMPLES = 512


@dataclass(frozen=True)
class Measured:
    """What happened lately.

    Attributes:
        per_s: times per second.
        p50_ms, p95_ms: half, and 95 in 100, took at most so long; None if nothing happened.
    """

    per_s: float
    p50_ms: float | None
    p95_ms: float | None


class Meter:
    """Remembers what happened in the last `WINDOW_NS`, at most `MAX_SAMPLES` times.

    Pure and for one thread; `now_ns` is monotonic and does not run backwards.
    """

    def __init__(self) -> None:
        self._samples: deque[tuple[int, int]] = deque()
        self._since_ns: int | None = None
        """Everything after this instant is in `_samples`; the first time of all only begins the count."""

    def add(self, now_ns: int, duration_ns: int = 0) -> None:
        """It has happened once more, and took `duration_ns`."""
        if self._since_ns is None:
            self._since_ns = now_ns
        self._samples.append((now_ns, duration_ns))
        if len(self._samples) > MAX_SAMPLES:
            self._since_ns, _ = self._samples.popleft()

    def measured(self, now_ns: int) -> Measured:
        """What happened up to now; a silence lowers the rate at once."""
        self._forget(now_ns - WINDOW_NS)
        if self._since_ns is None or not self._samples:
            return Measured(0.0, None, None)
        counted = sum(at_ns > self._since_ns for at_ns, _ in self._samples)
        passed_ns = now_ns - self._since_ns
        durations = sorted(duration_ns for _, duration_ns in self._samples)
        return Measured(
            per_s=counted * NS_PER_S / passed_ns if passed_ns else 0.0,
            p50_ms=_percentile(durations, 50) / NS_PER_MS,
            p95_ms=_percentile(durations, 95) / NS_PER_MS,
        )

    def _forget(self, until_ns: int) -> None:
        if self._since_ns is not None:
            self._since_ns = max(self._since_ns, until_ns)
        while self._samples and self._samples[0][0] <= until_ns:
            self._samples.popleft()


def _percentile(ordered: list[int], percent: int) -> int:
    """By nearest rank: the smallest value that at least `percent` in 100 do not exceed."""
    return ordered[-(-len(ordered) * percent // 100) - 1]

"""How long things take, in buckets that add up over daemons and over time, for `vpctl metrics`."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from itertools import accumulate
from typing import Any

from visualpath_protocol.clock import NS_PER_MS, NS_PER_S

BOUNDS_NS = tuple(
    ms * NS_PER_MS
    for ms in (1, 2, 5, 10, 20, 30, 40, 50, 60, 75, 100, 125, 150, 200, 300, 500, 1000, 2000, 5000, 10_000, 30_000)
)
"""Upper bounds of the buckets: from 1 ms, a decoded picture, to 30 s, a clip with a long `post`.

Dense where the frame intervals and the default window of 100 ms lie, as a percentile is only as exact as its bucket.
"""

Labels = tuple[tuple[str, str], ...]


class Histogram:
    """Counts durations by bucket. Pure, and for one thread."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS_NS) + 1)
        self._sum_ns = 0

    def observe(self, duration_ns: int) -> None:
        """It has taken `duration_ns` once; a duration on a bound belongs below it."""
        self._counts[bisect_left(BOUNDS_NS, duration_ns)] += 1
        self._sum_ns += duration_ns

    def cumulative(self) -> list[int]:
        """How many took at most each bound; the last number is how many there were in all."""
        return list(accumulate(self._counts))

    @property
    def sum_s(self) -> float:
        """All durations together, in s."""
        return self._sum_ns / NS_PER_S


class Histograms:
    """The histograms of one daemon, by name and labels. For the thread of its loop.

    Args:
        counters: for what is dropped.
        max_series: how many different labels each name may have; what comes beyond is dropped and counted.
    """

    def __init__(self, counters: Counter[str], max_series: int) -> None:
        self._counters = counters
        self._max_series = max_series
        self._by_name: dict[str, dict[Labels, Histogram]] = {}

    def observe(self, name: str, duration_ns: int, /, **labels: str) -> None:
        """Put one duration into the histogram `name`; each caller of a name gives the same labels, in one order."""
        if duration_ns < 0:  # from another machine's clock; a sum that falls would look like a restart
            self._counters["dropped.histogram.negative"] += 1
            return
        series = self._by_name.setdefault(name, {})
        key = tuple(labels.items())
        histogram = series.get(key)
        if histogram is None:
            if len(series) >= self._max_series:
                self._counters["dropped.histogram.labels"] += 1
                return
            histogram = series[key] = Histogram()
        histogram.observe(duration_ns)

    def snapshot(self) -> dict[str, Any]:
        """All of them as builtins: `bounds_s`, and `series` with `name`, `labels`, `cumulative` and `sum_s` each."""
        return {
            "bounds_s": [bound_ns / NS_PER_S for bound_ns in BOUNDS_NS],
            "series": [
                {
                    "name": name,
                    "labels": dict(labels),
                    "cumulative": histogram.cumulative(),
                    "sum_s": histogram.sum_s,
                }
                for name, series in self._by_name.items()
                for labels, histogram in series.items()
            ],
        }

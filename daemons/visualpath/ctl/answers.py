"""What daemons have answered to `metrics` in the last seconds, and how fast their numbers grow. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from visualpath_protocol.clock import NS_PER_S

KEPT = 6
"""Asked once a second, they span 5 s."""

Answer = dict[str, Any]


class Answers:
    """Remembers the last answers of all daemons; rates are over the time that they span."""

    def __init__(self) -> None:
        self._kept: deque[Mapping[str, Answer | None]] = deque(maxlen=KEPT)

    def add(self, answers: Mapping[str, Answer | None]) -> None:
        """Take one answer of each daemon; None for one that does not answer."""
        self._kept.append(answers)

    @property
    def count(self) -> int:
        """How many are kept; rates need two."""
        return len(self._kept)

    def newest(self, daemon: str) -> Answer | None:
        """The daemon's last answer; None if it does not answer."""
        return self._kept[-1].get(daemon) if self._kept else None

    def per_s(self, daemon: str, number: Callable[[Answer], float]) -> float | None:
        """How much `number(answer)` grows in a second; None until there are two answers of the running process."""
        then, now = self._oldest(daemon), self.newest(daemon)
        if then is None or now is None or now["uptime_ns"] <= then["uptime_ns"]:
            return None
        passed_ns: int = now["uptime_ns"] - then["uptime_ns"]
        return (number(now) - number(then)) * NS_PER_S / passed_ns

    def counter(self, daemon: str, name: str) -> dict[str, float | None]:
        """A counter's `total`, and what it grows `per_s`."""
        now = self.newest(daemon)
        return {
            "total": now["counters"].get(name, 0) if now else 0,
            "per_s": self.per_s(daemon, lambda answer: float(answer["counters"].get(name, 0))),
        }

    def counters(self, daemon: str, beginnings: tuple[str, ...]) -> dict[str, dict[str, float | None]]:
        """The counters that begin so and have counted something, by name."""
        now = self.newest(daemon)
        names = sorted(name for name, n in now["counters"].items() if n and name.startswith(beginnings)) if now else []
        return {name: self.counter(daemon, name) for name in names}

    def percentiles_ms(self, daemon: str, histogram: str, labels: Mapping[str, str]) -> dict[str, float | None]:
        """`p50` and `p95` of what the histogram took up lately, as exact as its buckets."""
        then, now = self._oldest(daemon), self.newest(daemon)
        if then is None or now is None or then is now:
            return {"p50": None, "p95": None}
        bounds_s = now["histograms"]["bounds_s"]
        after = _cumulative(now, histogram, labels)
        before = _cumulative(then, histogram, labels) or [0] * len(after)
        lately = [b - a for a, b in zip(before, after, strict=True)]
        return {f"p{percent}": percentile_ms(bounds_s, lately, percent) for percent in (50, 95)}

    def _oldest(self, daemon: str) -> Answer | None:
        """The first answer of the process that answered last: in containers all have the same pid."""
        oldest = self.newest(daemon)
        for answers in reversed(self._kept):
            each = answers.get(daemon)
            if each and oldest:
                if each["pid"] != oldest["pid"] or each["uptime_ns"] > oldest["uptime_ns"]:
                    break
                oldest = each
        return oldest


def percentile_ms(bounds_s: list[float], cumulative: list[int], percent: int) -> float | None:
    """The value that `percent` in 100 do not exceed, evenly spread in its bucket; of the last bucket: its beginning.

    Args:
        bounds_s: upper bounds of all buckets but the last, which has none.
        cumulative: how many were at most each bound, and then how many there were.
    """
    if not cumulative or not cumulative[-1]:
        return None
    rank = cumulative[-1] * percent / 100
    index = next(i for i, count in enumerate(cumulative) if count >= rank)
    low_s = bounds_s[index - 1] if index else 0.0
    if index == len(bounds_s):
        return low_s * 1e3
    below = cumulative[index - 1] if index else 0
    share = (rank - below) / (cumulative[index] - below)
    return (low_s + (bounds_s[index] - low_s) * share) * 1e3


def _cumulative(answer: Answer, histogram: str, labels: Mapping[str, str]) -> list[int]:
    """The histogram's counts; empty if it has none yet."""
    for series in answer["histograms"]["series"]:
        if series["name"] == histogram and series["labels"] == labels:
            cumulative: list[int] = series["cumulative"]
            return cumulative
    return []

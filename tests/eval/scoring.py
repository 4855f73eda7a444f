"""What was seen beside what is there: counts over time, and which gesture hands show. Pure.

Frames nearer to the edge of an interval of the truth than its tolerance are not judged.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

Verdict = tuple[float, int, int]
"""Of one frame: its time in seconds, how many are there, how many were seen."""


@dataclass(frozen=True)
class Truth:
    """When how many are there.

    Attributes:
        intervals: start and end in seconds, end exclusive, and how many; where two overlap their numbers add.
        tolerance_s: how exact those times are.
        is_whole: nothing is there outside the intervals; else that is not known.
    """

    intervals: tuple[tuple[float, float, int], ...]
    tolerance_s: float
    is_whole: bool = True

    @classmethod
    def of_video(cls, truth: Mapping[str, Any], kind: str) -> Truth | None:
        """From an entry of ground_truth.json; None: it does not say."""
        if kind not in truth:
            return None
        return cls(tuple((each["start"], each["end"], each["count"]) for each in truth[kind]), truth["tolerance_s"])

    @classmethod
    def of_image(cls, truth: Mapping[str, Any], kind: str) -> Truth | None:
        """Likewise, of a picture, whose one frame is at 0 s."""
        return cls(((-1.0, math.inf, truth[kind]),), 0.0) if kind in truth else None

    def count(self, t_s: float) -> int:
        """How many are there."""
        return sum(count for start, end, count in self.intervals if start <= t_s < end)

    def is_sure(self, t_s: float) -> bool:
        """Whether it can be said for this time."""
        if not self.is_whole and self.count(t_s) == 0:
            return False
        edges = (edge for start, end, _ in self.intervals for edge in (start, end))
        return all(abs(t_s - edge) > self.tolerance_s for edge in edges) if self.tolerance_s else True

    def judged(self, seen: Iterable[tuple[float, int]]) -> list[Verdict]:
        """The frames of which it can be said what is there."""
        return [(t_s, self.count(t_s), got) for t_s, got in seen if self.is_sure(t_s)]


@dataclass(frozen=True)
class Presence:
    """Whether anything was seen where something is: frames, and how far the numbers are off on average."""

    hits: int
    false: int
    missed: int
    right_none: int
    count_error: float

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> Presence:
        """From the frames that are judged."""
        return cls(
            hits=sum(there > 0 and got > 0 for _, there, got in verdicts),
            false=sum(there == 0 and got > 0 for _, there, got in verdicts),
            missed=sum(there > 0 and got == 0 for _, there, got in verdicts),
            right_none=sum(there == 0 and got == 0 for _, there, got in verdicts),
            count_error=sum(abs(there - got) for _, there, got in verdicts) / max(len(verdicts), 1),
        )

    @property
    def precision(self) -> float | None:
        """Of the frames on which something was seen, how many are right; None: there is none."""
        return self.hits / (self.hits + self.false) if self.hits + self.false else None

    @property
    def recall(self) -> float | None:
        """Of the frames on which something is, on how many it was seen; None: there is none."""
        return self.hits / (self.hits + self.missed) if self.hits + self.missed else None


@dataclass(frozen=True)
class FalseSpan:
    """Frames in a row that are wrong in the same way: the first and the last one's time."""

    start_s: float
    end_s: float
    frames: int
    there: str
    seen: str


@dataclass(frozen=True)
class Row:
    """How well one kind of thing was seen in one file."""

    file: str
    kind: str
    presence: Presence
    false: list[FalseSpan]


def false_spans(verdicts: Sequence[tuple[float, Any, Any]], is_false: Callable[[Any, Any], bool]) -> list[FalseSpan]:
    """Where a person should look."""
    spans = []
    for (there, seen), group in groupby(verdicts, key=lambda verdict: verdict[1:]):
        times = [t_s for t_s, *_ in group]
        if is_false(there, seen):
            spans.append(FalseSpan(times[0], times[-1], len(times), str(there), str(seen)))
    return spans


def presence_is_false(there: int, seen: int) -> bool:
    """Something where nothing is, or nothing where something is."""
    return (there > 0) != (seen > 0)


def confusion(pairs: Iterable[tuple[str, str]]) -> dict[str, dict[str, int]]:
    """How often each (shown, seen) came: by what is shown, then by what was seen."""
    table: dict[str, dict[str, int]] = {}
    for shown, seen in pairs:
        row = table.setdefault(shown, {})
        row[seen] = row.get(seen, 0) + 1
    return table

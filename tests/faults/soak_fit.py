"""Whether processes grow: the slope of their memory, and their file descriptors, process by process. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean, median

SETTLE_S = 60.0
"""What a process takes at its start is no growth."""
ENDS = 5
"""Readings at each end of a life by which its descriptors are compared."""
Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Reading:
    """One look at a process: its age in s, since it was first seen, its resident memory, its file descriptors."""

    age_s: float
    rss_bytes: int
    fds: int


@dataclass(frozen=True)
class Slope:
    """By the second, with its standard error."""

    rise: float
    error: float


def settled(lives: Sequence[Sequence[Reading]], from_s: float = SETTLE_S) -> list[list[Reading]]:
    """Without the beginning of each life, and without lives that are no longer than that and two readings."""
    kept = [[reading for reading in life if reading.age_s >= from_s] for life in lives]
    return [life for life in kept if len(life) > 2]


def slope_within(lives: Sequence[Points]) -> Slope | None:
    """The common slope of lines that have each a height of its own, by least squares; None if there is too little.

    Each life's own mean is taken out, so that a process that begins lower or higher than the one before hides no growth
    and feigns none. What memory does lasts for many readings, which makes them worth fewer: the error is widened by
    what one residual says of the next, as of a process AR(1).
    """
    centred = [_centred(life) for life in lives if len(life) > 2]
    spread = sum(x * x for life in centred for x, _ in life)
    free = sum(map(len, centred)) - len(centred) - 1
    if not spread or free < 1:
        return None
    rise = sum(x * y for life in centred for x, y in life) / spread
    residuals = [[y - rise * x for x, y in life] for life in centred]
    squares = sum(r * r for life in residuals for r in life)
    echo = sum(a * b for life in residuals for a, b in pairwise(life))
    likeness = min(max(echo / squares, 0.0), 0.99) if squares else 0.0
    widened = math.sqrt((1 + likeness) / (1 - likeness))
    return Slope(rise, widened * math.sqrt(squares / free / spread))


def _centred(life: Points) -> list[tuple[float, float]]:
    mean_x, mean_y = fmean(x for x, _ in life), fmean(y for _, y in life)
    return [(x - mean_x, y - mean_y) for x, y in life]


def descriptors_gained(life: Sequence[Reading]) -> int:
    """How many more a process has at the quietest moment of its end than it usually had at its beginning.

    At the beginning a moment without a client, or without a child, is no measure; at the end one with a clip in the
    making is none.
    """
    return round(min(r.fds for r in life[-ENDS:]) - median(r.fds for r in life[:ENDS]))

"""From what was seen to figures. Pure."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from fixed_window import FixedWindowLoop
from latency_watch import Arrival, Key, SetSeen

NS_PER_MS = 1e6


@dataclass(frozen=True)
class Latency:
    """From a frame's capture until it left, in ms; and how many frames did."""

    p50: float
    p95: float
    p99: float
    longest: float
    frames: int

    @classmethod
    def of(cls, captured: dict[Key, int], sets: Iterable[SetSeen]) -> Latency:
        """Measure the frames of `captured` that left.

        Raises:
            ValueError: fewer than two did.
        """
        times = [(seen.at_ns - captured[seen.key]) / NS_PER_MS for seen in sets if seen.key in captured]
        if len(times) < 2:
            raise ValueError(f"only {len(times)} of {len(captured)} frames came through")
        cuts = statistics.quantiles(times, n=100)
        return cls(cuts[49], cuts[94], cuts[98], max(times), len(times))


def sets_of_loop(arrivals: Iterable[Arrival]) -> list[SetSeen]:
    """Return what the documents' fixed-window loop would have made of the same arrivals.

    It has no timer: a frame leaves with the OBS that pushes it out. What leaves of it again later is late, no set.
    """
    loop = FixedWindowLoop()
    first: dict[Key, SetSeen] = {}
    for arrival in arrivals:
        for out in loop.obs(arrival.source, arrival.frame_id, arrival.t_ns):
            left = SetSeen(epoch=arrival.epoch, frame_id=out.frame_id, obs=out.sources, at_ns=arrival.at_ns)
            first.setdefault(left.key, left)
    return list(first.values())


def share_in_sets(captured: dict[Key, int], arrivals: Iterable[Arrival], sets: Iterable[SetSeen]) -> float | None:
    """Return which share of the OBS of these frames left in a set, 0 to 1. None: no OBS."""
    members = {(seen.key, source) for seen in sets for source in seen.obs}
    return share((each.key, each.source) in members for each in arrivals if each.key in captured)


def whole_share(sets: Iterable[SetSeen]) -> float | None:
    """Return in which share of the sets no source is missing: each has sent its OBS or its SKIP. None: no sets."""
    return share(not seen.missing for seen in sets)


def share(answers: Iterable[bool]) -> float | None:
    """Return the share of those that are true, 0 to 1. None: there are none."""
    counted = Counter(answers)
    return counted[True] / counted.total() if counted else None

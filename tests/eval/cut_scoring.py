"""Which cuts were found, and what was found where there is none. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class CutScore:
    """Of one file.

    Attributes:
        hits: cuts that were found: frames that the report is late (below 0: early).
        missed: times of cuts that were not, in seconds.
        false: times of reports where there is none.
        gradual: times of reports within a gradual transition, which are neither right nor false.
    """

    hits: tuple[int, ...]
    missed: tuple[float, ...]
    false: tuple[float, ...]
    gradual: tuple[float, ...]


def score(
    times_s: Sequence[float],
    reports: Sequence[int],
    cuts_s: Sequence[float],
    gradual_s: Sequence[tuple[float, float]],
    tolerance: int,
) -> CutScore:
    """Compare the reports on one file with what is there; each cut is found once at most.

    Args:
        times_s: of all frames of the file.
        reports: frames at which a new scene is said to begin, in order.
        cuts_s: when new scenes begin.
        gradual_s: start and end of each gradual transition.
        tolerance: a report counts as long as it is no more frames off.
    """
    open_cuts = {min(range(len(times_s)), key=lambda i: abs(times_s[i] - cut)): cut for cut in cuts_s}
    hits, false, gradual = [], [], []
    for report in reports:
        near = [cut for cut in open_cuts if abs(report - cut) <= tolerance]
        if near:
            cut = min(near, key=lambda cut: abs(report - cut))
            del open_cuts[cut]
            hits.append(report - cut)
        elif any(start <= times_s[report] <= end for start, end in gradual_s):
            gradual.append(times_s[report])
        else:
            false.append(times_s[report])
    return CutScore(tuple(hits), tuple(open_cuts.values()), tuple(false), tuple(gradual))


def f1(hits: int, missed: int, false: int) -> float | None:
    """Harmonic mean of precision and recall; None: nothing was there and nothing was found."""
    return 2 * hits / (2 * hits + missed + false) if hits + missed + false else None

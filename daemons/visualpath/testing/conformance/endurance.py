"""A thousand frames: whether memory grows, how long each takes, and how much is printed."""

from __future__ import annotations

import io
import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from visualpath.testing.conformance.places import line_of_growth, line_of_stack
from visualpath.testing.conformance.process_state import rss_bytes
from visualpath.testing.conformance.verdict import Refused

GROWTH_MAX = 2_000
"""Bytes a frame; 2 kB at 30 frames a second are 5 GB a day."""
PRINTED_MAX = 100
"""Bytes a frame; 100 at 30 frames a second are 260 MB of log a day."""
MEDIAN_MAX_MS = 1000.0
BUDGET_S = 120.0
SAMPLE_EVERY = 10
TRACED_FRAMES = 60

Step = Callable[[int], None]
"""Shows the plug-in the frame of this number; it goes through the tape again and again."""


@dataclass
class Endurance:
    """What was measured.

    Attributes:
        took_ms: of each frame.
        rss: frame number and bytes, every SAMPLE_EVERY frames.
        printed_bytes: on stdout and stderr.
    """

    took_ms: list[float] = field(default_factory=list)
    rss: list[tuple[int, int]] = field(default_factory=list)
    printed_bytes: int = 0

    def growth(self, since: int) -> float:
        """Bytes a frame, from frame `since` on: the slope of a line through the samples."""
        samples = np.array([sample for sample in self.rss if sample[0] >= since], float)
        if len(samples) < 3:
            return 0.0
        return float(np.polyfit(samples[:, 0], samples[:, 1], 1)[0])


def endure(step: Step, frames: int, first: int = 0) -> Endurance:
    """Show it so many frames, or as many as there is time for."""
    found = Endurance()
    printed_before = _printed()
    ends = time.monotonic() + BUDGET_S
    for number in range(first, first + frames):
        started = time.perf_counter()
        step(number)
        found.took_ms.append((time.perf_counter() - started) * 1e3)
        if number % SAMPLE_EVERY == 0:
            found.rss.append((number, rss_bytes()))
        if time.monotonic() > ends:
            break
    found.printed_bytes = _printed() - printed_before
    return found


def check_memory(found: Endurance, step: Step, root: str) -> str:
    """It does not grow, seen after a quarter of the frames; a doubt is settled by as many frames again."""
    count = len(found.took_ms)
    growth = found.growth(count // 4)
    if growth > GROWTH_MAX:  # a cache that fills comes to an end, a leak does not
        again = endure(step, count, count)
        growth = again.growth(count)
        if growth > GROWTH_MAX:
            raise Refused(
                f"memory grows by {growth / 1e3:.1f} kB a frame over {count} frames (allowed: {GROWTH_MAX / 1e3:g} kB)",
                _where_it_grows(step, root),
            )
    return f"{growth / 1e3:+.1f} kB a frame over {count} frames, {found.rss[-1][1] / 1e6:.0f} MB in all"


def _where_it_grows(step: Step, root: str) -> str:
    tracemalloc.start(12)
    try:
        before = tracemalloc.take_snapshot()
        for number in range(TRACED_FRAMES):
            step(number)
        grown = tracemalloc.take_snapshot().compare_to(before, "traceback")
    finally:
        tracemalloc.stop()
    return line_of_growth(grown, root)


def check_time(took_ms: Sequence[float]) -> str:
    """Told, and refused only if hardly any stream could use it."""
    p50, p99 = np.percentile(took_ms, [50, 99])
    if too_slow(took_ms):
        raise Refused(
            f"p50 {p50 / 1e3:.1f} s, over {len(took_ms)} frames on this machine as it is; allowed is "
            f"{MEDIAN_MAX_MS / 1e3:g} s: ask for a smaller input_width, or take a lighter model"
        )
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, longest {max(took_ms):.1f} ms, on this machine as it is"


def too_slow(took_ms: Sequence[float]) -> bool:
    """Whether the median of what frames took is above what is allowed."""
    return float(np.median(took_ms)) > MEDIAN_MAX_MS


def check_output(found: Endurance, step: Step, root: str) -> str:
    """It prints next to nothing: for months, every word is a log."""
    count = len(found.took_ms)
    if found.printed_bytes > PRINTED_MAX * count:
        raise Refused(
            f"it prints {found.printed_bytes} bytes in {count} frames (allowed: {PRINTED_MAX} a frame): log at level "
            "debug instead",
            _where_it_prints(step, root),
        )
    return f"{found.printed_bytes} bytes printed in {count} frames"


class _Listener(io.TextIOBase):
    """Stands for stdout: notes which line of the plug-in prints."""

    def __init__(self, root: str) -> None:
        self.where = ""
        self._root = root

    def write(self, text: str) -> int:
        self.where = self.where or line_of_stack(sys._getframe(1), self._root)
        return len(text)


def _where_it_prints(step: Step, root: str) -> str:
    listener = _Listener(root)
    usual = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = listener
    try:
        for number in range(3):
            step(number)
    finally:
        sys.stdout, sys.stderr = usual
    return listener.where


def _printed() -> int:
    """The parent gave a file as stdout and stderr."""
    sys.stdout.flush()
    return os.fstat(1).st_size

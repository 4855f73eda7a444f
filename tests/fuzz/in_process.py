"""Runs an in-process target again and again for some time."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from reports import Report
from targets import Target

from visualpath.runtime.service import resident_bytes

HANG_S = 10.0
"""No input may take so long, on whatever machine."""
WARM_UP = 2000
"""Executions before memory is looked at: caches fill."""
GROWTH_MAX_BYTES = 32 << 20


class Hang(Exception):
    """An input took longer than HANG_S."""


def fuzz(target: Target, seconds: float, seed: int, found_dir: Path) -> Report:
    """Feed changed seeds for so long; an input that does harm is written to `found_dir`."""
    report, chance = Report(target.name), Random(seed)
    before, began = 0, time.monotonic()
    while time.monotonic() < began + seconds:
        data = target.input(chance)
        report.executions += 1
        try:
            with no_hang():
                target.run(data)
        except Exception as error:  # whatever it is, it is what we look for
            report.add(error, data, found_dir)
        if report.executions == WARM_UP:
            before = resident_bytes()
    report.seconds = time.monotonic() - began
    report.grown_bytes = max(0, resident_bytes() - before) if before else 0
    if report.grown_bytes > GROWTH_MAX_BYTES:
        report.defects["growth"] = f"{report.grown_bytes >> 20} MiB more after {report.executions} executions"
    return report


@contextmanager
def no_hang() -> Iterator[None]:
    """Raise Hang in what takes too long. For the main thread."""

    def too_long(_number: int, _frame: object) -> None:
        raise Hang(f"not done after {HANG_S:g} s")

    old = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, HANG_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)

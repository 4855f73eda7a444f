"""Fuzzes one link of a running daemon for some time, and watches what the daemon takes up."""

from __future__ import annotations

import time
from itertools import islice
from pathlib import Path
from random import Random

import msgspec
from links import LinkTarget
from reports import Report
from worlds import Died, Vitals, World

BATCH = 100
"""Messages between two looks at the daemon; so many are kept when it dies of one of them."""
WARM_UP = 10
"""Batches before its memory is looked at."""
MORE_BYTES = 48 << 20
MORE_FDS = 16
COUNTERS_MAX = 2000
"""Fusion counts by name of up to 256 sources."""
LOG_BYTES_EACH = 300


class Growth(Exception):
    """The daemon takes up more and more."""


def fuzz(target: LinkTarget, world: World, seconds: float, seed: int, found_dir: Path) -> Report:
    """Send changed messages for so long; those that do harm are written to `found_dir`."""
    report, inputs = Report(target.name), target.inputs(Random(seed))
    before, after, batches, began = None, None, 0, time.monotonic()
    while time.monotonic() < began + seconds:
        rows = list(islice(inputs, BATCH))
        try:
            report.executions += target.send(world, rows)
            after = world.vitals()
        except Died as error:
            report.add(error, msgspec.msgpack.encode(rows), found_dir)
            world.restart()
            before = None
        batches += 1
        if before is None and batches >= WARM_UP:
            before = after
    report.seconds = time.monotonic() - began
    if before is not None and after is not None:
        report.grown_bytes = max(0, after.rss_bytes - before.rss_bytes)
        try:
            check_growth(before, after, report.executions)
        except Growth as error:
            report.defects["growth"] = str(error)
    return report


def check_growth(before: Vitals, after: Vitals, executions: int) -> None:
    """Raise Growth if a daemon takes up more than a bound after so many messages."""
    limits = {
        "rss_bytes": before.rss_bytes + MORE_BYTES,
        "fds": before.fds + MORE_FDS,
        "counters": COUNTERS_MAX,
        "log_bytes": before.log_bytes + LOG_BYTES_EACH * executions + (1 << 20),
    }
    beyond = {name: getattr(after, name) for name, limit in limits.items() if getattr(after, name) > limit}
    if beyond:
        raise Growth(f"{beyond} after {executions} messages, {before} before")

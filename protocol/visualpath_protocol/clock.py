"""The two clocks. Event time (`t_ns`) is neither: it belongs to the stream."""

from __future__ import annotations

import time
from datetime import datetime, timezone

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000

mono_ns = time.monotonic_ns
"""CLOCK_MONOTONIC in ns: for every duration and deadline. Comparable between the processes of one host."""

wall_ns = time.time_ns
"""UTC in ns since 1970: for people. It may jump; nothing is ever decided by it."""


def rfc3339(ns: int) -> str:
    """`ns` since 1970 as RFC 3339 in UTC with milliseconds, e.g. 2026-01-31T12:00:00.250Z."""
    seconds, rest_ns = divmod(ns, NS_PER_S)
    stamp = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return f"{stamp:%Y-%m-%dT%H:%M:%S}.{rest_ns // NS_PER_MS:03d}Z"

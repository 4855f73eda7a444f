"""What goes wrong with a trace: counted, and logged at most once a second. It never reaches who is traced."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from typing import Protocol

log = logging.getLogger(__name__)

REPORT_S = 1.0


class Troubles(Protocol):
    """Where troubles are told; `visualpath.runtime.refusals.Refusals` is such a place."""

    def add(self, reason: str, detail: object, times: int = 1) -> None:
        """It has happened so many times more; called from any thread."""


class LoggedTroubles:
    """For use outside the daemons.

    Attributes:
        counters: how often, by reason.
    """

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._told: Counter[str] = Counter()
        self._next_report = 0.0

    def add(self, reason: str, detail: object, times: int = 1) -> None:
        """Count, and log what has come up since the last line if that was long enough ago."""
        with self._lock:
            self.counters[reason] += times
            now = time.monotonic()
            if now < self._next_report:
                return
            self._next_report = now + REPORT_S
            since, self._told = self.counters - self._told, self.counters.copy()
        log.warning("%s, last: %s", ", ".join(f"{name} x {count}" for name, count in since.items()), detail)

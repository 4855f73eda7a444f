"""Their bug is refused, counted by reason, and reported once a second."""

from __future__ import annotations

import logging
from collections import Counter

log = logging.getLogger(__name__)

DETAIL_MAX = 500
"""Characters of a detail that are kept: it may quote what a peer or a plug-in said."""


class Refusals:
    """Counts what was refused; `report` logs one line for each reason that came up since the last call."""

    def __init__(self, counters: Counter[str]) -> None:
        self.counters = counters
        self._recent: dict[str, tuple[int, str]] = {}

    def add(self, reason: str, detail: object, times: int = 1) -> None:
        """Count refusals. `reason` names a counter, such as `refused.obs.malformed`."""
        if times:
            self.counters[reason] += times
            self._recent[reason] = (self._recent.get(reason, (0, ""))[0] + times, str(detail)[:DETAIL_MAX])

    def report(self, _now: int) -> None:
        """Log what has been refused since the last report."""
        recent, self._recent = self._recent, {}
        for reason, (times, detail) in list(recent.items()):  # another thread may be adding
            log.warning("%s x %d, last: %s", reason, times, detail)

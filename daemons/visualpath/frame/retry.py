"""How long to wait before a source is opened anew. Pure: time and chance are arguments."""

from __future__ import annotations

from collections.abc import Callable

from visualbase.errors import MediaError, NoAnswer
from visualpath_protocol.clock import NS_PER_S

FIRST_S = 0.5
MAX_S = 10.0
NO_ANSWER_MAX_S = 1.0
"""Asking where nobody answers costs nobody anything, and the stream is to be back soon after the camera is."""
GOOD_RUN_NS = 10 * NS_PER_S


class Backoff:
    """Twice as long after each failure of the same kind, a little less by chance, so that many do not come at once.

    Args:
        chance: gives a number in [0, 1).
    """

    def __init__(self, chance: Callable[[], float]) -> None:
        self._chance = chance
        self._no_answer = False
        self._failures = 0

    def ran(self, run_ns: int) -> None:
        """The source gave pictures for so long: if that was long enough, what was before does not count."""
        if run_ns >= GOOD_RUN_NS:
            self._failures = 0

    def wait_s(self, error: MediaError) -> float:
        """Seconds to wait after this failure."""
        no_answer = isinstance(error, NoAnswer)
        if no_answer != self._no_answer:
            self._no_answer, self._failures = no_answer, 0
        longest = NO_ANSWER_MAX_S if no_answer else MAX_S
        wait_s = min(FIRST_S * 2.0 ** min(self._failures, 30), longest)
        self._failures += 1
        return wait_s * (1 - self._chance() / 4)

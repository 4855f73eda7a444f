"""Which changes of health are worth telling: those that last. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from visualpath.core.health import Health, State
from visualpath_protocol.clock import NS_PER_MS, NS_PER_S

START_NS = 30 * NS_PER_S
"""For so long after the start of the watch a daemon may still be starting, too."""
LATELY_NS = 600 * NS_PER_S
SAME_START_NS = 500 * NS_PER_MS
"""How far two computations of one start may lie apart."""


@dataclass(frozen=True)
class Change:
    """A daemon is in another state than was told last."""

    daemon: str
    before: State
    health: Health


class Damper:
    """Tells a change once the daemon has been out of the state that was told for long enough, whatever it is in.

    Args:
        lasts_ns: how long that is.
        told: what was told last, by daemon; of the others, that they are healthy.
        now: monotonic ns.
    """

    def __init__(self, lasts_ns: int, told: Mapping[str, State], now: int) -> None:
        self._lasts_ns = lasts_ns
        self._told = dict(told)
        self._begun_ns = now
        self._been_healthy: set[str] = set()
        self._left_ns: dict[str, int] = {}

    def changes(self, parts: Mapping[str, Health], now: int) -> list[Change]:
        """What is to be told of this judgement."""
        found = []
        for daemon, health in parts.items():
            told = self._told.get(daemon, "healthy")
            if health.state == "healthy":
                self._been_healthy.add(daemon)
            if health.state == told:
                self._left_ns.pop(daemon, None)
            elif now - self._left_ns.setdefault(daemon, now) >= self._lasts_ns and not self._starts(daemon, now):
                del self._left_ns[daemon]
                self._told[daemon] = health.state
                found.append(Change(daemon, told, health))
        return found

    def _starts(self, daemon: str, now: int) -> bool:
        return daemon not in self._been_healthy and now - self._begun_ns < START_NS


class Starts:
    """How often each daemon was started again lately, from how long it says that it is up."""

    def __init__(self) -> None:
        self._last_ns: dict[str, int] = {}
        self._again: dict[str, deque[int]] = {}

    def note(self, daemon: str, uptime_ns: int, now: int) -> None:
        """It has answered; both times are monotonic."""
        started_ns = now - uptime_ns
        last_ns = self._last_ns.get(daemon)
        if last_ns is not None and started_ns - last_ns > SAME_START_NS:
            self._again.setdefault(daemon, deque(maxlen=100)).append(started_ns)
        self._last_ns[daemon] = max(started_ns, last_ns or started_ns)

    def count(self, daemon: str, now: int) -> int:
        """In the last 10 minutes, while somebody looked on."""
        return sum(now - started_ns < LATELY_NS for started_ns in self._again.get(daemon, ()))

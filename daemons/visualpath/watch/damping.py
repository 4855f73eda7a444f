"""Which changes of health are worth telling: those that last. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass

from visualpath.core.health import LOAD_NS, STATES, Health, State
from visualpath_protocol.clock import NS_PER_S

START_NS: dict[State, int] = {"failed": 30 * NS_PER_S, "degraded": LOAD_NS}
"""For so long after the start of the watch a daemon may still be starting, too, and load its model."""
AGAIN_NS = 60 * NS_PER_S
"""After a hook did not take a state, until it is told that again."""
LATELY_NS = 600 * NS_PER_S
FLAPPING_NS = 3600 * NS_PER_S
"""For so long a change that was told delays the news that a daemon is better, by at most `LATELY_NS`."""


@dataclass(frozen=True)
class Change:
    """A daemon is in another state than was told last."""

    daemon: str
    before: State
    health: Health


class Damper:
    """Tells a change once the daemon has been out of the state that was told for long enough, whatever it is in.

    That it is better is told later with each change that was told lately: who goes and comes all the time is not well.
    One change of each daemon is on its way at a time. A state counts as told when somebody has taken it: until then it
    is told again and again, as long as it lasts.

    Args:
        lasts_ns: how long that is.
        told: what was taken last, by daemon, and kept so here; of the others, that they are healthy.
        now: monotonic ns.
    """

    def __init__(self, lasts_ns: int, told: MutableMapping[str, State], now: int) -> None:
        self._lasts_ns = lasts_ns
        self._told = told
        self._begun_ns = now
        self._been_healthy: set[str] = set()
        self._left_ns: dict[str, int] = {}
        self._on_its_way: set[str] = set()
        self._not_before_ns: dict[str, int] = {}
        self._changed_ns: dict[str, deque[int]] = {}

    def changes(self, parts: Mapping[str, Health], now: int) -> list[Change]:
        """What is to be told of this judgement."""
        found = []
        for daemon, health in parts.items():
            told = self._told.get(daemon, "healthy")
            if health.state == "healthy":
                self._been_healthy.add(daemon)
            if health.state == told:
                self._left_ns.pop(daemon, None)
            elif now - self._left_ns.setdefault(daemon, now) >= self._patience_ns(daemon, told, health, now) and (
                self._may_tell(daemon, health, now)
            ):
                self._on_its_way.add(daemon)
                self._changed_ns.setdefault(daemon, deque(maxlen=20)).append(now)
                found.append(Change(daemon, told, health))
        return found

    def taken(self, daemon: str, state: State) -> None:
        """A change has been told."""
        self._on_its_way.discard(daemon)
        self._left_ns.pop(daemon, None)
        self._told[daemon] = state

    def refused(self, daemon: str, now: int) -> None:
        """A change could not be told."""
        self._on_its_way.discard(daemon)
        self._not_before_ns[daemon] = now + AGAIN_NS

    def _patience_ns(self, daemon: str, told: State, health: Health, now: int) -> int:
        if STATES.index(health.state) > STATES.index(told):
            return self._lasts_ns
        times = sum(now - changed_ns < FLAPPING_NS for changed_ns in self._changed_ns.get(daemon, ()))
        return min(self._lasts_ns << max(0, times - 1), max(self._lasts_ns, LATELY_NS))

    def _may_tell(self, daemon: str, health: Health, now: int) -> bool:
        starts = daemon not in self._been_healthy and now - self._begun_ns < START_NS.get(health.state, 0)
        return not starts and daemon not in self._on_its_way and now >= self._not_before_ns.get(daemon, now)


class Starts:
    """How often each daemon was started again lately, as its process ids tell."""

    def __init__(self) -> None:
        self._pids: dict[str, int] = {}
        self._again: dict[str, deque[int]] = {}

    def note(self, daemon: str, pid: int, now: int) -> None:
        """It has answered (monotonic)."""
        if self._pids.setdefault(daemon, pid) != pid:
            self._again.setdefault(daemon, deque(maxlen=100)).append(now)
            self._pids[daemon] = pid

    def count(self, daemon: str, now: int) -> int:
        """In the last 10 minutes, while somebody looked on."""
        return sum(now - again_ns < LATELY_NS for again_ns in self._again.get(daemon, ()))

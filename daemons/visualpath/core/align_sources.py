"""Who sends OBS: sources with their promises, and the roster of who is up, idle, and waited for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from visualpath.core.align_line import Obs

NO_BOUND = -1


@dataclass(slots=True)
class Source:
    """One source of OBS, from one `source_up` to the next.

    A promise says that no OBS will come; it never prevents one from being taken (R16).

    Attributes:
        joined: number of the first frame that may wait for it.
        pending_since: when a frame was created that it owes an answer, and has given no sign of life since:
            silence counts only while there is something to answer (R15), and only while it is awaited.
    """

    name: str
    joined: int
    expected: bool
    ordered: bool
    stride: int
    phase: int
    up: bool = True
    idle: bool = False
    pending_since: int | None = None
    bound: int = NO_BOUND
    skips: dict[int, None] = field(default_factory=dict)  # a set that knows which one is the oldest

    def settled(self, frame_id: int, t_ns: int) -> bool:
        """R16: has it promised that no OBS of this frame will come?"""
        return t_ns < self.bound or frame_id in self.skips or (self.stride > 1 and frame_id % self.stride != self.phase)

    def owes_any(self, frame_ids: set[int]) -> bool:
        """R18b: is there one of these frames, whatever its time, that it has not promised to leave out?"""
        unpromised = frame_ids.difference(self.skips)
        if self.stride > 1:
            return any(frame_id % self.stride == self.phase for frame_id in unpromised)
        return bool(unpromised)

    def promise_bound(self, t_ns: int) -> None:
        """R16: bounds only rise."""
        if t_ns > self.bound:
            self.bound = t_ns

    def promise_skip(self, frame_id: int, keep: int) -> None:
        """R16: the oldest of more than `keep` skips is forgotten."""
        self.skips[frame_id] = None
        if len(self.skips) > keep:
            del self.skips[next(iter(self.skips))]

    def forget(self) -> None:
        """R8: promises and the idle timer belong to one generation."""
        self.bound = NO_BOUND
        self.skips.clear()
        self.pending_since = None


class Roster:
    """All known sources; an unknown one is taken while there is room (G4).

    Attributes:
        awaited: expected, up and not idle: those that new frames wait for (R17).
    """

    def __init__(self, max_sources: int) -> None:
        self._max_sources = max_sources
        self._by_name: dict[str, Source] = {}
        self.awaited: list[Source] = []

    def get(self, name: str) -> Source | None:
        return self._by_name.get(name)

    def put(self, who: Source) -> bool:
        """R3: a source comes, or comes back with nothing promised. False: there is no room for it."""
        if who.name not in self._by_name and len(self._by_name) >= self._max_sources:
            return False
        self._by_name[who.name] = who
        self._review()
        return True

    def take_down(self, name: str) -> None:
        """R3: a source is gone, but still known: sets list it as missing."""
        who = self._by_name.get(name)
        if who is not None:
            who.up = False
            self._review()

    def wake(self, who: Source) -> bool:
        """R5: a sign of life. True: it was idle until now."""
        who.pending_since = None
        if not who.idle:
            return False
        who.idle = False
        self._review()
        return True

    def fall_idle(self, pending_until: int) -> list[str]:
        """R21a: who has owed an answer since this time or longer is idle; returns their names, sorted."""
        silent = [who for who in self.awaited if who.pending_since is not None and who.pending_since <= pending_until]
        for who in silent:
            who.idle = True
        self._review()
        return sorted(who.name for who in silent)

    def owe(self, obs: Obs, now: int) -> None:
        """R15: this OBS began a frame; who else is awaited in it is silent from now on, if not already."""
        for who in self.awaited:
            answered = who.name == obs.source or who.settled(obs.frame_id, obs.t_ns)
            if who.pending_since is None and not answered:
                who.pending_since = now

    def longest_pending(self) -> int | None:
        return min((who.pending_since for who in self.awaited if who.pending_since is not None), default=None)

    def another_lives(self, who: Source) -> bool:
        """R7: is anyone but this source up and not idle? Optional sources count: they can witness too."""
        return any(other.up and not other.idle for other in self._by_name.values() if other is not who)

    def silent_in(self, names: Iterable[str]) -> list[Source]:
        """R24: the expected sources that are not among these, idle and down ones too, by name."""
        silent = (who for who in self._by_name.values() if who.expected and who.name not in names)
        return sorted(silent, key=lambda who: who.name)

    def forget(self) -> None:
        """R8: promises and idle timers belong to one generation."""
        for who in self._by_name.values():
            who.forget()

    def _review(self) -> None:
        self.awaited = [who for who in self._by_name.values() if who.expected and who.up and not who.idle]

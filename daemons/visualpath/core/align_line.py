"""One generation's time line: frames that wait, frames that left, and how far event time has come.

Nothing here decides what leaves; `align.py` does. A reset puts a fresh `TimeLine` in the place of the old (R8).
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any, NamedTuple

from visualpath.core.align_types import AlignParams, Drop, DropReason, ResetKind

Key = tuple[int, int]  # (t_ns, frame_id): the order in which frames leave

BEFORE_ALL: Key = (-1, -1)


class Obs(NamedTuple):
    """One OBS on its way to its set."""

    source: str
    frame_id: int
    t_ns: int
    payload: Any

    @property
    def key(self) -> Key:
        return self.t_ns, self.frame_id

    def dropped(self, reason: DropReason) -> Drop:
        return Drop(self.source, self.frame_id, self.t_ns, reason)


@dataclass(slots=True)
class Frame:
    """A frame that waits in the buffer; frames are numbered in order of creation, across generations."""

    t_ns: int
    frame_id: int
    number: int
    first_arrival: int
    last_arrival: int = 0
    payloads: dict[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> Key:
        return self.t_ns, self.frame_id

    def add(self, obs: Obs, now: int) -> None:
        self.payloads[obs.source] = obs.payload
        self.last_arrival = now


@dataclass(slots=True)
class Retired:
    """A frame that has left, or that was first seen behind the frontier (an orphan)."""

    t_ns: int
    sources: set[str]
    revision: int = 0

    def revise(self, source: str) -> int:
        self.sources.add(source)
        self.revision += 1
        return self.revision


@dataclass(slots=True)
class Run:
    """Consecutive out-of-band OBS that tell the same story (R7)."""

    kind: ResetKind
    epoch: int
    t_ns: int = 0
    arrival: int = 0
    count: int = 0
    sources: set[str] = field(default_factory=set)

    def goes_on(self, obs: Obs, kind: ResetKind, epoch: int, now: int, guard_ns: int) -> bool:
        """Does the next OBS belong to it: same kind and epoch, time passing about as fast as the clock?"""
        drift = (obs.t_ns - self.t_ns) - (now - self.arrival)
        return (kind, epoch) == (self.kind, self.epoch) and abs(drift) <= guard_ns

    def add(self, obs: Obs, now: int) -> None:
        self.t_ns, self.arrival = obs.t_ns, now
        self.count += 1
        self.sources.add(obs.source)


class TimeLine:
    """One generation: frames that wait, frames that left, and how far event time has come.

    An id is in `buffer` or in `retired`, never in both, and has one time there (R11).

    Attributes:
        buffer: frames that wait, by id. A dict keeps its order of insertion, which is the order of
            creation, which is the order of deadlines.
        retired: frames that left, by id; `floor` is the largest key forgotten (R25).
        frontier: key of the last frame released.
        max_t: largest event time seen; `max_t_arrival`: when.
        run: the out-of-band OBS that were the last to come, if any.
    """

    def __init__(self, params: AlignParams) -> None:
        self._params = params
        self._keys: list[Key] = []  # of the buffer, sorted
        self._retired_keys: list[Key] = []  # sorted
        self.buffer: dict[int, Frame] = {}
        self.retired: dict[int, Retired] = {}
        self.frontier = BEFORE_ALL
        self.floor = BEFORE_ALL
        self.max_t = -1
        self.max_t_arrival = 0
        self.run: Run | None = None

    @property
    def head(self) -> Frame | None:
        """The frame with the smallest key: the only one that may leave."""
        return self.buffer[self._keys[0][1]] if self._keys else None

    @property
    def horizon_ns(self) -> int:
        """Frames older than this are not remembered (R25), their OBS are too late (R13)."""
        return self.frontier[0] - self._params.window_ns - self._params.allowed_lateness_ns

    @property
    def first_created(self) -> Frame | None:
        """The waiting frame whose window is over first."""
        return next(iter(self.buffer.values()), None)

    def newest_created_until(self, stamp: int) -> Key:
        """R21c: the largest key of the waiting frames created at or before this time."""
        overdue = takewhile(lambda frame: frame.first_arrival <= stamp, self.buffer.values())
        return max((frame.key for frame in overdue), default=BEFORE_ALL)

    def out_of_band(self, t_ns: int, now: int) -> ResetKind | None:
        """R6: does this event time belong to another time line?"""
        lead_ns = now - self.max_t_arrival + self._params.future_guard_ns
        if self.max_t >= 0 and t_ns > self.max_t + lead_ns:
            return "future"
        if t_ns < self.frontier[0] - self._params.reset_backstep_ns:
            return "past"
        return None

    def strayed(self, obs: Obs, kind: ResetKind, epoch: int, now: int) -> Run:
        """R7: an out-of-band OBS goes on with the run, or begins another."""
        if self.run is None or not self.run.goes_on(obs, kind, epoch, now, self._params.future_guard_ns):
            self.run = Run(kind, epoch)
        self.run.add(obs, now)
        return self.run

    def saw(self, t_ns: int, now: int) -> None:
        """R10: an in-band OBS moves event time; it also ends a run of out-of-band ones (R7)."""
        self.run = None
        if t_ns > self.max_t:
            self.max_t, self.max_t_arrival = t_ns, now

    def contradicts(self, obs: Obs) -> bool:
        """R11: is this id known with another time?"""
        known = self.buffer.get(obs.frame_id) or self.retired.get(obs.frame_id)
        return known is not None and known.t_ns != obs.t_ns

    def unseen_before(self, frame: Frame) -> set[int]:
        """R18b: ids between the frontier and this frame that nobody has reported.

        None before the first release; none if ids went back, or jumped by more than the buffer holds.
        """
        first = self.frontier[1] + 1
        if self.frontier == BEFORE_ALL or not 0 < frame.frame_id - first <= self._params.max_buffered_frames:
            return set()
        return set(range(first, frame.frame_id)).difference(self.buffer)

    def insert(self, frame: Frame) -> None:
        self.buffer[frame.frame_id] = frame
        insort(self._keys, frame.key)

    def pop_head(self) -> Frame:
        """The head leaves: it becomes the frontier, and is remembered as retired."""
        key = self._keys.pop(0)
        frame = self.buffer.pop(key[1])
        self.frontier = key
        self.remember(key, set(frame.payloads))
        return frame

    def remember(self, key: Key, sources: set[str]) -> Retired:
        """R25: retire a frame, and forget what is too old or too much."""
        retired = self.retired[key[1]] = Retired(key[0], sources)
        keys = self._retired_keys
        insort(keys, key)
        while len(keys) > self._params.max_buffered_frames or keys[0][0] < self.horizon_ns:
            self.floor = keys.pop(0)
            del self.retired[self.floor[1]]
        return retired

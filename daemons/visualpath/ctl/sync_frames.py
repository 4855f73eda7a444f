"""The frames of one stream on their way through fusion, as its tap tells. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from visualpath_protocol.clock import NS_PER_MS, NS_PER_S

LATELY_NS = 5 * NS_PER_S
MAX_LEFT = 1000
"""Frames that left, of the last 5 s."""
MAX_IN_WORK = 256
"""As many as wait in the alignment."""
MAX_SKIPS = 1000
MAX_SOURCES = 64
"""As many as fusion takes."""
UNTOLD_NS = NS_PER_S
"""So long after its window a frame has left, although the tap has not told it: it is lossy."""

Facts = dict[str, Any]
Expected = Callable[[int], Iterable[str]]
"""Gives for a frame_id the sources that are to say something about it."""


class ObsSeen(msgspec.Struct):
    """Body of an event `obs`."""

    source: str
    stream: str
    epoch: int
    frame_id: int


class SkipSeen(msgspec.Struct):
    """Body of an event `skip`."""

    source: str
    stream: str
    epoch: int
    first_frame_id: int
    last_frame_id: int
    reason: str


class SetSeen(msgspec.Struct):
    """Body of an event `set`."""

    stream: str
    epoch: int
    frame_id: int
    obs: list[str]
    missing: list[str]
    skipped: list[str]
    reason: str
    hold_ns: int


@dataclass
class Frame:
    """One frame.

    Attributes:
        first_ns: when its first OBS came.
        obs: when the OBS of each source came.
        left: its set, once it has left.
        away: of the sources missing in the set, those that were not waited for: `down` or `idle`.
    """

    frame_id: int
    first_ns: int
    obs: dict[str, int] = field(default_factory=dict)
    left: SetSeen | None = None
    away: dict[str, str] = field(default_factory=dict)

    def held_ns(self, now: int) -> int:
        """How long it has waited in fusion, whose clock may be ahead of ours."""
        return self.left.hold_ns if self.left else max(0, now - self.first_ns)


class StreamFrames:
    """Follows one stream. `at_ns` is when fusion told it, `now` the present; both are monotonic.

    Args:
        window_ns: how long fusion lets a frame wait.

    Attributes:
        down: the sources that are not there.
        idle: the sources that fusion does not wait for, because they do not answer.
        untold: frames whose end the tap did not tell.
    """

    def __init__(self, window_ns: int) -> None:
        self._window_ns = window_ns
        self._epoch: int | None = None
        self.down: set[str] = set()
        self.untold = 0
        self._begin()

    def _begin(self) -> None:
        self.idle: set[str] = set()
        self._in_work: dict[int, Frame] = {}
        self._left: deque[tuple[int, Frame]] = deque(maxlen=MAX_LEFT)
        self._frontier = -1
        self._known: set[str] = set()
        self._skips: deque[SkipSeen] = deque(maxlen=MAX_SKIPS)

    def follow(self, epoch: int) -> None:
        """Fusion has come to this epoch; the word of one source would not be enough."""
        if self._epoch is None:
            self._epoch = epoch
        elif epoch > self._epoch:
            self._epoch = epoch
            self._begin()

    def heard_obs(self, obs: ObsSeen, at_ns: int) -> None:
        """A source has reported a frame. One that has left already keeps it as late."""
        if self._epoch not in (None, obs.epoch) or (obs.source not in self._known and len(self._known) >= MAX_SOURCES):
            return
        self.idle.discard(obs.source)
        self._known.add(obs.source)
        if obs.frame_id <= self._frontier:
            frame = next((frame for _, frame in self._left if frame.frame_id == obs.frame_id), None)
        else:
            frame = self._in_work.setdefault(obs.frame_id, Frame(obs.frame_id, at_ns))
            if len(self._in_work) > MAX_IN_WORK:
                self._lose_sight(next(iter(self._in_work)))
        if frame is not None:
            frame.obs.setdefault(obs.source, at_ns)

    def heard_skip(self, skip: SkipSeen) -> None:
        """A source will not report these frames."""
        if self._epoch in (None, skip.epoch):
            self.idle.discard(skip.source)
            self._skips.append(skip)

    def heard_set(self, aligned: SetSeen, at_ns: int) -> None:
        """A frame has left. Whoever is missing although the frame was complete is not waited for."""
        self.follow(aligned.epoch)
        if aligned.epoch != self._epoch:
            return
        frame = self._in_work.pop(aligned.frame_id, None) or Frame(aligned.frame_id, at_ns - aligned.hold_ns)
        if aligned.reason == "complete":
            self.idle.update(set(aligned.missing) - self.down)
        frame.left = aligned
        frame.away = self._away(aligned.missing)
        self._left.append((at_ns, frame))
        self._frontier = aligned.frame_id
        for frame_id in [each for each in self._in_work if each < aligned.frame_id]:  # frames leave in order
            self._lose_sight(frame_id)

    def forget(self, now: int) -> None:
        """Forget what is long past."""
        while self._left and self._left[0][0] < now - LATELY_NS:
            self._left.popleft()
        overdue_ns = now - self._window_ns - UNTOLD_NS
        for frame_id in [each.frame_id for each in self._in_work.values() if each.first_ns < overdue_ns]:
            self._lose_sight(frame_id)

    def complete(self) -> float | None:
        """The share of the frames that left lately with all that was waited for; None if none left."""
        reasons = [frame.left.reason for _, frame in self._left if frame.left]
        return reasons.count("complete") / len(reasons) if reasons else None

    def newest(self, expected: Expected, now: int) -> Facts | None:
        """The newest frame in work, else the last that left, else None."""
        if self._in_work:
            return self._facts(self._in_work[max(self._in_work)], expected, now)
        return self._facts(self._left[-1][1], expected, now) if self._left else None

    def slowest(self, expected: Expected, now: int) -> Facts | None:
        """The frame that was held longest, of those that left lately; None if none left."""
        frames = [frame for _, frame in self._left]
        return self._facts(max(frames, key=lambda each: each.held_ns(now)), expected, now) if frames else None

    def _facts(self, frame: Frame, expected: Expected, now: int) -> Facts:
        """`hold_ms`, why it `left` (None: in work), and each source's `state`, `ms` since the first OBS, `reason`."""
        sources = list(expected(frame.frame_id))
        unexpected = {*frame.obs, *(frame.left.obs if frame.left else ())}.difference(sources)
        away = frame.away if frame.left else self._away(sources)
        return {
            "frame_id": frame.frame_id,
            "hold_ms": frame.held_ns(now) / NS_PER_MS,
            "left": frame.left.reason if frame.left else None,
            "sources": {each: self._answer(frame, each, away, now) for each in (*sources, *sorted(unexpected))},
        }

    def _answer(self, frame: Frame, source: str, away: dict[str, str], now: int) -> Facts:
        at_ns = frame.obs.get(source)
        ms = None if at_ns is None else (at_ns - frame.first_ns) / NS_PER_MS
        reason = self._skip_reason(source, frame.frame_id)
        if source in (frame.left.obs if frame.left else frame.obs):
            return {"state": "seen", "ms": ms, "reason": ""}
        if at_ns is not None:
            return {"state": "late", "ms": ms, "reason": ""}
        if source in frame.left.skipped if frame.left else reason is not None:
            return {"state": "skip", "ms": None, "reason": reason or ""}
        if source in away:
            return {"state": away[source], "ms": None, "reason": ""}
        return {
            "state": "missing" if frame.left else "waiting",
            "ms": frame.held_ns(now) / NS_PER_MS,
            "reason": "",
        }

    def _away(self, sources: Iterable[str]) -> dict[str, str]:
        known = self.down | self.idle
        return {each: "down" if each in self.down else "idle" for each in sources if each in known}

    def _skip_reason(self, source: str, frame_id: int) -> str | None:
        """Why the source leaves the frame out, if it has said so."""
        for skip in reversed(self._skips):
            if skip.source == source and skip.first_frame_id <= frame_id <= skip.last_frame_id:
                return skip.reason
        return None

    def _lose_sight(self, frame_id: int) -> None:
        del self._in_work[frame_id]
        self.untold += 1

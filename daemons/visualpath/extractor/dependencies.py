"""Frames that wait until every extractor that this one depends on has said what it saw on them.

Pure: time is an argument, what becomes of a frame is returned. Laws:

* Each frame offered leaves once: as a Task with the observations of every dependency, Skipped, or given up.
* Tasks leave in the order in which their frames came, so what is known of a frame may wait for the one before it;
  a Skipped leaves when it is decided.
* No frame waits longer than the patience, and at most MAX_FRAMES wait for each stream.
* A word about a frame that has not come yet is kept until it does, at most MAX_FRAMES of each dependency and stream.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from visualpath.core.observation import Observation, observations
from visualpath.process.mailbox import Task
from visualpath.runtime.extractors import ExtractorConfig
from visualpath_protocol.clock import NS_PER_MS
from visualpath_protocol.messages import FrameHeader, Obs, Skip, SkipReason

MAX_FRAMES = 64

Word = Obs | Skip
"""What a dependency says."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A frame that will not be looked at, and why."""

    header: FrameHeader
    reason: SkipReason
    detail: str


Decision = Task | Skipped


@dataclass(slots=True)
class _Frame:
    header: FrameHeader
    due_ns: int
    awaited: set[str]
    seen: dict[str, list[Observation[Any]]] = field(default_factory=dict)


@dataclass(slots=True)
class _Line:
    """One stream: the frames that wait, in the order they came, and by dependency what may be about frames to come."""

    frames: dict[tuple[int, int], _Frame] = field(default_factory=dict)
    newest: tuple[int, int] = (-1, -1)
    words: dict[str, deque[Word]] = field(default_factory=dict)


class Waiting:
    """Brings frames together with what is said about them.

    Args:
        streams: whose frames are offered.
        dependencies: the daemons whose word is needed, by name; those of one group share the frames.
        patience_ns: how long a frame may wait.
    """

    def __init__(self, streams: Iterable[str], dependencies: Mapping[str, ExtractorConfig], patience_ns: int) -> None:
        self._dependencies = dependencies
        self._groups = dict.fromkeys(each.group for each in dependencies.values())
        self._patience_ns = patience_ns
        self._lines = {stream: _Line() for stream in streams}

    def offer(self, header: FrameHeader, now: int) -> list[Decision]:
        """A frame has come."""
        line = self._lines[header.stream]
        line.newest = header.epoch, header.frame_id
        awaited = {name for name, each in self._dependencies.items() if each.looks_at(header.frame_id)}
        blind = [group for group in self._groups if group not in map(self._group, awaited)]
        if blind:
            return [Skipped(header, "stride", f"{blind[0]} does not look at it")]
        decisions: list[Decision] = []
        if len(line.frames) == MAX_FRAMES:
            oldest = line.frames.pop(next(iter(line.frames)))
            decisions.append(Skipped(oldest.header, "backpressure", f"{MAX_FRAMES} newer frames wait as well"))
        line.frames[line.newest] = _Frame(header, now + self._patience_ns, awaited)
        for word in self._recall(line):
            decisions += self._apply(line, word)
        return decisions + self._pass_on(line)

    def told(self, word: Word) -> list[Decision]:
        """A dependency has said something."""
        line = self._lines.get(word.stream)
        if line is None or word.source not in self._dependencies:
            return []
        line.words.setdefault(word.source, deque(maxlen=MAX_FRAMES)).append(word)
        return self._apply(line, word) + self._pass_on(line)

    def expire(self, now: int) -> list[Decision]:
        """Let time pass."""
        decisions: list[Decision] = []
        for line in self._lines.values():
            while line.frames and (frame := next(iter(line.frames.values()))).due_ns <= now:
                del line.frames[frame.header.epoch, frame.header.frame_id]
                silent = ", ".join(sorted(frame.awaited))
                detail = f"nothing from {silent} in {self._patience_ns / NS_PER_MS:g} ms"
                decisions += [Skipped(frame.header, "timeout", detail), *self._pass_on(line)]
        return decisions

    def give_up(self) -> list[FrameHeader]:
        """Let all frames go that wait."""
        left = [frame.header for line in self._lines.values() for frame in line.frames.values()]
        for line in self._lines.values():
            line.frames.clear()
        return left

    def next_deadline(self) -> int | None:
        """When `expire` has something to do."""
        return min(
            (next(iter(line.frames.values())).due_ns for line in self._lines.values() if line.frames), default=None
        )

    def _group(self, name: str) -> str:
        return self._dependencies[name].group

    def _recall(self, line: _Line) -> list[Word]:
        """What was said early, maybe about the newest frame; what is only about frames up to it is kept no longer."""
        early = [word for words in line.words.values() for word in words]
        for words in line.words.values():
            while words and _last(words[0]) <= line.newest:
                words.popleft()
        return early

    def _apply(self, line: _Line, word: Word) -> list[Decision]:
        name = word.source
        if isinstance(word, Obs):
            frame = line.frames.get((word.epoch, word.frame_id))
            if frame is not None and name in frame.awaited:
                frame.awaited.remove(name)
                frame.seen[self._group(name)] = observations(word, self._group(name))
            return []
        hit = [
            key for key, frame in line.frames.items() if _first(word) <= key <= _last(word) and name in frame.awaited
        ]
        return [Skipped(line.frames.pop(key).header, word.reason, f"{self._group(name)} skipped it") for key in hit]

    def _pass_on(self, line: _Line) -> list[Decision]:
        """The oldest frames, as far as everything is known of them."""
        tasks: list[Decision] = []
        while line.frames and not (frame := next(iter(line.frames.values()))).awaited:
            del line.frames[frame.header.epoch, frame.header.frame_id]
            tasks.append(Task(frame.header, frame.seen))
        return tasks


def _first(word: Word) -> tuple[int, int]:
    return word.epoch, word.first_frame_id if isinstance(word, Skip) else word.frame_id


def _last(word: Word) -> tuple[int, int]:
    return word.epoch, word.last_frame_id if isinstance(word, Skip) else word.frame_id

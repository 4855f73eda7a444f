"""Between the thread that receives frames and the one that works: the few frames of each stream that wait.

A drop strategy is how many frames of a stream may wait. When one more comes, the newest of them gives way to it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from visualpath.core.extractor import DropStrategy
from visualpath.core.observation import Observation
from visualpath_protocol.messages import FrameHeader

PLACES: dict[DropStrategy, int] = {"skip_oldest": 1, "skip_intermediate": 2, "skip_busy": 0, "keyframe_only": 1}
"""How many frames of one stream may wait. Where none may, a frame is taken only by a worker that waits for one."""

Seen = Mapping[str, list[Observation[Any]]]
"""What other extractors saw on the same frame, by their names."""


@dataclass(frozen=True, slots=True)
class Task:
    """A frame to look at, and what the extractors that it depends on saw on it."""

    header: FrameHeader
    seen: Seen = field(default_factory=dict)


class Mailbox:
    """`put` and `take` may be called from different threads."""

    def __init__(self, drop: DropStrategy = "skip_oldest") -> None:
        self._places = PLACES[drop]
        self._rows: dict[str, list[Task]] = {}
        self._changed = threading.Condition()
        self._awaited = False
        self._closed = False

    def put(self, task: Task) -> Task | None:
        """Offer a frame; returns the one that will not be worked on for it, which may be the same one.

        Once closed, it is.
        """
        with self._changed:
            if self._closed or (not self._places and (self._rows or not self._awaited)):
                return task
            row = self._rows.setdefault(task.header.stream, [])  # a stream keeps its place among the others
            displaced = row.pop() if row and len(row) >= self._places else None
            row.append(task)
            self._changed.notify()
            return displaced

    def take(self) -> Task | None:
        """The oldest frame of the stream that has waited longest; blocks. None once closed."""
        with self._changed:
            self._awaited = True
            while not self._rows and not self._closed:
                self._changed.wait()
            self._awaited = False
            if self._closed:
                return None
            stream = next(iter(self._rows))
            task, *rest = self._rows.pop(stream)
            if rest:
                self._rows[stream] = rest
            return task

    def __len__(self) -> int:
        """How many frames wait, of all streams."""
        with self._changed:
            return sum(map(len, self._rows.values()))

    def close(self) -> list[Task]:
        """Let `take` return None from now on; returns the frames that still waited."""
        with self._changed:
            self._closed = True
            left = [task for row in self._rows.values() for task in row]
            self._rows.clear()
            self._changed.notify()
            return left

"""Which box is whose: the same face or hand from frame to frame, by place and motion alone. Pure Python.

A box goes to the track it overlaps most, or, where it overlaps none, to the nearest one within about its own size. Each
track is expected where its motion so far takes it, so that two that cross each keep their own id.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

REACH = 1.0  # a centre may be this far from where it was expected, in mean widths and heights of the two boxes
MAX_GROWTH = 2.5  # a box this many times as wide as the track's is another's: faces do not grow so between frames
COAST_NS = 200_000_000  # motion is carried on for this long; after that a lost face may be anywhere near
NEW_SPEED_SHARE = 0.5  # of the last step, in the running mean of the speed: detections jitter


class Box(NamedTuple):
    """Left and top edge, width and height; in fractions of the picture, or any other unit that all boxes share."""

    x: float
    y: float
    w: float
    h: float

    @property
    def centre(self) -> tuple[float, float]:
        """Its middle: x, y."""
        return self.x + self.w / 2, self.y + self.h / 2


@dataclass
class Track:
    """Where one owner was last seen, and how it moves.

    Attributes:
        box: the last one.
        t_ns: event time of that.
        speed: of the centre, per nanosecond: x, y.
    """

    box: Box
    t_ns: int
    speed: tuple[float, float] = (0.0, 0.0)

    def expected(self, t_ns: int) -> Box:
        """Where its box should be at `t_ns`."""
        coast_ns = min(t_ns - self.t_ns, COAST_NS)
        return self.box._replace(x=self.box.x + self.speed[0] * coast_ns, y=self.box.y + self.speed[1] * coast_ns)

    def follow(self, box: Box, t_ns: int) -> None:
        """It has been seen here."""
        elapsed_ns = t_ns - self.t_ns
        if elapsed_ns > 0:
            steps = (there - here for here, there in zip(self.box.centre, box.centre, strict=True))
            x, y = (
                speed + NEW_SPEED_SHARE * (step / elapsed_ns - speed)
                for speed, step in zip(self.speed, steps, strict=True)
            )
            self.speed = x, y
        self.box, self.t_ns = box, t_ns


class Tracker:
    """Gives the boxes of one stream's frames ids that stay with their owners.

    Ids rise from 0 and are never given twice until `reset`.

    Args:
        max_age_ns: an owner that has been out of sight for longer than this (event time) comes back under another id.
    """

    def __init__(self, max_age_ns: int) -> None:
        self._max_age_ns = max_age_ns
        self.reset()

    def reset(self) -> None:
        """Forget all: a new epoch has begun."""
        self._tracks: dict[int, Track] = {}
        self._next_id = 0

    @property
    def ids(self) -> Collection[int]:
        """Of all who are followed, in sight or not."""
        return self._tracks.keys()

    def update(self, boxes: Sequence[Box], t_ns: int) -> list[int]:
        """Say whose the boxes of one frame are.

        Args:
            boxes: of one frame, in any order.
            t_ns: its event time, not before that of the frame before it.

        Returns:
            The id of each box, in their order.
        """
        self._tracks = {i: track for i, track in self._tracks.items() if t_ns - track.t_ns <= self._max_age_ns}
        ids = self._matched(boxes, t_ns)
        for position, box in enumerate(boxes):
            if position in ids:
                self._tracks[ids[position]].follow(box, t_ns)
            else:
                ids[position] = self._next_id
                self._tracks[self._next_id] = Track(box, t_ns)
                self._next_id += 1
        return [ids[position] for position in range(len(boxes))]

    def _matched(self, boxes: Sequence[Box], t_ns: int) -> dict[int, int]:
        """Track by position of the box, for the boxes that have one: the closest pairs first."""
        ids: dict[int, int] = {}
        for _, position, track_id in sorted(self._pairs(boxes, t_ns)):
            if position not in ids and track_id not in ids.values():
                ids[position] = track_id
        return ids

    def _pairs(self, boxes: Sequence[Box], t_ns: int) -> Iterator[tuple[float, int, int]]:
        for track_id, track in self._tracks.items():
            expected = track.expected(t_ns)
            for position, box in enumerate(boxes):
                apart = distance(expected, box)
                if apart <= REACH and 1 / MAX_GROWTH <= box.w / expected.w <= MAX_GROWTH:
                    yield apart - overlap(expected, box), position, track_id


def distance(a: Box, b: Box) -> float:
    """How far two centres are apart, in mean widths and heights of the two boxes, which must not be empty."""
    (ax, ay), (bx, by) = a.centre, b.centre
    across, down = 2 * (ax - bx) / (a.w + b.w), 2 * (ay - by) / (a.h + b.h)
    return float((across**2 + down**2) ** 0.5)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union, 0 to 1."""
    across = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    down = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    shared = max(across, 0.0) * max(down, 0.0)
    return shared / (a.w * a.h + b.w * b.h - shared)

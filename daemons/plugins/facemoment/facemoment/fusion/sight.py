"""What is known of the people in the picture, frame by frame.

A source takes part from the first set that names it, as reporting, skipping or missing, until the next epoch. What it
said stands for `max_gap` of event time; then it is unknown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import msgspec

from facemoment import vision
from facemoment.vision import ClassifiedFace, Expression, Face, Hand, Pose, Role
from visualpath.core.fusion import FrameObservations
from visualpath.core.observation import Observation

T = TypeVar("T", bound=msgspec.Struct)


class Value(NamedTuple):
    """A number, and the frame it was seen on."""

    value: float
    frame_id: int
    t_ns: int


@dataclass(frozen=True, slots=True)
class Report:
    """What the sources say of one frame; None: that source says nothing of it.

    Attributes:
        named: the sources that take part.
        quality: signals.
    """

    frame_id: int
    t_ns: int
    named: frozenset[str]
    faces: list[Face] | None
    expressions: list[Expression] | None
    poses: list[Pose] | None
    hands: list[Hand] | None
    classified: list[ClassifiedFace] | None
    quality: dict[str, float] | None

    @classmethod
    def of(cls, frame: FrameObservations) -> Report:
        """Read a set.

        Raises:
            msgspec.ValidationError: a source's data are of another kind than its name says.
        """
        quality = frame.observations.get("quality")
        return cls(
            frame_id=frame.frame_id,
            t_ns=frame.t_ns,
            named=frozenset((*frame.observations, *frame.missing, *frame.skipped)),
            faces=_read(frame, "face", Face),
            expressions=_read(frame, "expression", Expression),
            poses=_read(frame, "pose", Pose),
            hands=_read(frame, "gesture", Hand),
            classified=_read(frame, "face_classifier", ClassifiedFace),
            quality=None if quality is None else {k: v for each in quality for k, v in each.signals.items()},
        )


def _read(frame: FrameObservations, source: str, kind: type[T]) -> list[T] | None:
    """None also for observations without data: they say nothing of anybody."""
    said: list[Observation[Any]] | None = frame.observations.get(source)
    if said is None or (said and all(each.data is None for each in said)):
        return None
    return vision.read(said, kind)


def finite(value: float | None) -> float | None:
    """A number that can be compared, or None."""
    return value if value is not None and math.isfinite(value) else None


class Sight:
    """What is known on one stream after the last report.

    Args:
        max_gap_ns: for how long what a source said stands.

    Attributes:
        report: the last one.
        max_gap_ns: as given.
    """

    def __init__(self, max_gap_ns: int) -> None:
        self.max_gap_ns = max_gap_ns
        self.reset()

    def reset(self) -> None:
        """Forget all."""
        self.report: Report | None = None
        self._named: frozenset[str] = frozenset()
        self._faces: Report | None = None
        self._classified: Report | None = None
        self._numbers: dict[tuple[int, str], Value] = {}
        """By track and name: angles, which a frame may lack; with track -1: quality."""

    def take(self, report: Report) -> None:
        """Learn what the sources say of the next frame."""
        self.report = report
        self._named |= report.named
        seen = [(-1, name, value) for name, value in (report.quality or {}).items()]
        if report.classified is not None:
            self._classified = report
        if report.faces is not None:
            self._faces = report
            for face in report.faces:
                seen += [(face.track_id, name, angle) for name, angle in (("yaw", face.yaw), ("pitch", face.pitch))
                         if angle is not None]  # fmt: skip
            here = {-1, *(face.track_id for face in report.faces)}
            self._numbers = {key: value for key, value in self._numbers.items() if key[0] in here}
        for track_id, name, number in seen:
            if math.isfinite(number):
                self._numbers[track_id, name] = Value(number, report.frame_id, report.t_ns)

    def takes_part(self, source: str) -> bool:
        """Whether a source has been named in this epoch."""
        return source in self._named

    def faces(self, t_ns: int) -> Report | None:
        """The last report with faces, while it stands."""
        return self._standing(self._faces, t_ns)

    def number(self, track_id: int, name: str, t_ns: int) -> Value | None:
        """An angle of a face, or with -1 a signal of `quality`, while it stands."""
        value = self._numbers.get((track_id, name))
        return value if value is not None and t_ns - value.t_ns <= self.max_gap_ns else None

    def roles(self, t_ns: int) -> dict[int, Role] | None:
        """By track; None: no classifier runs, or what it said stands no longer."""
        report = self._standing(self._classified, t_ns)
        if report is None or report.classified is None:
            return None
        return {each.track_id: each.role for each in report.classified}

    def counted(self, t_ns: int) -> list[Face] | None:
        """The faces that decisions are about: the main one where a classifier runs, else all; None: unknown."""
        report = self.faces(t_ns)
        if report is None or report.faces is None:
            return None
        if not self.takes_part("face_classifier"):
            return report.faces
        roles = self.roles(t_ns)
        return None if roles is None else [face for face in report.faces if roles.get(face.track_id) == "main"]

    def fresh_faces(self) -> list[Face] | None:
        """`counted` of the last report; None also if that has no faces."""
        report = self.report
        return None if report is None or report.faces is None else self.counted(report.t_ns)

    def _standing(self, report: Report | None, t_ns: int) -> Report | None:
        return report if report is not None and t_ns - report.t_ns <= self.max_gap_ns else None

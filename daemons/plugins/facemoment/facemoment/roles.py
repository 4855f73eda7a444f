"""Who is who among the faces: main, passenger, transient, noise. Pure; in event time.

The score of a face: position stability 40 %, size 30 %, centrality 20 %, being inside the frame 10 %.

Laws:
* Noise is a face that is too small, or has been seen for less than half of the time since it first was. Transient is
  one that has not been there for `SETTLED_NS`, one that does not keep its place, and a third and further person.
* The main face is the best of those that are neither; the passenger the best of the others. Each keeps its role until
  another has been better by `MARGIN` for `TAKEOVER_NS`, and while it is out of sight for up to `AWAY_NS`: in that time
  nobody has the role, so that one face that is missed on one frame does not hand it over.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from facemoment.vision import ClassifiedFace, Face, Role

STABILITY, SIZE, CENTRALITY, INSIDE = 0.4, 0.3, 0.2, 0.1

MS = 1_000_000
SETTLED_NS = 500 * MS
FORGET_NS = 2000 * MS
MEAN_NS = 1000 * MS
"""Over about so long the mean place is taken that a face's own is compared with."""
UNSTEADY = 0.4
"""A face that wanders by so much of its width or height about its mean place has stability 0."""
MIN_STABILITY = 0.3
"""Below it a face gets no role; one that has a role keeps it."""
LARGE = 0.3
"""A face as large as a square with sides of this share of the picture's has size 1."""
SMALL = 0.02
"""One smaller than that is noise."""
SEEN_SHARE = 0.5

MARGIN = 0.1
TAKEOVER_NS = 500 * MS
AWAY_NS = 500 * MS


@dataclass(slots=True)
class _Track:
    """What is known of one face.

    Attributes:
        seen_ns: for how long it has been in sight: from the frame before to each that has it.
        x, y: the mean place of its centre.
        spread: mean squared distance from there, in widths and heights of the face.
    """

    first_ns: int
    last_ns: int
    x: float
    y: float
    seen_ns: int = 0
    spread: float = 0.0

    def follow(self, face: Face, t_ns: int, frame_ns: int) -> None:
        """Take its place on a frame, `frame_ns` after the one before."""
        elapsed_ns = t_ns - self.last_ns
        weight = min(1.0, elapsed_ns / max(min(t_ns - self.first_ns, MEAN_NS), 1))
        x, y = _centre(face)
        away = ((x - self.x) / max(face.w, 1e-3)) ** 2 + ((y - self.y) / max(face.h, 1e-3)) ** 2
        self.spread += weight * (away - self.spread)
        self.x += weight * (x - self.x)
        self.y += weight * (y - self.y)
        self.seen_ns += min(elapsed_ns, frame_ns)
        self.last_ns = t_ns

    def age_ns(self) -> int:
        return self.last_ns - self.first_ns

    def stability(self) -> float:
        """Of one that has just come nothing is known: it rises to what it is in `SETTLED_NS`."""
        steady = max(0.0, 1 - math.sqrt(self.spread) / UNSTEADY)
        return steady * min(1.0, self.age_ns() / SETTLED_NS)


class _Title:
    """A role that one face has at a time."""

    def __init__(self) -> None:
        self.holder: int | None = None
        self._seen_ns = 0
        self._rival: tuple[int, int] | None = None  # who has been better, and since when

    def award(self, scores: Mapping[int, float], steady: Collection[int], in_sight: bool, t_ns: int) -> int | None:
        """Say who has it on this frame.

        Args:
            scores: of those that may have it.
            steady: those of them that may get it.
            in_sight: whether the holder, which may no longer have it, is.
        """
        best = max(steady, key=lambda track_id: (scores[track_id], -track_id), default=None)
        if self.holder is None or self.holder not in scores:
            if self.holder is not None and not in_sight and t_ns - self._seen_ns <= AWAY_NS:
                return None
            self.holder, self._rival = best, None
        elif best is not None and scores[best] >= scores[self.holder] + MARGIN:
            if self._rival is None or self._rival[0] != best:
                self._rival = best, t_ns
            if t_ns - self._rival[1] >= TAKEOVER_NS:
                self.holder, self._rival = best, None
        else:
            self._rival = None
        self._seen_ns = t_ns
        return self.holder


class Roles:
    """Gives the faces of one stream their roles."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all: a new epoch has begun."""
        self._tracks: dict[int, _Track] = {}
        self._last_ns = -1
        self._main = _Title()
        self._passenger = _Title()

    def classify(self, faces: Sequence[Face], t_ns: int) -> list[ClassifiedFace]:
        """Say who is who on one frame, in the order of `faces`; `t_ns` is its event time."""
        for face in faces:
            track = self._tracks.setdefault(face.track_id, _Track(t_ns, t_ns, *_centre(face)))
            track.follow(face, t_ns, t_ns - self._last_ns)
        self._tracks = {i: track for i, track in self._tracks.items() if t_ns - track.last_ns <= FORGET_NS}
        self._last_ns = t_ns
        parts = {face.track_id: self._parts(face) for face in faces}
        noise = {face.track_id for face in faces if self._is_noise(face)}
        roles: dict[int, Role] = {i: "noise" if i in noise else "transient" for i in parts}
        scores = {i: each.score for i, each in parts.items() if i not in noise}
        for title, role in ((self._main, "main"), (self._passenger, "passenger")):
            steady = [i for i in scores if self._is_settled(i) and parts[i].stability >= MIN_STABILITY]
            holder = title.award(scores, steady, title.holder in parts, t_ns)
            if holder is not None:
                roles[holder] = "main" if role == "main" else "passenger"
            scores.pop(self._main.holder if self._main.holder is not None else -1, None)
        return [_with_role(parts[face.track_id], roles[face.track_id]) for face in faces]

    def _parts(self, face: Face) -> ClassifiedFace:
        x, y = _centre(face)
        stability = self._tracks[face.track_id].stability()
        size = min(1.0, math.sqrt(face.w * face.h) / LARGE)
        centrality = max(0.0, 1 - math.hypot(x - 0.5, y - 0.5) / math.hypot(0.5, 0.5))
        return ClassifiedFace(
            track_id=face.track_id,
            role="transient",
            score=STABILITY * stability + SIZE * size + CENTRALITY * centrality + INSIDE * face.inside,
            stability=stability,
            size=size,
            centrality=centrality,
            inside=face.inside,
        )

    def _is_settled(self, track_id: int) -> bool:
        return self._tracks[track_id].age_ns() >= SETTLED_NS

    def _is_noise(self, face: Face) -> bool:
        track = self._tracks[face.track_id]
        flickers = self._is_settled(face.track_id) and track.seen_ns < SEEN_SHARE * track.age_ns()
        return math.sqrt(face.w * face.h) < SMALL or flickers


def _with_role(parts: ClassifiedFace, role: Role) -> ClassifiedFace:
    return ClassifiedFace(
        track_id=parts.track_id, role=role, score=parts.score, stability=parts.stability, size=parts.size,
        centrality=parts.centrality, inside=parts.inside,
    )  # fmt: skip


def _centre(face: Face) -> tuple[float, float]:
    return face.x + face.w / 2, face.y + face.h / 2

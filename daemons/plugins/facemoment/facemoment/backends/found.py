"""What backends say about one picture, before it is known who is who. All as in `vision`, boxes not clipped."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from facemoment.head_pose import HeadPose
from facemoment.tracking import Box

Points = npt.NDArray[np.floating[Any]]


class FoundFace(NamedTuple):
    """A face; what a backend cannot tell, or was not to look for, is None."""

    box: Box
    confidence: float
    head: HeadPose | None = None
    landmarks: Points | None = None
    landmarks68: Points | None = None
    keypoints: Points | None = None
    embedding: Points | None = None
    age: int | None = None
    gender: Literal["female", "male"] | None = None


class FoundPerson(NamedTuple):
    """A person's body."""

    box: Box
    confidence: float
    keypoints: Points
    landmarks: Points | None = None


def largest(faces: list[FoundFace], count: int) -> list[int]:
    """The places in the list of the largest boxes, the largest first."""
    return sorted(range(len(faces)), key=lambda i: faces[i].box.w * faces[i].box.h, reverse=True)[:count]

"""What the backends of an extractor offer: one protocol for each kind, so that one library can stand in for another.

They are what the loaders in `BaseExtractor.backends` return. The streams of a process share one, from one thread or
from several.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeVar

from visualbase.frame import Frame

Found = TypeVar("Found", covariant=True)
Face = TypeVar("Face", contravariant=True)


class Backend(Protocol):
    """What all have in common.

    Attributes:
        about: what does the work, by name: `device`, `model`; it goes into the metadata of observations.
    """

    @property
    def about(self) -> Mapping[str, str]: ...

    def close(self) -> None:
        """Free what it holds. It cannot be used after that."""


class DetectionBackend(Backend, Protocol[Found]):
    """Finds things, each picture on its own."""

    def detect(self, frame: Frame) -> Sequence[Found]:
        """All that is in a picture of shape (height, width, 3), in B, G, R order; the best confidence first."""


class ExpressionBackend(Backend, Protocol[Face, Found]):
    """Reads expressions from faces that were found already."""

    def read(self, frame: Frame, faces: Sequence[Face]) -> Sequence[Found]:
        """The expressions of those of a picture's faces that it can read, in their order."""


class PoseBackend(Backend, Protocol[Found]):
    """Finds people's bodies; it may follow them, so it is shown the pictures of a stream in order."""

    def find(self, frame: Frame) -> Sequence[Found]:
        """All who are in a picture of shape (height, width, 3), in B, G, R order; the best confidence first."""

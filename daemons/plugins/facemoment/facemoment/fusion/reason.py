"""What may make a moment: the interface of the kinds of reasons."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from facemoment.fusion.sight import Sight
from visualpath.core.conditions import Condition, Signal

NO_FACE = "no face, or no main one where face_classifier runs"


@dataclass(frozen=True, slots=True)
class Sign:
    """What one owner shows on one frame.

    Attributes:
        values: what the reason's condition is about, and what else speaks for it; what is unknown is left out.
        score: how strong it is, 0 to 1.
        text: in words.
    """

    values: Mapping[Signal, float]
    score: float
    text: str


class Reason(ABC):
    """One kind of reason on one stream.

    Attributes:
        label: the name of the moment.
        condition: when it holds.
        nobody: what is said where no owner is there.
    """

    label: str
    condition: Condition
    nobody: str

    @abstractmethod
    def look(self, sight: Sight) -> Mapping[Hashable, Sign] | None:
        """What each owner (a face, a hand, a pair) shows on the last frame.

        Returns:
            None: its source says nothing of this frame, so nothing is known. An owner that is not in it is not there.
        """

    def reset(self) -> None:
        """Forget the past."""

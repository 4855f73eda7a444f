"""The interface of a fusion plug-in: aligned sets in, triggers out; stateful and pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from visualpath.core.observation import Observation
from visualpath.core.trigger import Trigger


@dataclass(frozen=True, slots=True)
class FrameObservations:
    """Everything the extractors said about one frame, as one aligned set.

    Attributes:
        frame_id: the frame.
        t_ns: its event time.
        observations: by source name; a source that looked and found nothing has an empty list.
        missing: expected sources that said nothing, not even that they skipped it.
        skipped: expected sources that had announced not to report it.
    """

    frame_id: int
    t_ns: int
    observations: Mapping[str, list[Observation[Any]]]
    missing: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


@dataclass(frozen=True)
class FusionResult:
    """What one frame led to. `triggers` holds every trigger; `trigger` is the first."""

    triggers: tuple[Trigger, ...] = ()
    observations_used: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def should_trigger(self) -> bool:
        """Whether anything fired."""
        return bool(self.triggers)

    @property
    def trigger(self) -> Trigger | None:
        """The first trigger."""
        return self.triggers[0] if self.triggers else None

    @property
    def score(self) -> float:
        """Score of the first trigger, 0.0 without one."""
        return self.triggers[0].score if self.triggers else 0.0

    @property
    def reason(self) -> str:
        """Reason of the first trigger."""
        return self.triggers[0].reason if self.triggers else ""


class BaseFusion(ABC):
    """Decides from aligned sets what was a moment. One object per stream; sets come in rising event time."""

    name: ClassVar[str] = ""

    @abstractmethod
    def update(self, frame: FrameObservations) -> FusionResult:
        """Take the next aligned set."""

    def reset(self) -> None:
        """Forget everything: a new epoch has begun, its time line has nothing to do with the old one."""

    def doubts(self, frame_ns: int) -> list[str]:
        """What would keep it from deciding well on a stream with a frame every `frame_ns`; told to the operator."""
        return []

    def resume(self, label: str, t_end_ns: int) -> None:
        """Learn, after a restart, when a trigger of `label` last fired in the present epoch."""

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


@dataclass(frozen=True, slots=True)
class GateChange:
    """What stands before all decisions, such as the quality of the picture, lets them through from here on, or not."""

    is_open: bool
    why: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a reason that held on this frame: it fired, or `why` it did not."""

    label: str
    fired: bool
    why: str


@dataclass(frozen=True)
class FusionResult:
    """What one frame led to. `triggers` holds every trigger; `trigger` is the first. `notes` are for the trace."""

    triggers: tuple[Trigger, ...] = ()
    observations_used: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)
    notes: tuple[GateChange | Decision, ...] = ()

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


@dataclass(frozen=True, slots=True)
class Reading:
    """One comparison of a condition, and what is known about its signal.

    Attributes:
        comparison: as it is written.
        source, signal: what it reads.
        holds: true, false, or None for unknown.
        wanted: what it would have to be for the condition to be true; None: the condition does not fail by it.
        value: the last value seen, also one that stands no longer; None: never seen.
        shown: the value for people, in digits enough to tell it from the threshold.
        absent: why there is no value although its source has spoken, for people: `no hand`.
        frame_id, t_ns: where that was.
        stands_until_ns: event time until which that value stands.
    """

    comparison: str
    source: str
    signal: str
    holds: bool | None
    wanted: bool | None
    value: float | None = None
    frame_id: int | None = None
    t_ns: int | None = None
    stands_until_ns: int | None = None
    shown: str = ""
    absent: str = ""


@dataclass(frozen=True, slots=True)
class RuleState:
    """How one rule stands after a frame.

    Attributes:
        holds: whether the condition is true, false, or unknown (None).
        hold_from_ns: event time since which it has been true; None: it is not, or does not count yet.
        for_ns: how long it must be.
        cooldown_until_ns: event time before which nothing counts; 0: it has not fired.
        ended_by: what kept its hold up until this frame, and no longer did.
        waits_for: what it lacked to fire besides its condition, `for` and cooldown, for people: `the gate to open`.
    """

    label: str
    condition: str
    holds: bool | None
    readings: tuple[Reading, ...]
    hold_from_ns: int | None
    for_ns: int
    cooldown_until_ns: int
    ended_by: tuple[Reading, ...] = ()
    waits_for: str = ""


class BaseFusion(ABC):
    """Decides from aligned sets what was a moment. One object per stream; sets come in rising event time.

    It is made with the mapping `fusion.config` of visualpath.yaml; a bad one raises `PluginConfigError`.

    Attributes:
        name: the fusion's name; of the class.
        depends: the extractors, by the names visualpath.yaml gives them, without which it would never fire, or not for
            all that its configuration asks for; of the class, or of the object.
    """

    name: ClassVar[str] = ""
    depends: tuple[str, ...] = ()

    @abstractmethod
    def update(self, frame: FrameObservations) -> FusionResult:
        """Take the next aligned set."""

    def reset(self) -> None:
        """Forget everything: a new epoch has begun, its time line has nothing to do with the old one."""

    def doubts(self, frame_ns: int) -> list[str]:
        """What would keep it from deciding well on a stream with a frame every `frame_ns`; told to the operator."""
        return []

    def explain(self) -> list[RuleState]:
        """How each of its rules stands after the last frame; told to the operator who asks why there was no trigger."""
        return []

    def resume(self, label: str, t_end_ns: int) -> None:
        """Learn, after a restart, when a trigger of `label` last fired in the present epoch."""

"""What an extractor says about one frame."""

from __future__ import annotations

from dataclasses import InitVar, dataclass, field
from typing import Any, Generic, TypeVar

from visualpath_protocol.messages import Obs

T = TypeVar("T")


@dataclass
class Observation(Generic[T]):
    """One extractor's result for one frame.

    An extractor need only give `signals` and `data`: the host fills in `source`, `frame_id`, `t_ns`
    and `timing` where they are left at their defaults.

    Attributes:
        source: name of the extractor.
        frame_id: the frame it is about; -1: filled in by the host.
        t_ns: event time of that frame in ns; -1: filled in by the host.
        signals: scalar features by short name; finite numbers. Rules call them `<source>.<name>`.
        data: domain data (boxes, landmarks, ...): MessagePack builtins, numpy arrays, dataclasses
            or msgspec structs.
        metadata: anything else that is worth keeping.
        timing: milliseconds by component.
    """

    source: str = ""
    frame_id: int = -1
    t_ns: int = -1
    signals: dict[str, float] = field(default_factory=dict)
    data: T | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    timing: dict[str, float] | None = None
    confidence: InitVar[float | None] = None

    def __post_init__(self, confidence: float | None) -> None:
        """Keep the documents' early form `Observation(confidence=...)` as a signal."""
        if confidence is not None:
            self.signals = {**self.signals, "confidence": confidence}


def observations(obs: Obs, source: str) -> list[Observation[Any]]:
    """What an OBS holds, as plug-ins get it, by the name `source`."""
    return [
        Observation(
            source=source,
            frame_id=obs.frame_id,
            t_ns=obs.t_ns,
            signals=body.signals,
            data=body.data,
            metadata=body.metadata,
            timing=obs.timing,
        )
        for body in obs.observations
    ]

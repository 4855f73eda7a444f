"""The decision that something was a moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class EvidenceItem:
    """One value that spoke for a trigger, with the frame it was seen on."""

    source: str
    frame_id: int
    signal: str
    value: float


@dataclass(frozen=True)
class Trigger:
    """A moment on one stream's time line.

    Attributes:
        label: what kind of moment; a name that may become a file name.
        t_start_ns: event time at which it began.
        t_end_ns: event time of the frame on which it was decided.
        frame_id: that frame.
        score: how sure, in [0, 1].
        reason: one line for people.
        evidence: the values behind the decision.
        metadata: MessagePack builtins.
    """

    label: str
    t_start_ns: int
    t_end_ns: int
    frame_id: int
    score: float = 1.0
    reason: str = ""
    evidence: tuple[EvidenceItem, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

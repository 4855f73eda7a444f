"""What the decision of one stream is fed (inputs), and what comes of it (outcomes)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from visualpath.core.align_types import Active, AlignedSet, Drop, Idle, Late, Reset
from visualpath.core.fusion import Decision, GateChange
from visualpath_protocol.messages import Bound, Message, Name, Obs, Ping, Skip, StreamState, TimeNs, Trig

Firings = dict[str, tuple[int, int]]
"""By label: epoch and t_end_ns of the last firing."""


# Inputs that are no messages of the wire. They are messages of the record.


class SourceDown(Message, tag="DOWN", kw_only=True, frozen=True):
    """A source no longer takes part."""

    source: Name


class Tick(Message, tag="TICK", kw_only=True, frozen=True):
    """Time has come this far."""


class ByHand(Message, tag="BY_HAND", kw_only=True, frozen=True):
    """A person asks for a trigger at `t_ns`."""

    label: Name
    t_ns: TimeNs
    frame_id: int
    reason: str


Input = Ping | SourceDown | StreamState | Obs | Skip | Bound | Tick | ByHand
"""A PING says that its source takes part from now on."""


# Outcomes: the aligner's own, and these.


@dataclass(frozen=True, slots=True)
class Fused:
    """A frame has left the alignment and the decision has seen it.

    Attributes:
        epoch: of its OBS.
        aligned: the set; its payloads are the OBS messages.
        missing: for each expected source that said nothing: was it `down`, `idle`, or `slow` (up, and waited for).
    """

    epoch: int
    aligned: AlignedSet
    missing: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FusionFailed:
    """The decision raised; it has missed this frame."""

    frame_id: int
    detail: str


@dataclass(frozen=True, slots=True)
class Noted:
    """What the decision wants to be known about a frame, besides its triggers."""

    epoch: int
    frame_id: int
    t_ns: int
    note: GateChange | Decision


@dataclass(frozen=True, slots=True)
class WildBound:
    """A promise about a future that no frame has come near was not believed."""

    source: str
    t_ns: int


@dataclass(frozen=True, slots=True)
class Unreported:
    """A source has said neither OBS nor SKIP of so many frames, and will not any more."""

    source: str
    frames: int


@dataclass(frozen=True, slots=True)
class Doubt:
    """What would keep the decision from deciding well on this stream."""

    text: str


Outcome = Fused | Trig | Noted | FusionFailed | WildBound | Unreported | Doubt | Late | Drop | Idle | Active | Reset

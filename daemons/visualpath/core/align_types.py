"""What the alignment engine is told once (parameters), and what it says (outputs).

`as_dict()` of an output is the form of the test vectors (spec: alignment contract, "Vector format").
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Literal

SetReason = Literal["complete", "window", "overflow", "reset", "close"]
DropReason = Literal[
    "duplicate",
    "too_late",
    "t_mismatch",
    "invalid",
    "future",
    "past",
    "epoch",
    "stale_epoch",
    "too_many_sources",
]
ResetKind = Literal["future", "past", "epoch"]

MS = 1_000_000


@dataclass(frozen=True, slots=True)
class AlignParams:
    """The engine's parameters; all times in ns.

    Attributes:
        window_ns: a frame leaves at the latest this long after its first OBS.
        allowed_lateness_ns: an OBS up to window + this behind the frontier is `late`, beyond it `too_late`.
        idle_timeout_ns: a source that has not answered a frame for this long is waited for no more.
        max_buffered_frames: bound of the buffer, of the memory of released frames, and of the skips kept
            per source.
        future_guard_ns: event time may run ahead of the wall clock by this much; choose at least the
            largest frame interval plus the longest stall.
        reset_backstep_ns: event time further than this behind the frontier is another time line.
        jump_confirm: OBS in a row that prove a discontinuity; 0: only `Aligner.epoch()` resets.
        max_sources: bound of the known sources, those that are down included.

    Raises:
        ValueError: a negative value, or a bound of 0.
    """

    window_ns: int = 100 * MS
    allowed_lateness_ns: int = 50 * MS
    idle_timeout_ns: int = 1000 * MS
    max_buffered_frames: int = 256
    future_guard_ns: int = 1000 * MS
    reset_backstep_ns: int = 5000 * MS
    jump_confirm: int = 3
    max_sources: int = 64

    def __post_init__(self) -> None:
        for param in fields(self):
            least = 1 if param.name in ("max_buffered_frames", "max_sources") else 0
            value = getattr(self, param.name)
            if value < least:
                raise ValueError(f"AlignParams.{param.name} is {value}; give at least {least}")


@dataclass(frozen=True, slots=True)
class AlignedSet:
    """One frame with all OBS that came in time; leaves once per (gen, frame), in rising order (G1, G2).

    Attributes:
        obs: sources whose OBS is in the set; `payloads` has the payload of each.
        missing: expected sources that neither reported nor promised not to.
        skipped: expected sources that promised not to report (SKIP, BOUND, stride).
        hold_ns: from the first OBS to the release.
        spread_ns: from the first OBS to the last.
    """

    gen: int
    frame_id: int
    t_ns: int
    obs: tuple[str, ...]
    missing: tuple[str, ...]
    skipped: tuple[str, ...]
    reason: SetReason
    hold_ns: int
    spread_ns: int
    payloads: dict[str, Any] = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        return {
            "out": "set",
            "gen": self.gen,
            "frame": self.frame_id,
            "t": self.t_ns,
            "obs": list(self.obs),
            "missing": list(self.missing),
            "skipped": list(self.skipped),
            "reason": self.reason,
            "hold": self.hold_ns,
            "spread": self.spread_ns,
        }


@dataclass(frozen=True, slots=True)
class Late:
    """An OBS for a frame at or behind the frontier; its set, if it had one, is not emitted again.

    Attributes:
        revision: counts the late OBS of this frame, from 1.
        orphan: the engine held no record of this frame: no set of it has left.
        behind_ns: frontier time - t_ns.
    """

    gen: int
    frame_id: int
    t_ns: int
    source: str
    revision: int
    orphan: bool
    behind_ns: int
    payload: Any = field(repr=False, compare=False)

    def as_dict(self) -> dict[str, Any]:
        return {
            "out": "late",
            "gen": self.gen,
            "frame": self.frame_id,
            "t": self.t_ns,
            "source": self.source,
            "revision": self.revision,
            "orphan": self.orphan,
            "behind": self.behind_ns,
        }


@dataclass(frozen=True, slots=True)
class Drop:
    """An OBS that was refused."""

    source: str
    frame_id: int
    t_ns: int
    reason: DropReason

    def as_dict(self) -> dict[str, Any]:
        return {
            "out": "drop",
            "source": self.source,
            "frame": self.frame_id,
            "t": self.t_ns,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Idle:
    """A source has owed an answer for idle_timeout: frames wait for it no more."""

    source: str

    def as_dict(self) -> dict[str, Any]:
        return {"out": "idle", "source": self.source}


@dataclass(frozen=True, slots=True)
class Active:
    """An idle source gave a sign of life: frames wait for it again."""

    source: str

    def as_dict(self) -> dict[str, Any]:
        return {"out": "active", "source": self.source}


@dataclass(frozen=True, slots=True)
class Reset:
    """Event time starts anew as generation `gen`; nothing of the generation before is remembered."""

    gen: int
    kind: ResetKind

    def as_dict(self) -> dict[str, Any]:
        return {"out": "reset", "gen": self.gen, "kind": self.kind}


Output = AlignedSet | Late | Drop | Idle | Active | Reset

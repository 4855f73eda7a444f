"""What a trace is made of: one record says one thing that happened.

In a file each record is one JSON object on a line of its own: `record_type`, the fields below, and what `Stamped` adds.
A record that was emitted must not be changed any more, nor what it holds: it is encoded later, in another thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any, ClassVar, Literal

import msgspec

from visualpath_protocol.clock import rfc3339
from visualpath_protocol.messages import TimeNs


class TraceLevel(IntEnum):
    """How much is traced; each level has what those below it have."""

    OFF = 0
    MINIMAL = 1
    """Triggers."""
    NORMAL = 2
    """A summary of each frame, drops, delays, and changes of state."""
    VERBOSE = 3
    """All signals and timings."""


class TraceRecord(msgspec.Struct, frozen=True, kw_only=True, tag_field="record_type"):
    """Base of all records.

    Attributes:
        level: from which level on the record is kept.
        stream, epoch, t_ns: which time line, and the event time on it; empty, 0 and None where there is none.
    """

    level: ClassVar[TraceLevel] = TraceLevel.VERBOSE

    stream: str = ""
    epoch: int = 0
    t_ns: int | None = None

    @property
    def record_type(self) -> str:
        """The name of this kind of record."""
        return str(type(self).__struct_config__.tag)

    def place(self) -> str:
        """The time line, for people, with a space behind it."""
        return f"{self.stream}/{self.epoch} " if self.stream else ""


class TimingRecord(TraceRecord, frozen=True, tag="timing"):
    """How long a component worked on a frame.

    Attributes:
        processing_ms: the whole work on the frame.
        queue_depth: how many frames waited for the component when it had done.
        decode_ms: of `processing_ms`: reading and decoding the picture.
    """

    level: ClassVar[TraceLevel] = TraceLevel.VERBOSE

    frame_id: int
    component: str
    processing_ms: float
    queue_depth: int = 0
    decode_ms: float = 0.0

    def __str__(self) -> str:
        decode = f", decode {self.decode_ms:.1f}" if self.decode_ms else ""
        took = f"{self.processing_ms:.1f} ms{decode}, {self.queue_depth} waiting"
        return f"{self.component} {self.place()}#{self.frame_id} {took}"


class FrameDropRecord(TraceRecord, frozen=True, kw_only=True, tag="frame_drop"):
    """Frames that a component left out.

    Attributes:
        frame_id: the last of them, or the frame at which this was decided.
        dropped_frame_ids: at most `LISTED_MAX` of one run of frames.
        more: how many of that run are not listed.
        reason: backpressure, timeout, or another reason of a SKIP or of a dropped OBS.
    """

    level: ClassVar[TraceLevel] = TraceLevel.NORMAL
    LISTED_MAX: ClassVar[int] = 1000

    frame_id: int = -1
    dropped_frame_ids: Sequence[int] = ()
    reason: str
    component: str = ""
    more: int = 0
    detail: str = ""

    @classmethod
    def of_run(cls, run: range, reason: str, **others: Any) -> FrameDropRecord:
        """A run of frames, which may be long; `others` are the remaining fields."""
        listed = run[: cls.LISTED_MAX]
        more = len(run) - len(listed)
        return cls(frame_id=run[-1], dropped_frame_ids=tuple(listed), reason=reason, more=more, **others)

    def count(self) -> int:
        """How many frames were left out."""
        return len(self.dropped_frame_ids) + self.more

    def __str__(self) -> str:
        detail = f": {self.detail}" if self.detail else ""
        return f"{self.component or '-'} {self.place()}#{self.frame_id} {self.count()} x {self.reason}{detail}"


class SyncDelayRecord(TraceRecord, frozen=True, tag="sync_delay"):
    """A frame that waited for observations longer than it should.

    Attributes:
        delay_ms: how long it had been held up.
        waiting_for: the sources that had not reported.
    """

    level: ClassVar[TraceLevel] = TraceLevel.NORMAL

    frame_id: int
    delay_ms: float
    waiting_for: Sequence[str]

    def __str__(self) -> str:
        return f"{self.place()}#{self.frame_id} {self.delay_ms:.1f} ms, waiting for {', '.join(self.waiting_for)}"


class SetRecord(TraceRecord, frozen=True, tag="set"):
    """The summary of a fused frame.

    Attributes:
        obs, missing, skipped: the sources that reported, did not, and had said that they would not.
        reason: why the frame left the alignment: complete, window, ...
        hold_ms: how long it was held there.
    """

    level: ClassVar[TraceLevel] = TraceLevel.NORMAL

    frame_id: int
    obs: Sequence[str]
    missing: Sequence[str]
    skipped: Sequence[str]
    reason: str
    hold_ms: float

    def __str__(self) -> str:
        parts = {"obs": self.obs, "missing": self.missing, "skipped": self.skipped}
        named = "; ".join(f"{name} {','.join(sources)}" for name, sources in parts.items() if sources)
        return f"{self.place()}#{self.frame_id} {self.reason} after {self.hold_ms:.1f} ms: {named}"


class LateRecord(TraceRecord, frozen=True, tag="late"):
    """An observation that came after its frame had left, `behind_ms` behind the newest that has."""

    level: ClassVar[TraceLevel] = TraceLevel.NORMAL

    frame_id: int
    source: str
    behind_ms: float

    def __str__(self) -> str:
        return f"{self.source} {self.place()}#{self.frame_id} {self.behind_ms:.1f} ms behind"


class TriggerRecord(TraceRecord, frozen=True, tag="trigger"):
    """A moment was decided."""

    level: ClassVar[TraceLevel] = TraceLevel.MINIMAL

    trig_id: str
    label: str
    t_start_ns: TimeNs
    t_end_ns: TimeNs
    score: float
    reason: str
    frame_id: int = -1

    def __str__(self) -> str:
        span = f"{self.t_start_ns / 1e9:.3f}s..{self.t_end_ns / 1e9:.3f}s"
        return f"{self.trig_id} {self.label} {self.place()}{span} score {self.score:.2f}: {self.reason}"


class ClipRecord(TraceRecord, frozen=True, tag="clip"):
    """What became of a trigger: a clip under `path`, or none because of `why`."""

    level: ClassVar[TraceLevel] = TraceLevel.NORMAL

    trig_id: str
    state: str
    path: str = ""
    why: str = ""

    def __str__(self) -> str:
        return f"{self.trig_id} {self.state} {self.path or self.why}"


class StateChangeRecord(TraceRecord, frozen=True, tag="state_change"):
    """A stream or a source changed.

    Attributes:
        component: the stream, or the source.
        state: what it is from here on: live, ended, up, down, idle, active, ...
    """

    level: ClassVar[TraceLevel] = TraceLevel.NORMAL

    component: str
    state: str
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.component} {self.place()}is {self.state}{f': {self.reason}' if self.reason else ''}"


class GateChangeRecord(TraceRecord, frozen=True, tag="gate_change"):
    """What stands before all decisions of a stream lets them through from here on, or no longer does."""

    level: ClassVar[TraceLevel] = TraceLevel.NORMAL

    frame_id: int
    state: Literal["open", "closed"]
    reason: str

    def __str__(self) -> str:
        return f"{self.place()}#{self.frame_id} {self.state}: {self.reason}"


class DecisionRecord(TraceRecord, frozen=True, tag="decision"):
    """A reason for a trigger held on a frame; whether it fired, and if not, what it lacked."""

    level: ClassVar[TraceLevel] = TraceLevel.VERBOSE

    frame_id: int
    label: str
    fired: bool
    reason: str

    def __str__(self) -> str:
        return f"{self.place()}#{self.frame_id} {self.label} {'fired' if self.fired else 'did not fire'}: {self.reason}"


class ObservationRecord(TraceRecord, frozen=True, tag="observation"):
    """What a source saw on a frame: the signals of each of its observations."""

    level: ClassVar[TraceLevel] = TraceLevel.VERBOSE

    frame_id: int
    source: str
    signals: Sequence[Mapping[str, float]]

    def __str__(self) -> str:
        seen = " | ".join(" ".join(f"{k}={v:.3g}" for k, v in each.items()) or "no signals" for each in self.signals)
        return f"{self.source} {self.place()}#{self.frame_id} {seen or 'nothing found'}"


class DroppedRecord(TraceRecord, frozen=True, tag="dropped"):
    """Records that are missing from the trace at this place."""

    level: ClassVar[TraceLevel] = TraceLevel.MINIMAL

    count: int
    reason: str

    def __str__(self) -> str:
        return f"{self.count} records are missing here: {self.reason}"


class Stamped(msgspec.Struct, frozen=True):
    """A record with when (monotonic, and UTC for people) and in which daemon it was emitted."""

    record: TraceRecord
    mono_ns: int
    wall_ns: int
    daemon: str

    def __str__(self) -> str:
        line = f"{rfc3339(self.wall_ns)[11:]} {self.daemon} {self.record.record_type:12} {self.record}"
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)

"""Every message of PROTOCOL.md: fields, units, validation and log text.

All times are integers in ns. `t_ns` is event time on the stream's own time line; `mono_ns` is
CLOCK_MONOTONIC of the sender's host; `wall_ns` is UTC and for people only.
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from visualpath_protocol.errors import InvalidName
from visualpath_protocol.version import PROTOCOL_MAJOR, PROTOCOL_VERSION

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,31}\Z"
_NAME = re.compile(NAME_PATTERN)

Name = Annotated[str, Meta(pattern=NAME_PATTERN)]
DaemonName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}\Z")]
"""Longer than a name: it is `extractor-` or `frame-` and a name."""
COUNT_MAX = 2**63 - 1
TEXT_MAX = 2000

Count = Annotated[int, Meta(ge=0, le=COUNT_MAX)]
TimeNs = Annotated[int, Meta(ge=0, le=COUNT_MAX)]
Finite = Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
Score = Annotated[float, Meta(ge=0.0, le=1.0)]
Pixels = Annotated[int, Meta(ge=1, le=65535)]
Text = Annotated[str, Meta(max_length=TEXT_MAX)]
TrigId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]


def check_name(what: str, name: str) -> str:
    """Return `name`, or raise InvalidName. `what` says in the error whose name it is."""
    if not _NAME.match(name):
        raise InvalidName(what, name)
    return name


class Message(msgspec.Struct, tag_field="t", kw_only=True, frozen=True):
    """Base of all messages: a MessagePack map with the type tag `t` and the protocol's major version `v`."""

    v: Count = PROTOCOL_MAJOR


# Frames ------------------------------------------------------------------------------------------


class Payload(msgspec.Struct, kw_only=True, frozen=True):
    """Where one form of a picture lies in the ring."""

    kind: Literal["jpeg", "bgr"]
    width: Pixels
    height: Pixels
    segment: Annotated[str, Meta(pattern=r"^[0-9]{1,19}-[0-9]{1,19}\.seg\Z")]
    offset: Count
    length: Count


class FrameHeader(Message, tag="FRAME", kw_only=True, frozen=True):
    """One frame has been captured; its bytes lie in the ring."""

    stream: Name
    epoch: Count
    frame_id: Count
    t_ns: TimeNs
    wall_ns: TimeNs
    mono_ns: TimeNs
    width: Pixels
    height: Pixels
    payloads: list[Payload]

    def __str__(self) -> str:
        """E.g. `FRAME cam1/3 #120 4.000s`."""
        return f"FRAME {self.stream}/{self.epoch} #{self.frame_id} {seconds(self.t_ns)}"


StreamStateName = Literal["starting", "live", "stalled", "ended"]


class StreamState(Message, tag="STREAM", kw_only=True, frozen=True):
    """How a stream is; sent at each change and every 500 ms."""

    stream: Name
    epoch: Count
    state: StreamStateName
    reason: Text = ""
    fps: Annotated[float, Meta(ge=0.0, le=sys.float_info.max)] = 0.0
    width: Annotated[int, Meta(ge=0, le=65535)] = 0
    height: Annotated[int, Meta(ge=0, le=65535)] = 0
    origin_ns: int = 0
    first_t_ns: TimeNs | None = None
    last_frame_id: Count | None = None
    last_t_ns: TimeNs | None = None

    def __str__(self) -> str:
        """E.g. `STREAM cam1/3 live`."""
        return f"STREAM {self.stream}/{self.epoch} {self.state}{': ' + self.reason if self.reason else ''}"


# Observations ------------------------------------------------------------------------------------


class ObservationBody(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One observation inside an OBS. `signals` are finite; `data` is MessagePack builtins and arrays."""

    signals: dict[str, float] = {}
    data: Any = None
    metadata: dict[str, Any] = {}
    confidence: Score | None = None

    def __post_init__(self) -> None:
        """Refuse what no comparison can handle."""
        for name, value in self.signals.items():
            if not math.isfinite(value):
                raise ValueError(f"signal {name!r} is {value}: signals must be finite")


class SourceMessage(Message, kw_only=True, frozen=True):
    """Common to what an extractor says about one stream."""

    source: Name
    instance: Name
    seq: Count
    stream: Name
    epoch: Count


class Obs(SourceMessage, tag="OBS", kw_only=True, frozen=True):
    """One source has looked at one frame; an empty list means it found nothing."""

    frame_id: Count
    t_ns: TimeNs
    mono_ns: TimeNs
    observations: list[ObservationBody]
    bound_ns: TimeNs
    timing: dict[str, Finite] = {}

    def __str__(self) -> str:
        """E.g. `OBS face cam1/3 #120 4.000s`."""
        return f"OBS {self.source} {self.stream}/{self.epoch} #{self.frame_id} {seconds(self.t_ns)}"


SkipReason = Literal["backpressure", "gap", "stride", "evicted", "error", "timeout"]


class Skip(SourceMessage, tag="SKIP", kw_only=True, frozen=True):
    """The source will not report these frames. Sent when that is decided."""

    first_frame_id: Count
    last_frame_id: Count
    first_t_ns: TimeNs
    t_ns: TimeNs
    reason: SkipReason
    detail: Text = ""

    def __post_init__(self) -> None:
        """The run of frames must run forwards."""
        if self.last_frame_id < self.first_frame_id:
            raise ValueError(f"last_frame_id {self.last_frame_id} is below first_frame_id {self.first_frame_id}")

    def __str__(self) -> str:
        """E.g. `SKIP face cam1/3 #120-#121 backpressure`."""
        run = f"#{self.first_frame_id}-#{self.last_frame_id}"
        return f"SKIP {self.source} {self.stream}/{self.epoch} {run} {self.reason} {self.detail}".rstrip()


class Bound(SourceMessage, tag="BOUND", kw_only=True, frozen=True):
    """The source will say nothing any more about frames before t_ns."""

    t_ns: TimeNs

    def __str__(self) -> str:
        """E.g. `BOUND face cam1/3 4.000s`."""
        return f"BOUND {self.source} {self.stream}/{self.epoch} {seconds(self.t_ns)}"


ExtractorState = Literal["starting", "ready", "busy", "degraded", "stopping"]


class Ping(Message, tag="PING", kw_only=True, frozen=True):
    """The extractor's complete registration, every 500 ms: a restarted fusion knows all from any PING."""

    source: Name
    instance: Name
    version: Text = PROTOCOL_VERSION
    streams: list[Name]
    ordered: bool = True
    stride: Annotated[int, Meta(ge=1)] = 1
    phase: Count = 0
    expected: bool = True
    state: ExtractorState
    busy_ns: Count = 0
    sent: dict[str, Count] = {}
    counters: dict[str, Count] = {}

    def __post_init__(self) -> None:
        """A source that looks at no frame is none."""
        if self.phase >= self.stride:
            raise ValueError(f"phase {self.phase} is not below stride {self.stride}")

    def __str__(self) -> str:
        """E.g. `PING face ready`."""
        return f"PING {self.source} {self.state}"


class Bye(Message, tag="BYE", kw_only=True, frozen=True):
    """Orderly end of a source."""

    source: Name
    instance: Name
    reason: Text = ""

    def __str__(self) -> str:
        """E.g. `BYE face`."""
        return f"BYE {self.source} {self.reason}".rstrip()


# Triggers ----------------------------------------------------------------------------------------


class Evidence(msgspec.Struct, kw_only=True, frozen=True):
    """One value that spoke for the trigger."""

    source: Name
    frame_id: Count
    signal: str
    value: Finite


class Trig(Message, tag="TRIG", kw_only=True, frozen=True):
    """This was a moment. It holds no wall-clock time, so that a replay gives the same bytes."""

    trig_id: TrigId
    revision: Count = 0
    stream: Name
    epoch: Count
    label: Name
    reason: Text
    score: Score
    frame_id: Count
    t_start_ns: TimeNs
    t_end_ns: TimeNs
    evidence: list[Evidence] = []
    metadata: dict[str, Any] = {}

    def __post_init__(self) -> None:
        """A moment does not end before it begins."""
        if self.t_end_ns < self.t_start_ns:
            raise ValueError(f"t_end_ns {self.t_end_ns} is before t_start_ns {self.t_start_ns}")

    def __str__(self) -> str:
        """E.g. `TRIG 0123456789abcdef smile cam1/3 4.000s..4.500s score 0.90`."""
        span = f"{seconds(self.t_start_ns)}..{seconds(self.t_end_ns)}"
        return f"TRIG {self.trig_id} {self.label} {self.stream}/{self.epoch} {span} score {self.score:.2f}"


def make_trig_id(stream: str, epoch: int, label: str, t_start_ns: int) -> str:
    """The trigger's id: first 16 hex digits of SHA-256 over the four values joined by a zero byte (decimal numbers)."""
    text = "\0".join((stream, str(epoch), label, str(t_start_ns)))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class Ack(Message, tag="ACK", kw_only=True, frozen=True):
    """The clip daemon has committed (trig_id, revision) to its ledger, or refuses it."""

    trig_id: TrigId
    revision: Count
    result: Literal["accepted", "duplicate", "refused", "expired"]
    why: Text = ""

    def __str__(self) -> str:
        """E.g. `ACK 0123456789abcdef accepted`."""
        return f"ACK {self.trig_id} {self.result} {self.why}".rstrip()


# Control and tap ---------------------------------------------------------------------------------


class Command(Message, tag="COMMAND", kw_only=True, frozen=True):
    """Ask a daemon for something. Commands are idempotent: a client without a reply sends it again."""

    id: str
    name: Name
    args: dict[str, Any] = {}

    def __str__(self) -> str:
        """E.g. `COMMAND status`."""
        return f"COMMAND {self.name}"


class ErrorBody(msgspec.Struct, kw_only=True, frozen=True):
    """Why a command failed: a code for programs, a message and a hint for people."""

    code: Name
    message: str
    hint: str = ""


class Reply(Message, tag="REPLY", kw_only=True, frozen=True):
    """Answer to the COMMAND of the same id: `result` if ok, else `error`."""

    id: str
    ok: bool
    result: Any = None
    error: ErrorBody | None = None

    def __str__(self) -> str:
        """E.g. `REPLY ok`."""
        return f"REPLY {'ok' if self.ok else self.error.code if self.error else 'failed'}"


class Event(Message, tag="EVENT", kw_only=True, frozen=True):
    """Something happened in a daemon; lossy by contract."""

    daemon: DaemonName
    kind: Name
    mono_ns: TimeNs
    wall_ns: TimeNs
    body: Any = None

    def __str__(self) -> str:
        """E.g. `EVENT fusion trigger`."""
        return f"EVENT {self.daemon} {self.kind}"


MESSAGES: tuple[type[Message], ...] = (
    FrameHeader, StreamState, Obs, Skip, Bound, Ping, Bye, Trig, Ack, Command, Reply, Event,
)  # fmt: skip
"""All messages, in the order of PROTOCOL.md."""


def seconds(t_ns: int) -> str:
    """`t_ns` as people read it: seconds with milliseconds."""
    return f"{t_ns / 1e9:.3f}s"

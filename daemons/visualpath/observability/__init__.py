"""Traces: what happened to which frame, when, and how long it took; as JSON lines for `jq` and `vpctl trace`."""

from visualpath.observability.hub import ObservabilityHub
from visualpath.observability.records import (
    ClipRecord,
    DecisionRecord,
    FrameDropRecord,
    GateChangeRecord,
    LateRecord,
    ObservationRecord,
    SetRecord,
    StateChangeRecord,
    SyncDelayRecord,
    TimingRecord,
    TraceLevel,
    TraceRecord,
    TriggerRecord,
)
from visualpath.observability.sinks import ConsoleSink, FileSink, Sink

__all__ = [
    "ClipRecord",
    "ConsoleSink",
    "DecisionRecord",
    "FileSink",
    "FrameDropRecord",
    "GateChangeRecord",
    "LateRecord",
    "ObservabilityHub",
    "ObservationRecord",
    "SetRecord",
    "Sink",
    "StateChangeRecord",
    "SyncDelayRecord",
    "TimingRecord",
    "TraceLevel",
    "TraceRecord",
    "TriggerRecord",
]

"""The trace records of fusion's outcomes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import singledispatch
from typing import Literal

from visualpath.core.align import Active, Drop, Idle, Late, Reset
from visualpath.core.fusion import GateChange
from visualpath.core.stream_types import Fused, Noted
from visualpath.observability import (
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
from visualpath_protocol.clock import NS_PER_MS
from visualpath_protocol.messages import Obs, Trig


@singledispatch
def records_of(outcome: object, stream: str, epoch: int, level: TraceLevel, took_ns: int) -> Iterator[TraceRecord]:
    """What a trace of this level says of an outcome; `took_ns` is how long the decision took.

    Args:
        epoch: the stream's present one; what knows its own keeps that.
    """
    return iter(())


@records_of.register
def _of_trig(trig: Trig, stream: str, epoch: int, level: TraceLevel, took_ns: int) -> Iterator[TraceRecord]:
    yield TriggerRecord(
        trig.trig_id,
        trig.label,
        trig.t_start_ns,
        trig.t_end_ns,
        trig.score,
        trig.reason,
        trig.frame_id,
        stream=stream,
        epoch=trig.epoch,
        t_ns=trig.t_end_ns,
    )


@records_of.register
def _of_fused(fused: Fused, stream: str, epoch: int, level: TraceLevel, took_ns: int) -> Iterator[TraceRecord]:
    if level < TraceLevel.NORMAL:
        return
    aligned = fused.aligned
    frame_id, t_ns = aligned.frame_id, aligned.t_ns
    hold_ms = aligned.hold_ns / NS_PER_MS
    yield SetRecord(
        frame_id,
        aligned.obs,
        aligned.missing,
        aligned.skipped,
        aligned.reason,
        hold_ms,
        stream=stream,
        epoch=fused.epoch,
        t_ns=t_ns,
    )
    if aligned.reason == "window":
        slow = tuple(source for source, why in fused.missing.items() if why == "slow")
        yield SyncDelayRecord(frame_id, hold_ms, slow, stream=stream, epoch=fused.epoch, t_ns=t_ns)
    if level < TraceLevel.VERBOSE:
        return
    yield TimingRecord(frame_id, "fusion", took_ns / NS_PER_MS, stream=stream, epoch=fused.epoch, t_ns=t_ns)
    obs: list[Obs] = list(aligned.payloads.values())
    for each in obs:
        signals = tuple(body.signals for body in each.observations)
        yield ObservationRecord(frame_id, each.source, signals, stream=stream, epoch=fused.epoch, t_ns=t_ns)


@records_of.register
def _of_noted(noted: Noted, stream: str, epoch: int, level: TraceLevel, took_ns: int) -> Iterator[TraceRecord]:
    note, frame_id = noted.note, noted.frame_id
    if isinstance(note, GateChange):
        state: Literal["open", "closed"] = "open" if note.is_open else "closed"
        yield GateChangeRecord(frame_id, state, note.why, stream=stream, epoch=noted.epoch, t_ns=noted.t_ns)
    elif level >= TraceLevel.VERBOSE:
        yield DecisionRecord(
            frame_id, note.label, note.fired, note.why, stream=stream, epoch=noted.epoch, t_ns=noted.t_ns
        )


@records_of.register
def _of_late(late: Late, stream: str, epoch: int, level: TraceLevel, took_ns: int) -> Iterator[TraceRecord]:
    yield LateRecord(late.frame_id, late.source, late.behind_ns / NS_PER_MS, stream=stream, epoch=epoch, t_ns=late.t_ns)


@records_of.register
def _of_drop(drop: Drop, stream: str, epoch: int, level: TraceLevel, took_ns: int) -> Iterator[TraceRecord]:
    yield FrameDropRecord(
        frame_id=drop.frame_id,
        dropped_frame_ids=(drop.frame_id,),
        reason=drop.reason,
        component=drop.source,
        stream=stream,
        epoch=epoch,
        t_ns=drop.t_ns,
    )


@records_of.register
def _of_idle(change: Idle, stream: str, epoch: int, level: TraceLevel, took_ns: int) -> Iterator[TraceRecord]:
    yield StateChangeRecord(change.source, "idle", stream=stream, epoch=epoch)


@records_of.register
def _of_active(change: Active, stream: str, epoch: int, level: TraceLevel, took_ns: int) -> Iterator[TraceRecord]:
    yield StateChangeRecord(change.source, "active", stream=stream, epoch=epoch)


@records_of.register
def _of_reset(reset: Reset, stream: str, epoch: int, level: TraceLevel, took_ns: int) -> Iterator[TraceRecord]:
    yield StateChangeRecord(stream, "reset", reset.kind, stream=stream, epoch=epoch)

"""Trace records: their fields, their levels, and their form as a line of JSON."""

import json

import msgspec
import pytest

from visualpath.observability import (
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
from visualpath.observability.lines import decode_line, encode_line
from visualpath.observability.records import DroppedRecord, Stamped

PLACE = {"stream": "cam1", "epoch": 3, "t_ns": 40_000_000}
ALL = [
    TimingRecord(frame_id=7, component="face", processing_ms=42.5, queue_depth=2, decode_ms=1.5, **PLACE),
    FrameDropRecord(frame_id=9, dropped_frame_ids=[8, 9], reason="backpressure", component="face", **PLACE),
    SyncDelayRecord(frame_id=7, delay_ms=55.0, waiting_for=["face", "pose"], **PLACE),
    SetRecord(7, ["face"], ["pose"], ["text"], "window", 100.25, **PLACE),
    LateRecord(frame_id=7, source="pose", behind_ms=12.5, **PLACE),
    TriggerRecord("08f3", "smile", 4_000_000_000, 4_500_000_000, 0.75, "face.smile > 0.5", 7, **PLACE),
    ClipRecord("08f3", "saved", "2026-01-31/a.mp4", stream="cam1", epoch=3),
    StateChangeRecord("face", "down", "silent for 1.5 s", stream="cam1"),
    ObservationRecord(7, "face", [{"count": 2.0}, {}], **PLACE),
    DroppedRecord(count=12, reason="queue_full"),
    GateChangeRecord(7, "open", "all well for 0.7 s", **PLACE),
    DecisionRecord(7, "v-sign", False, "it waits for the gate to open", **PLACE),
]
kinds = pytest.mark.parametrize("record", ALL, ids=lambda record: record.record_type)


def stamped(record):
    return Stamped(record, mono_ns=5, wall_ns=1_769_860_800_250_000_000, daemon="fusion")


def test_every_kind_of_record_is_in_these_tests():
    assert {type(record) for record in ALL} == set(TraceRecord.__subclasses__())


def test_the_levels_are_the_documents():
    levels = {record.record_type: record.level.name for record in ALL}
    assert levels == {
        "trigger": "MINIMAL", "dropped": "MINIMAL",
        "set": "NORMAL", "state_change": "NORMAL", "clip": "NORMAL", "frame_drop": "NORMAL", "sync_delay": "NORMAL",
        "late": "NORMAL", "gate_change": "NORMAL",
        "timing": "VERBOSE", "observation": "VERBOSE", "decision": "VERBOSE",
    }  # fmt: skip


def test_levels_rise():
    assert TraceLevel.OFF < TraceLevel.MINIMAL < TraceLevel.NORMAL < TraceLevel.VERBOSE


def test_a_timing_needs_no_queue_depth():
    assert TimingRecord(frame_id=1, component="face", processing_ms=2.0).queue_depth == 0


def test_a_frame_drop_needs_a_reason_alone():
    record = FrameDropRecord(reason="timeout")
    assert (record.frame_id, record.dropped_frame_ids, record.count()) == (-1, (), 0)


def test_a_record_cannot_be_changed():
    with pytest.raises(AttributeError):
        ALL[0].frame_id = 8


@kinds
def test_a_line_is_the_record_again(record):
    assert decode_line(encode_line(stamped(record))) == stamped(record)


@kinds
def test_a_line_is_one_json_object_with_kind_time_and_daemon(record):
    line = encode_line(stamped(record))
    fields = json.loads(line)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1
    assert {key: fields[key] for key in ("record_type", "mono_ns", "daemon")} == {
        "record_type": record.record_type, "mono_ns": 5, "daemon": "fusion",
    }  # fmt: skip


@kinds
def test_a_line_has_every_field_of_its_record(record):
    fields = json.loads(encode_line(stamped(record)))
    assert {field.name for field in msgspec.structs.fields(type(record))} <= set(fields)


def test_a_daemon_whose_name_wants_quoting_stays_one_object():
    assert json.loads(encode_line(Stamped(ALL[0], 1, 2, 'a"b\n')))["daemon"] == 'a"b\n'


def test_fields_of_a_later_version_are_skipped():
    fields = json.loads(encode_line(stamped(ALL[0]))) | {"colour": "red"}
    assert decode_line(json.dumps(fields).encode()) == stamped(ALL[0])


@pytest.mark.parametrize(
    "line",
    [
        b"", b"garbage", b"[]", b"{}", b'{"record_type":"timing"}',
        b'{"record_type":"later","mono_ns":1,"wall_ns":1,"daemon":""}',
    ],
    ids=["empty", "garbage", "list", "nothing", "half", "unknown-kind"],
)  # fmt: skip
def test_what_is_no_line_is_refused(line):
    with pytest.raises(msgspec.MsgspecError):
        decode_line(line)


def test_a_run_of_frames_lists_each():
    record = FrameDropRecord.of_run(range(3, 9, 2), "gap", component="face")
    assert (record.frame_id, record.dropped_frame_ids, record.more, record.count()) == (7, (3, 5, 7), 0, 3)


def test_a_long_run_lists_its_beginning_and_counts_the_rest():
    record = FrameDropRecord.of_run(range(2**62), "gap")
    assert (len(record.dropped_frame_ids), record.count()) == (FrameDropRecord.LISTED_MAX, 2**62)


def test_for_people_a_record_is_one_line_with_time_daemon_and_place():
    assert str(stamped(ALL[0])) == ("12:00:00.250Z fusion timing       face cam1/3 #7 42.5 ms, decode 1.5, 2 waiting")


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (1, "face cam1/3 #9 2 x backpressure"),
        (2, "cam1/3 #7 55.0 ms, waiting for face, pose"),
        (3, "cam1/3 #7 window after 100.2 ms: obs face; missing pose; skipped text"),
        (4, "pose cam1/3 #7 12.5 ms behind"),
        (5, "08f3 smile cam1/3 4.000s..4.500s score 0.75: face.smile > 0.5"),
        (6, "08f3 saved 2026-01-31/a.mp4"),
        (7, "face cam1/0 is down: silent for 1.5 s"),
        (8, "face cam1/3 #7 count=2 | no signals"),
        (9, "12 records are missing here: queue_full"),
        (10, "cam1/3 #7 open: all well for 0.7 s"),
        (11, "cam1/3 #7 v-sign did not fire: it waits for the gate to open"),
    ],
)
def test_each_kind_says_what_matters(index, text):
    assert str(ALL[index]) == text


def test_a_line_for_people_cannot_be_broken_by_what_a_plug_in_says():
    assert "\n" not in str(stamped(StateChangeRecord("face", "down", "a\nb\x1b[2J")))

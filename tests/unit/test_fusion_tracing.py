"""Which trace records fusion's outcomes give, by level."""

import pytest

from visualpath.core.align import Active, AlignedSet, Drop, Idle, Late, Reset
from visualpath.core.fusion import Decision, GateChange
from visualpath.core.stream_types import Fused, Noted
from visualpath.fusion.tracing import records_of
from visualpath.observability import TraceLevel
from visualpath_protocol.messages import Obs, ObservationBody, Trig

MS = 1_000_000
OBS = Obs(
    source="face", instance="i", seq=0, stream="cam1", epoch=3, frame_id=7, t_ns=280 * MS, mono_ns=0, bound_ns=0,
    observations=[ObservationBody(signals={"count": 1.0})],
)  # fmt: skip
TRIG = Trig(
    trig_id="0" * 16, stream="cam1", epoch=3, label="smile", reason="why", score=0.5, frame_id=7,
    t_start_ns=1, t_end_ns=2,
)  # fmt: skip


def fused(reason="complete", missing=None):
    missing = missing or {}
    aligned = AlignedSet(0, 7, 280 * MS, ("face",), tuple(missing), (), reason, 100 * MS, 0, {"face": OBS})
    return Fused(3, aligned, missing)


def types(outcome, level):
    return [record.record_type for record in records_of(outcome, "cam1", 3, level, 2 * MS)]


def test_at_the_least_level_only_triggers_are_traced():
    assert types(TRIG, TraceLevel.MINIMAL) == ["trigger"]
    assert types(fused(), TraceLevel.MINIMAL) == []


def test_normally_a_frame_is_one_summary():
    assert types(fused(), TraceLevel.NORMAL) == ["set"]


def test_at_the_highest_level_a_frame_tells_its_signals_and_its_time():
    _, timing, seen = records_of(fused(), "cam1", 3, TraceLevel.VERBOSE, 2 * MS)
    assert (timing.component, timing.processing_ms) == ("fusion", 2.0)
    assert (seen.source, seen.signals) == ("face", ({"count": 1.0},))


def test_a_frame_whose_window_was_over_tells_whom_it_waited_for():
    outcome = fused("window", {"text": "slow", "pose": "down"})
    delay = list(records_of(outcome, "cam1", 3, TraceLevel.NORMAL, 0))[1]
    assert (delay.record_type, delay.delay_ms, delay.waiting_for) == ("sync_delay", 100.0, ("text",))


GATE = Noted(3, 7, 280 * MS, GateChange(False, "face.|yaw| 60 (needs <= 25)"))
DECISION = Noted(3, 7, 280 * MS, Decision("v-sign", False, "cooldown until 2.750s"))


def test_a_change_of_the_gate_is_normally_traced():
    (record,) = records_of(GATE, "cam1", 4, TraceLevel.NORMAL, 0)
    assert (record.record_type, record.state, record.reason) == ("gate_change", "closed", "face.|yaw| 60 (needs <= 25)")
    assert (record.stream, record.epoch, record.t_ns, record.frame_id) == ("cam1", 3, 280 * MS, 7)


def test_a_decision_is_traced_at_the_highest_level():
    (record,) = records_of(DECISION, "cam1", 3, TraceLevel.VERBOSE, 0)
    assert (record.record_type, record.label, record.fired) == ("decision", "v-sign", False)
    assert types(DECISION, TraceLevel.NORMAL) == []


def test_every_record_of_a_frame_tells_its_place():
    for record in records_of(fused("window"), "cam1", 3, TraceLevel.VERBOSE, 0):
        assert (record.stream, record.epoch, record.t_ns) == ("cam1", 3, 280 * MS)


@pytest.mark.parametrize(
    ("outcome", "record_type"),
    [
        (Late(0, 7, 280 * MS, "face", 1, False, 40 * MS, payload=OBS), "late"),
        (Drop("face", 7, 280 * MS, "duplicate"), "frame_drop"),
        (Idle("face"), "state_change"),
        (Active("face"), "state_change"),
        (Reset(1, "future"), "state_change"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_out_of_the_ordinary_is_normally_traced(outcome, record_type):
    assert types(outcome, TraceLevel.NORMAL) == [record_type]


def test_what_knows_no_epoch_of_its_own_tells_the_streams():
    for outcome in (Drop("face", 7, 280 * MS, "duplicate"), Idle("face"), Reset(1, "past")):
        (record,) = records_of(outcome, "cam1", 9, TraceLevel.NORMAL, 0)
        assert record.epoch == 9

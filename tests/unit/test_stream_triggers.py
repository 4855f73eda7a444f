"""One stream in fusion: sets to triggers, epochs, and what a plug-in may do. The fusion is scripted."""

import pytest
from stream_bench import MS, Bench, ScriptedFusion, moment

from visualpath.core.align import Drop, Reset
from visualpath.core.fusion import BaseFusion, FusionResult, GateChange
from visualpath.core.stream_types import Fused, FusionFailed, Noted
from visualpath.core.trigger import EvidenceItem
from visualpath_protocol.codec import encode
from visualpath_protocol.messages import Evidence, StreamState, Trig, make_trig_id

# Triggers -------------------------------------------------------------------------------------------


def test_what_the_fusion_fires_becomes_a_trig_of_stream_and_epoch(bench):
    evidence = EvidenceItem(source="face", frame_id=1, signal="count", value=2.0)
    bench.fusion.fire_on[2] = (moment(score=0.5, reason="why", evidence=(evidence,), metadata={"m": 1}),)
    bench.up("face")
    assert bench.obs("face", 2) == [
        Trig(
            trig_id=make_trig_id("cam1", 3, "smile", 100 * MS),
            stream="cam1",
            epoch=3,
            label="smile",
            reason="why",
            score=0.5,
            frame_id=2,
            t_start_ns=100 * MS,
            t_end_ns=200 * MS,
            evidence=[Evidence(source="face", frame_id=1, signal="count", value=2.0)],
            metadata={"m": 1},
        )
    ]


def test_every_trigger_of_a_set_is_returned(bench):
    bench.fusion.fire_on[2] = (moment("a"), moment("b"))
    bench.up("face")
    assert [trig.label for trig in bench.obs("face", 2)] == ["a", "b"]


def test_the_same_inputs_give_the_same_bytes():
    def run():
        bench = Bench()
        bench.state()
        bench.fusion.fire_on[2] = (moment(metadata={"x": 1}),)
        bench.up("face")
        return [encode(trig) for trig in bench.obs("face", 2)]

    assert run() == run() != []


def test_a_reason_too_long_for_the_wire_is_cut(bench):
    bench.fusion.fire_on[2] = (moment(reason="x" * 5000),)
    bench.up("face")
    assert len(bench.obs("face", 2)[0].reason) == 2000


def test_a_manual_trigger_is_of_the_present_epoch(bench):
    trig = bench.by_hand("manual", 500 * MS)
    assert (trig.epoch, trig.t_start_ns, trig.t_end_ns, trig.frame_id) == (3, 500 * MS, 500 * MS, 5)


def test_a_manual_trigger_for_the_same_time_has_the_same_id(bench):
    first, again, other = (bench.by_hand("manual", t_ns).trig_id for t_ns in (1, 1, 2))
    assert first == again != other


# Epochs ---------------------------------------------------------------------------------------------


def test_a_new_epoch_of_the_stream_resets_the_fusion(bench):
    bench.state(epoch=4)
    assert "reset" in bench.fusion.told


def test_the_same_epoch_again_changes_nothing(bench):
    bench.state(epoch=3)
    assert bench.fusion.told == []


def test_what_waits_in_the_old_epoch_is_fused_before_the_reset(bench):
    bench.up("face", "text")
    bench.obs("face", 2)
    bench.fusion.fire_on[2] = (moment(),)
    trigs = bench.state(epoch=4)
    assert bench.fusion.told[:2] == [("update", 2), "reset"]
    assert trigs[0].epoch == 3


def test_observations_of_a_former_epoch_are_dropped_and_counted(bench):
    bench.up("face")
    bench.obs("face", 0, epoch=2)
    assert bench.fusion.sets == []
    assert [drop.reason for drop in bench.of(Drop)] == ["stale_epoch"]


def test_without_a_word_of_the_stream_enough_observations_prove_an_epoch():
    bench = Bench()
    bench.up("face")
    for frame_id in range(3):
        bench.obs("face", frame_id, epoch=7)
    assert [reset.kind for reset in bench.of(Reset)] == ["epoch"]
    assert bench.by_hand("x", 0).epoch == 7


def test_the_last_firing_is_resumed_in_the_same_epoch():
    bench = Bench({"smile": (3, 500 * MS)})
    bench.state(epoch=3)
    assert bench.fusion.told[-1] == ("resume", "smile", 500 * MS)


def test_the_last_firing_is_not_resumed_in_another_epoch():
    bench = Bench({"smile": (3, 500 * MS)})
    bench.state(epoch=4)
    assert bench.fusion.told[-1] == "reset"


def test_a_firing_is_resumed_too_when_observations_come_before_the_streams_word():
    bench = Bench({"smile": (7, 500 * MS)})
    bench.up("face")
    for frame_id in range(3):
        bench.obs("face", frame_id, epoch=7)
    assert bench.fusion.told == ["reset", ("resume", "smile", 500 * MS), ("update", 2)]


# What a plug-in may do --------------------------------------------------------------------------------


class RaisingFusion(BaseFusion):
    def update(self, frame):
        raise RuntimeError("no model")


def test_a_fusion_that_raises_costs_the_decision_and_nothing_else():
    bench = Bench(fusion=RaisingFusion())
    bench.state(epoch=3)
    bench.up("face")
    assert bench.obs("face", 0) == []
    assert bench.of(FusionFailed) == [FusionFailed(0, "RuntimeError: no model")]
    assert len(bench.of(Fused)) == 1


class NotingFusion(BaseFusion):
    def update(self, frame):
        return FusionResult(notes=(GateChange(True, "all well"), "a word"))


def test_what_a_fusion_notes_comes_with_its_frame():
    bench = Bench(fusion=NotingFusion())
    bench.state(epoch=3)
    bench.up("face")
    bench.obs("face", 2)
    (noted,) = bench.of(Noted)
    assert (noted.epoch, noted.frame_id, noted.note) == (3, 2, GateChange(True, "all well"))


def test_a_note_that_is_none_is_a_failure_of_the_plug_in():
    bench = Bench(fusion=NotingFusion())
    bench.state(epoch=3)
    bench.up("face")
    bench.obs("face", 2)
    (failed,) = bench.of(FusionFailed)
    assert failed.detail == "TypeError: a note is a GateChange or a Decision, not a str"


@pytest.mark.parametrize("method", ["reset", "resume", "doubts"])
def test_a_plug_in_that_raises_at_a_new_epoch_costs_no_frame(method):
    fusion = ScriptedFusion()
    setattr(fusion, method, lambda *_: 1 / 0)
    bench = Bench({"smile": (3, 0)}, fusion)
    bench.feed(StreamState(stream="cam1", epoch=3, state="live", fps=30.0), 0)
    bench.up("face")
    bench.obs("face", 0)
    assert [failed.detail for failed in bench.of(FusionFailed)] == ["ZeroDivisionError: division by zero"]
    assert len(bench.of(Fused)) == 1


def test_of_triggers_with_one_that_is_none_the_others_count(bench):
    bench.fusion.fire_on[2] = (moment("good"), None, moment("unread"))
    bench.up("face")
    assert [trig.label for trig in bench.obs("face", 2)] == ["good"]
    assert len(bench.of(FusionFailed)) == 1
    assert bench.stream.firings.keys() == {"good"}


def test_an_error_whose_text_cannot_be_had_is_an_error_all_the_same(bench):
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    def fail(_frame):
        raise Mute

    bench.fusion.update = fail
    bench.up("face")
    bench.obs("face", 0)
    assert bench.of(FusionFailed) == [FusionFailed(0, "Mute, whose text cannot be made: RuntimeError")]


def test_an_absurd_frame_rate_is_no_defect(bench):
    bench.feed(StreamState(stream="cam1", epoch=4, state="live", fps=1e-300), 0)
    assert bench.stream.epoch == 4


def test_a_firing_of_this_run_keeps_its_cooldown_when_time_jumps_within_the_epoch(bench):
    bench.up("face")
    bench.fusion.fire_on[0] = (moment(t_start_ns=0, t_end_ns=500 * MS),)
    bench.obs("face", 0, now=0)
    for n in range(3):
        bench.obs("face", 100 + n, t_ns=(60_000 + n) * MS, now=n * MS)
    assert bench.fusion.told == [("update", 0), "reset", ("resume", "smile", 500 * MS), ("update", 102)]


def test_a_trigger_by_hand_is_no_firing(bench):
    bench.by_hand("smile", 500 * MS)
    assert bench.stream.firings == {}


@pytest.mark.parametrize("fields", [{"t_end_ns": 1e9}, {"t_end_ns": 2**70}, {"label": "No Name"}, {"score": "high"}])
def test_a_trigger_that_has_no_form_on_the_wire_is_not_remembered(bench, fields):
    bench.fusion.fire_on[2] = (moment(**fields),)
    bench.up("face")
    bench.obs("face", 2)
    assert bench.stream.firings == {}

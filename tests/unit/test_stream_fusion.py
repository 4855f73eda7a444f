"""One stream in fusion: sets to triggers, epochs, the end. Pure: the fusion is scripted, time is an argument."""

from collections import Counter

import pytest

from visualpath.core.align import AlignParams
from visualpath.core.fusion import BaseFusion, FusionResult
from visualpath.core.trigger import EvidenceItem, Trigger
from visualpath.fusion.stream import MAX_SKIPPED_AT_ONCE, StreamFusion
from visualpath.runtime.refusals import Refusals
from visualpath_protocol.codec import encode
from visualpath_protocol.messages import (
    Bound,
    Evidence,
    Obs,
    ObservationBody,
    Ping,
    Skip,
    StreamState,
    Trig,
    make_trig_id,
)

MS = 1_000_000
PARAMS = AlignParams(window_ns=100 * MS, idle_timeout_ns=1000 * MS)
QUIET_NS = 1100 * MS


class ScriptedFusion(BaseFusion):
    """Writes down what it is told; fires on the frames in `fire_on`."""

    def __init__(self):
        self.told = []
        self.sets = []
        self.fire_on = {}

    def update(self, frame):
        self.told.append(("update", frame.frame_id))
        self.sets.append(frame)
        return FusionResult(triggers=self.fire_on.get(frame.frame_id, ()))

    def reset(self):
        self.told.append("reset")

    def resume(self, label, t_end_ns):
        self.told.append(("resume", label, t_end_ns))


class Bench:
    """A StreamFusion of cam1 with a scripted fusion, and short ways to feed it."""

    def __init__(self, firings=None):
        self.fusion = ScriptedFusion()
        self.counters = Counter()
        self.told = {"state": [], "set": []}
        self.stream = StreamFusion(
            "cam1",
            PARAMS,
            self.fusion,
            firings or {},
            Refusals(self.counters),
            lambda kind, make_body: self.told[kind].append(make_body()),
        )

    def up(self, *sources, now=0, **fields):
        for source in sources:
            self.stream.source_up(Ping(source=source, instance="i", streams=["cam1"], state="ready", **fields), now)

    def state(self, state="live", epoch=3, now=0):
        message = StreamState(stream="cam1", epoch=epoch, state=state, last_frame_id=9, last_t_ns=900 * MS)
        return self.stream.stream_state(message, now)

    def obs(self, source, frame_id, epoch=3, now=None, t_ns=None, observations=(), **fields):
        t_ns = frame_id * 100 * MS if t_ns is None else t_ns
        message = Obs(
            source=source,
            instance="i",
            seq=0,
            stream="cam1",
            epoch=epoch,
            frame_id=frame_id,
            t_ns=t_ns,
            mono_ns=0,
            observations=list(observations),
            bound_ns=t_ns,
            **fields,
        )
        return self.stream.obs(message, t_ns if now is None else now)

    def skip(self, source, first, last, epoch=3, now=0):
        message = Skip(
            source=source,
            instance="i",
            seq=0,
            stream="cam1",
            epoch=epoch,
            first_frame_id=first,
            last_frame_id=last,
            first_t_ns=first * 100 * MS,
            t_ns=last * 100 * MS,
            reason="gap",
        )
        return self.stream.skip(message, now)

    def bound(self, source, t_ns, epoch=3, now=0):
        message = Bound(source=source, instance="i", seq=0, stream="cam1", epoch=epoch, t_ns=t_ns)
        return self.stream.bound(message, now)


@pytest.fixture
def bench():
    bench = Bench()
    bench.state()
    bench.fusion.told.clear()
    return bench


def moment(label="smile", frame_id=2, **fields):
    return Trigger(**{"label": label, "t_start_ns": 100 * MS, "t_end_ns": 200 * MS, "frame_id": frame_id, **fields})


# Sets -----------------------------------------------------------------------------------------------


def test_a_set_holds_what_all_sources_said_of_the_frame(bench):
    bench.up("face", "text")
    bench.obs("face", 0, observations=[ObservationBody(signals={"count": 1.0}, data={"a": 1}, metadata={"m": 2})])
    bench.obs("text", 0)
    (frame,) = bench.fusion.sets
    (seen,) = frame.observations["face"]
    assert (frame.frame_id, frame.t_ns, frame.observations["text"]) == (0, 0, [])
    assert (seen.source, seen.frame_id, seen.t_ns, seen.signals) == ("face", 0, 0, {"count": 1.0})
    assert (seen.data, seen.metadata) == ({"a": 1}, {"m": 2})


def test_a_set_waits_for_its_window_and_no_longer(bench):
    bench.up("face", "text")
    bench.obs("face", 0, now=0)
    bench.stream.tick(100 * MS - 1)
    assert not bench.fusion.sets
    assert bench.stream.next_deadline() == 100 * MS
    bench.stream.tick(100 * MS)
    assert bench.fusion.sets[0].missing == ("text",)


def test_a_skipping_source_is_skipped_not_missing(bench):
    bench.up("face", "text")
    bench.skip("text", 0, 0)
    bench.obs("face", 0)
    assert (bench.fusion.sets[0].missing, bench.fusion.sets[0].skipped) == ((), ("text",))


def test_a_bound_settles_earlier_frames(bench):
    bench.up("face", "text")
    bench.obs("face", 0)
    bench.bound("text", 1)
    assert bench.fusion.sets[0].skipped == ("text",)


def test_a_source_that_goes_down_is_waited_for_no_more(bench):
    bench.up("face", "text")
    bench.obs("face", 0)
    bench.stream.source_down("text", 1)
    assert bench.fusion.sets[0].missing == ("text",)


def test_a_stride_is_not_waited_for(bench):
    bench.up("face")
    bench.up("text", stride=3, phase=1)
    bench.obs("face", 0)
    assert bench.fusion.sets[0].skipped == ("text",)


def test_a_configured_source_that_never_comes_counts_as_missing(bench):
    bench.stream.expect(["face", "text"], 0)
    bench.up("face")
    bench.obs("face", 0)
    assert bench.fusion.sets[0].missing == ("text",)
    assert bench.counters["missing.text"] == 1


def test_sets_are_counted_by_their_reason(bench):
    bench.up("face")
    bench.obs("face", 0)
    assert (bench.counters["sets"], bench.counters["sets.complete"], bench.stream.frames_fused) == (1, 1, 1)


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
    trig = bench.stream.manual("manual", 500 * MS, 5, "because")
    assert (trig.epoch, trig.t_start_ns, trig.t_end_ns, trig.frame_id) == (3, 500 * MS, 500 * MS, 5)


def test_a_manual_trigger_for_the_same_time_has_the_same_id(bench):
    first, again, other = (bench.stream.manual("manual", t_ns, 5, "because").trig_id for t_ns in (1, 1, 2))
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
    assert bench.counters["dropped.stale_epoch"] == 1


def test_without_a_word_of_the_stream_enough_observations_prove_an_epoch():
    bench = Bench()
    bench.up("face")
    for frame_id in range(3):
        bench.obs("face", frame_id, epoch=7)
    assert bench.counters["resets.epoch"] == 1
    assert bench.stream.manual("x", 0, 0, "").epoch == 7


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


# Skips ----------------------------------------------------------------------------------------------


def test_each_frame_of_a_skip_is_settled(bench):
    bench.up("face", "text")
    bench.skip("text", 0, 2)
    for frame_id in range(3):
        bench.obs("face", frame_id)
    assert [each.skipped for each in bench.fusion.sets] == [("text",)] * 3


def test_of_a_long_skip_only_the_newest_frames_are_handed_on(bench):
    bench.up("face", "text")
    handed_on = []
    bench.stream._aligner.skip = lambda source, frame_id, *_, **__: handed_on.append(frame_id) or []
    bench.skip("text", 0, 2**62)
    assert handed_on == list(range(2**62 - MAX_SKIPPED_AT_ONCE + 1, 2**62 + 1))


# The end --------------------------------------------------------------------------------------------


def test_a_live_stream_is_not_drained(bench):
    assert not bench.stream.drained


def test_an_ended_stream_is_drained_after_a_quiet_time(bench):
    bench.state("ended", now=0)
    bench.stream.tick(QUIET_NS - 1)
    assert not bench.stream.drained
    bench.stream.tick(QUIET_NS)
    assert bench.stream.drained


def test_the_quiet_time_has_a_deadline(bench):
    bench.state("ended", now=5)
    assert bench.stream.next_deadline() == 5 + QUIET_NS


def test_the_quiet_time_counts_from_the_first_word_of_the_end(bench):
    bench.state("ended", now=0)
    bench.state("ended", now=500 * MS)
    assert bench.stream.next_deadline() == QUIET_NS


def test_a_drained_stream_stays_drained_while_it_is_told_again(bench):
    bench.state("ended", now=0)
    bench.stream.tick(QUIET_NS)
    bench.state("ended", now=QUIET_NS + 1)
    assert bench.stream.drained


def test_what_waits_at_the_end_is_fused(bench):
    bench.up("face", "text")
    bench.obs("face", 2, now=QUIET_NS - 1)
    bench.fusion.fire_on[2] = (moment(),)
    bench.state("ended", now=0)
    assert len(bench.stream.tick(QUIET_NS)) == 1
    assert bench.counters["sets.close"] == 1


def test_a_stream_that_begins_anew_is_not_drained(bench):
    bench.state("ended", now=0)
    bench.stream.tick(QUIET_NS)
    bench.state("starting", epoch=4, now=QUIET_NS)
    assert not bench.stream.drained


# Counters and events --------------------------------------------------------------------------------


def test_a_late_observation_is_counted(bench):
    bench.up("face", "text")
    bench.obs("face", 1, now=0)
    bench.stream.tick(100 * MS)
    bench.obs("text", 1, now=101 * MS)
    assert bench.counters["late"] == 1


def test_a_dropped_observation_is_counted_by_reason(bench):
    bench.up("face", "text")
    bench.obs("face", 0)
    bench.obs("face", 0)
    assert bench.counters["dropped.duplicate"] == 1


def test_idle_and_active_sources_are_told(bench):
    bench.up("face", "text")
    bench.obs("face", 0, now=0)
    bench.stream.tick(1000 * MS)
    bench.bound("text", 0, now=1001 * MS)
    assert bench.told["state"] == [
        {"stream": "cam1", "source": "text", "state": "idle"},
        {"stream": "cam1", "source": "text", "state": "active"},
    ]


def test_a_set_is_told_with_what_it_has_and_what_it_lacks(bench):
    bench.up("face", "text")
    bench.obs("face", 4, now=0)
    bench.stream.tick(100 * MS)
    assert bench.told["set"] == [
        {
            "stream": "cam1",
            "epoch": 3,
            "frame_id": 4,
            "t_ns": 400 * MS,
            "obs": ("face",),
            "missing": ("text",),
            "skipped": (),
            "reason": "window",
            "hold_ns": 100 * MS,
        }
    ]


# What a plug-in may do --------------------------------------------------------------------------------


class RaisingFusion(BaseFusion):
    def update(self, frame):
        raise RuntimeError("no model")


def test_a_fusion_that_raises_costs_the_decision_and_nothing_else():
    bench = Bench()
    bench.stream._fusion = RaisingFusion()
    bench.state(epoch=3)
    bench.up("face")
    assert bench.obs("face", 0) == []
    assert (bench.counters["failed.fusion"], bench.counters["sets"]) == (1, 1)


def test_a_firing_of_this_run_keeps_its_cooldown_when_time_jumps_within_the_epoch():
    bench = Bench()
    bench.state(epoch=3)
    bench.stream.manual("smile", 500 * MS, 0, "")
    bench.stream._restart_fusion()
    assert bench.fusion.told[-2:] == ["reset", ("resume", "smile", 500 * MS)]

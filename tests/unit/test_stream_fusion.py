"""One stream in fusion: observations and promises to sets, and the end. The fusion is scripted, time is an argument."""

import pytest
from stream_bench import MS, QUIET_NS, Bench, ScriptedFusion, moment

from visualpath.core.align import Active, Drop, Idle, Late
from visualpath.core.stream_fusion import MAX_SKIPPED_AT_ONCE
from visualpath.core.stream_types import Doubt, Fused, Unreported, WildBound
from visualpath_protocol.messages import ObservationBody, StreamState

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
    bench.tick(100 * MS - 1)
    assert not bench.fusion.sets
    assert bench.stream.next_deadline() == 100 * MS
    bench.tick(100 * MS)
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
    bench.down("text", 1)
    assert bench.fusion.sets[0].missing == ("text",)


def test_a_stride_is_not_waited_for(bench):
    bench.up("face")
    bench.up("text", stride=3, phase=1)
    bench.obs("face", 0)
    assert bench.fusion.sets[0].skipped == ("text",)


def test_a_configured_source_that_never_comes_counts_as_missing_because_it_is_down():
    bench = Bench(expected={"face": (1, 0), "text": (1, 0)})
    bench.up("face")
    bench.obs("face", 0, epoch=0)
    assert bench.fusion.sets[0].missing == ("text",)
    assert bench.of(Fused)[0].missing == {"text": "down"}


def test_a_source_that_is_up_and_says_nothing_is_missing_because_it_is_slow(bench):
    bench.up("face", "text")
    bench.obs("face", 0, now=0)
    bench.tick(100 * MS)
    assert bench.of(Fused)[0].missing == {"text": "slow"}


def test_a_source_that_has_been_silent_too_long_is_missing_because_it_is_idle(bench):
    bench.up("face", "text")
    bench.obs("face", 0, now=0)
    bench.tick(1000 * MS)
    bench.obs("face", 11, now=1001 * MS)
    assert bench.of(Fused)[-1].missing == {"text": "idle"}


def test_a_fused_frame_tells_its_epoch_and_its_set(bench):
    bench.up("face")
    bench.obs("face", 0)
    (fused,) = bench.of(Fused)
    assert (fused.epoch, fused.aligned.reason, fused.missing, bench.stream.frames_fused) == (3, "complete", {}, 1)


# Replicas -------------------------------------------------------------------------------------------


@pytest.fixture
def replicas():
    """`face` runs twice, on even and on odd frames; `text` once."""
    bench = Bench(group_of=lambda source: "face" if source.startswith("face") else source)
    bench.state()
    bench.up("face-0", stride=2, phase=0)
    bench.up("face-1", stride=2, phase=1)
    bench.up("text")
    return bench


def test_the_decision_sees_replicas_as_one_source(replicas):
    for frame_id, replica in ((0, "face-0"), (1, "face-1")):
        replicas.obs(replica, frame_id, observations=[ObservationBody(signals={"count": 1.0})])
        replicas.obs("text", frame_id)
    assert [sorted(frame.observations) for frame in replicas.fusion.sets] == [["face", "text"]] * 2
    assert replicas.fusion.sets[1].observations["face"][0].source == "face"


def test_a_frame_that_is_another_replicas_is_not_skipped(replicas):
    replicas.obs("text", 0)
    replicas.obs("face-0", 0)
    assert (replicas.fusion.sets[0].missing, replicas.fusion.sets[0].skipped) == ((), ())


def test_a_replica_that_is_down_leaves_its_frames_missing_and_the_others_not(replicas):
    replicas.down("face-1", 0)
    replicas.obs("text", 1)
    replicas.obs("text", 2)
    replicas.obs("face-0", 2)
    assert [frame.missing for frame in replicas.fusion.sets] == [("face",), ()]


def test_a_frame_that_its_replica_skips_is_skipped(replicas):
    replicas.skip("face-0", 0, 0)
    replicas.obs("text", 0)
    assert (replicas.fusion.sets[0].missing, replicas.fusion.sets[0].skipped) == ((), ("face",))


def test_a_replica_that_has_not_come_yet_is_missing_only_in_its_own_frames():
    bench = Bench(expected={"face-0": (2, 0), "face-1": (2, 1)})
    bench.up("face-1", stride=2, phase=1)
    bench.obs("face-1", 1, epoch=0)
    assert bench.of(Fused)[0].missing == {}


def test_a_group_is_missing_or_skipped_only_if_none_of_it_reported():
    bench = Bench(group_of=lambda source: "face" if source.startswith("face") else source)
    bench.state()
    bench.up("face-0", "face-1", "text")
    bench.obs("face-0", 0, now=0)
    bench.skip("face-1", 0, 0)
    bench.obs("face-0", 1, now=0)
    bench.tick(200 * MS)
    assert [(frame.missing, frame.skipped) for frame in bench.fusion.sets] == [(("text",), ()), (("text",), ())]


def test_a_group_with_one_member_missing_and_one_skipped_is_missing():
    bench = Bench(group_of=lambda source: "face" if source.startswith("face") else source)
    bench.state()
    bench.up("face-0", "face-1", "text")
    bench.skip("face-1", 0, 0)
    bench.obs("text", 0, now=0)
    bench.tick(200 * MS)
    assert (bench.fusion.sets[0].missing, bench.fusion.sets[0].skipped) == (("face",), ())


# Promises -------------------------------------------------------------------------------------------


def test_a_bound_far_ahead_of_every_frame_is_not_believed(bench):
    bench.up("face", "text")
    bench.bound("text", 10**18, now=900 * MS)
    bench.obs("face", 9)
    assert bench.of(WildBound) == [WildBound("text", 10**18)]
    assert not bench.fusion.sets


def test_a_bound_of_an_observation_far_ahead_is_not_believed_either(bench):
    bench.up("face", "text")
    bench.obs("text", 8, now=900 * MS, bound_ns=10**18)
    bench.obs("face", 9, now=901 * MS)
    assert [frame.frame_id for frame in bench.fusion.sets] == [8]
    assert bench.of(WildBound) == [WildBound("text", 10**18)]


def test_a_bound_may_run_ahead_with_the_clock_after_a_pause_of_the_stream(bench):
    bench.up("face", "text")
    bench.bound("text", 60_900 * MS, now=60_000 * MS)
    assert bench.of(WildBound) == []


def test_a_bound_of_another_epoch_is_no_matter_of_this_one(bench):
    bench.up("face", "text")
    bench.bound("text", 10**18, epoch=2, now=900 * MS)
    assert bench.of(WildBound) == []


def test_in_a_new_epoch_a_bound_is_not_measured_by_the_frames_of_the_old_one(bench):
    bench.up("face", "text")
    bench.feed(StreamState(stream="cam1", epoch=4, state="starting"), 900 * MS)
    bench.bound("text", 10**12, epoch=4, now=900 * MS)
    assert bench.of(WildBound) == []


def test_before_any_frame_is_known_every_bound_is_believed():
    bench = Bench()
    bench.up("face", "text")
    bench.bound("text", 10**18, epoch=0)
    bench.obs("face", 0, epoch=0)
    assert bench.fusion.sets[0].skipped == ("text",)


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


def test_of_a_source_with_a_stride_only_its_own_frames_of_a_run_are_handed_on(bench):
    bench.up("text", stride=3, phase=1)
    handed_on = []
    bench.stream._aligner.skip = lambda source, frame_id, *_, **__: handed_on.append(frame_id) or []
    bench.skip("text", 1, 10)
    assert handed_on == [1, 4, 7, 10]


def test_of_a_long_skip_with_a_stride_the_newest_of_its_own_frames_are_handed_on(bench):
    bench.up("text", stride=3, phase=1)
    handed_on = []
    bench.stream._aligner.skip = lambda source, frame_id, *_, **__: handed_on.append(frame_id) or []
    bench.skip("text", 1, 3001)
    assert handed_on == list(range(3001 - 3 * (MAX_SKIPPED_AT_ONCE - 1), 3002, 3))


# Silence --------------------------------------------------------------------------------------------


def test_frames_of_which_a_source_said_nothing_are_told_at_the_end():
    bench = Bench()
    bench.feed(StreamState(stream="cam1", epoch=3, state="starting"), 0)
    bench.up("face", "text")
    for frame_id in range(5):
        bench.obs("face", frame_id)
    bench.skip("text", 0, 2)
    bench.state("ended", now=0)  # its word: the last frame is 9
    bench.tick(QUIET_NS)
    assert bench.of(Unreported) == [Unreported("face", 5), Unreported("text", 7)]


# The end --------------------------------------------------------------------------------------------


def test_a_live_stream_is_not_drained(bench):
    assert not bench.stream.drained


def test_an_ended_stream_is_drained_after_a_quiet_time(bench):
    bench.state("ended", now=0)
    bench.tick(QUIET_NS - 1)
    assert not bench.stream.drained
    bench.tick(QUIET_NS)
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
    bench.tick(QUIET_NS)
    bench.state("ended", now=QUIET_NS + 1)
    assert bench.stream.drained


def test_what_waits_at_the_end_is_fused(bench):
    bench.up("face", "text")
    bench.obs("face", 2, now=QUIET_NS - 1)
    bench.fusion.fire_on[2] = (moment(),)
    bench.state("ended", now=0)
    assert len(bench.tick(QUIET_NS)) == 1
    assert bench.of(Fused)[0].aligned.reason == "close"


def test_an_epoch_that_begins_before_the_quiet_time_is_over_is_not_closed(bench):
    bench.up("face", "text")
    bench.state("ended", now=0)
    bench.state("live", epoch=4, now=500 * MS)
    bench.obs("face", 0, epoch=4, now=QUIET_NS - 1)
    bench.tick(QUIET_NS)
    assert bench.fusion.sets == []


def test_a_stream_that_begins_anew_is_not_drained(bench):
    bench.state("ended", now=0)
    bench.tick(QUIET_NS)
    bench.state("starting", epoch=4, now=QUIET_NS)
    assert not bench.stream.drained


# Outcomes -------------------------------------------------------------------------------------------


def test_a_late_observation_is_an_outcome(bench):
    bench.up("face", "text")
    bench.obs("face", 1, now=0)
    bench.tick(100 * MS)
    bench.obs("text", 1, now=101 * MS)
    assert [late.source for late in bench.of(Late)] == ["text"]


def test_a_dropped_observation_is_an_outcome_with_its_reason(bench):
    bench.up("face", "text")
    bench.obs("face", 0)
    bench.obs("face", 0)
    assert [drop.reason for drop in bench.of(Drop)] == ["duplicate"]


def test_idle_and_active_sources_are_outcomes(bench):
    bench.up("face", "text")
    bench.obs("face", 0, now=0)
    bench.tick(1000 * MS)
    bench.bound("text", 0, now=1001 * MS)
    assert (bench.of(Idle), bench.of(Active)) == ([Idle("text")], [Active("text")])


def test_what_the_fusion_doubts_is_an_outcome_of_a_new_epoch():
    class Doubting(ScriptedFusion):
        def doubts(self, frame_ns):
            return [f"{frame_ns} ns is too slow"]

    bench = Bench(fusion=Doubting())
    bench.feed(StreamState(stream="cam1", epoch=1, state="live", fps=2.0), 0)
    bench.feed(StreamState(stream="cam1", epoch=1, state="live", fps=2.0), 1)
    assert bench.of(Doubt) == [Doubt("500000000 ns is too slow")]

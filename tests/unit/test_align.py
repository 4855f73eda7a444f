"""The alignment contract, rules R1 to R5, R10 to R14 and R24 to R26: sources, where an OBS ends, sets, memory."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from align_steps import MS, engine, obs, reasons, sets

from visualpath.core.align import Active, AlignedSet, AlignParams, Drop, Idle, Late

# R1, R2: a pure function of its inputs.


def test_r1_the_engine_imports_no_clock_and_no_io() -> None:
    code = "import sys, visualpath.core.align; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"zmq", "socket", "threading", "asyncio", "av", "cv2", "simplejpeg"} & set(loaded.split())


def test_r1_payloads_come_back_untouched() -> None:
    aligner = engine("a", "b")
    mine, theirs = object(), object()
    aligner.obs("a", 1, 0, 0, payload=mine)
    (out,) = aligner.obs("b", 1, 0, 0, payload=theirs)
    assert isinstance(out, AlignedSet)
    assert out.payloads == {"a": mine, "b": theirs}


def test_r1_a_late_obs_carries_its_payload() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 0, 10)
    (out,) = obs(aligner, "x", 1, 0, 11)
    assert isinstance(out, Late)
    assert out.payload == "x1"


def test_r2_a_stamp_that_goes_back_counts_as_now() -> None:
    aligner = engine("a", "b")
    obs(aligner, "a", 1, 0, 50)
    (out,) = obs(aligner, "b", 1, 0, 20)
    assert isinstance(out, AlignedSet)
    assert out.spread_ns == 0


def test_r2_the_deadline_of_a_frame_counts_from_the_clamped_stamp() -> None:
    aligner = engine("a", "b")
    aligner.tick(50 * MS)
    obs(aligner, "a", 1, 0, 20)
    assert aligner.next_deadline() == 150 * MS


# R3: sources come and go.


def test_r3_a_restarted_source_is_not_waited_for_in_frames_that_wait() -> None:
    aligner = engine("a", "b")
    obs(aligner, "a", 1, 0, 10)
    assert sets(aligner.source_up("b", 20 * MS)) == [(1, ("a",), "complete")]


def test_r3_a_restart_clears_skips() -> None:
    aligner = engine("a", "b")
    aligner.skip("b", 1, 0, 0)
    aligner.source_up("b", 0)
    assert obs(aligner, "a", 1, 0, 10) == []


def test_r3_a_restart_clears_idleness() -> None:
    aligner = engine("a", "b", idle_timeout_ns=10 * MS)
    obs(aligner, "a", 1, 0, 0)
    assert Idle("b") in aligner.tick(10 * MS)
    aligner.source_up("b", 20 * MS)
    assert obs(aligner, "a", 2, 33, 43) == []


def test_r3_a_restart_clears_the_idle_timer() -> None:
    aligner = engine("a", "b")
    obs(aligner, "a", 1, 0, 0)
    aligner.source_up("b", 1 * MS)
    assert aligner.next_deadline() is None


def test_r3_an_unknown_source_is_optional() -> None:
    aligner = engine("a")
    obs(aligner, "x", 1, 0, 10)
    assert sets(obs(aligner, "a", 1, 0, 20)) == [(1, ("a", "x"), "complete")]
    assert sets(obs(aligner, "a", 2, 33, 43)) == [(2, ("a",), "complete")]


def test_r3_an_obs_of_one_source_too_many_is_dropped() -> None:
    aligner = engine("a", "b", max_sources=2)
    assert reasons(obs(aligner, "x", 1, 0, 10)) == ["too_many_sources"]


def test_r3_one_source_too_many_cannot_come_up() -> None:
    aligner = engine("a", max_sources=1)
    aligner.source_up("x", 0)
    assert reasons(obs(aligner, "x", 1, 0, 10)) == ["too_many_sources"]


def test_r3_a_known_source_comes_up_again_when_there_is_no_room_for_others() -> None:
    aligner = engine("a", max_sources=1)
    aligner.source_down("a", 0)
    aligner.source_up("a", 0)
    assert sets(obs(aligner, "a", 1, 0, 10)) == [(1, ("a",), "complete")]


def test_r3_source_down_of_an_unknown_source_does_nothing() -> None:
    assert engine("a").source_down("x", 0) == []


# R4: invalid values.


@pytest.mark.parametrize("bad", [-1, 1.0, "1", None, True])
def test_r4_what_is_no_natural_number_is_no_frame_id_and_no_time(bad: Any) -> None:
    aligner = engine("a")
    assert reasons(aligner.obs("a", bad, 0, 0)) == ["invalid"]
    assert reasons(aligner.obs("a", 0, bad, 0)) == ["invalid"]


def test_r4_an_invalid_obs_registers_no_source() -> None:
    aligner = engine(max_sources=1)
    assert reasons(obs(aligner, "x", -1, 0, 0)) == ["invalid"]
    assert reasons(obs(aligner, "y", 1, 0, 0)) == []


def test_r4_an_invalid_obs_is_no_sign_of_life() -> None:
    aligner = engine("a", "b", idle_timeout_ns=10 * MS)
    obs(aligner, "a", 1, 0, 0)
    aligner.tick(10 * MS)
    assert obs(aligner, "b", -1, 0, 11) == [Drop("b", -1, 0, "invalid")]


def test_r4_invalid_promises_are_ignored() -> None:
    aligner = engine("a", "b")
    assert aligner.skip("b", 1, -1, 0) == aligner.skip("b", -1, 0, 0) == aligner.bound("b", -1, 0) == []
    assert obs(aligner, "a", 1, 0, 10) == []


def test_r4_a_frame_id_beyond_64_bits_is_only_a_large_number() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 0, 10)
    assert sets(obs(aligner, "a", 1 << 70, 33, 43)) == [(1 << 70, ("a",), "complete")]


# R5: signs of life.


def test_r5_even_a_stale_promise_is_a_sign_of_life() -> None:
    aligner = engine("a", "b", idle_timeout_ns=10 * MS)
    aligner.epoch(1, 0)
    obs(aligner, "a", 1, 0, 0)
    aligner.tick(10 * MS)
    assert aligner.bound("b", 0, 11 * MS, epoch=0) == [Active("b")]


def test_r5_active_comes_before_what_the_obs_causes() -> None:
    aligner = engine("a", "b", idle_timeout_ns=10 * MS)
    obs(aligner, "a", 1, 0, 0)
    aligner.tick(10 * MS)
    out = obs(aligner, "b", 1, 0, 11)
    assert out[0] == Active("b")
    assert isinstance(out[1], Late)


def test_r5_an_answer_stops_the_idle_timer() -> None:
    aligner = engine("a", "b", "c", window_ns=5000 * MS)
    obs(aligner, "a", 1, 0, 0)
    aligner.skip("c", 9, 900 * MS, 500 * MS)
    aligner.skip("b", 9, 900 * MS, 500 * MS)
    assert aligner.tick(1500 * MS) == []


def test_r5_even_a_stale_sign_of_life_can_make_the_head_complete() -> None:
    aligner = engine(idle_timeout_ns=10 * MS)
    aligner.source_up("k", 0, stride=2)
    aligner.epoch(1, 0)
    obs(aligner, "x", 2, 0, 0)
    assert aligner.tick(10 * MS) == [Idle("k")]
    aligner.tick(100 * MS)
    assert obs(aligner, "x", 3, 33, 133) == []
    woken, released = aligner.bound("k", 0, 134 * MS, epoch=0)
    assert woken == Active("k")
    assert sets([released]) == [(3, ("x",), "complete")]


# R10 to R14: where an OBS ends.


def test_r10_a_time_that_goes_back_does_not_move_max_t() -> None:
    aligner = engine("a", "b")
    obs(aligner, "a", 2, 100, 10)
    obs(aligner, "a", 1, 0, 1000)
    assert reasons(obs(aligner, "a", 3, 2090, 1000)) == []


def test_r11_a_retired_id_with_another_time_is_a_mismatch() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 0, 10)
    assert reasons(obs(aligner, "b", 1, 33, 20)) == ["t_mismatch"]


def test_r11_a_mismatched_obs_promises_nothing() -> None:
    aligner = engine("a", "b")
    obs(aligner, "a", 1, 0, 10)
    assert obs(aligner, "b", 1, 33, 20) == [Drop("b", 1, 33 * MS, "t_mismatch")]


def test_r12_an_unordered_source_settles_nothing_by_reporting() -> None:
    aligner = engine("a")
    aligner.source_up("u", 0, ordered=False)
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "a", 2, 33, 43)
    assert obs(aligner, "u", 2, 33, 50) == []


def test_r12_the_obs_of_a_source_that_is_down_promises_nothing() -> None:
    aligner = engine("a", "b", "c")
    obs(aligner, "a", 1, 0, 10)
    aligner.source_down("b", 11 * MS)
    obs(aligner, "b", 2, 33, 43)
    (out,) = aligner.tick(110 * MS)
    assert isinstance(out, AlignedSet)
    assert (out.missing, out.skipped) == (("b", "c"), ())


def test_r12_an_obs_settles_other_frames_of_its_own_time() -> None:
    aligner = engine("a", "b")
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "a", 2, 0, 11)
    assert [frame for frame, _, _ in sets(obs(aligner, "b", 1, 0, 12))] == [1, 2]


def test_r12_a_late_obs_is_a_promise_too() -> None:
    aligner = engine("a", "b")
    obs(aligner, "a", 1, 0, 10)
    aligner.tick(110 * MS)
    obs(aligner, "a", 2, 0, 111)
    late, released = obs(aligner, "b", 1, 0, 112)
    assert isinstance(late, Late)
    assert sets([released]) == [(2, ("a",), "complete")]


def test_r13_lateness_ends_at_window_plus_allowed() -> None:
    aligner = engine("a")
    obs(aligner, "a", 9, 1000, 10)
    assert isinstance(obs(aligner, "b", 2, 850, 20)[0], Late)
    assert reasons(obs(aligner, "b", 1, 849, 20)) == ["too_late"]


def test_r13_a_second_late_obs_of_a_source_is_a_duplicate() -> None:
    aligner = engine("a")
    obs(aligner, "a", 2, 33, 10)
    obs(aligner, "b", 1, 0, 20)
    assert reasons(obs(aligner, "b", 1, 0, 21)) == ["duplicate"]


def test_r13_revisions_count_per_frame() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "a", 2, 33, 43)
    outs = [obs(aligner, source, frame, t, 50)[0] for source, frame, t in (("b", 1, 0), ("c", 1, 0), ("b", 2, 33))]
    assert [out.as_dict()["revision"] for out in outs] == [1, 2, 1]


def test_r13_an_id_between_the_frontier_and_the_floor_of_the_same_time_is_ordered_by_id() -> None:
    aligner = engine("a")
    obs(aligner, "a", 5, 0, 10)
    assert isinstance(obs(aligner, "b", 4, 0, 11)[0], Late)
    assert sets(obs(aligner, "a", 6, 0, 12)) == [(6, ("a",), "complete")]


def test_r14_a_frame_keeps_the_stamp_of_its_first_obs() -> None:
    aligner = engine("a", "b", "c")
    for n, source in enumerate("abc"):
        out = obs(aligner, source, 1, 0, 10 + 5 * n)
    assert isinstance(out[0], AlignedSet)
    assert (out[0].hold_ns, out[0].spread_ns) == (10 * MS, 10 * MS)


def test_r14_a_duplicate_does_not_stretch_the_spread() -> None:
    aligner = engine("a", "b")
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "a", 1, 0, 90)
    (out,) = aligner.tick(110 * MS)
    assert isinstance(out, AlignedSet)
    assert out.spread_ns == 0


# R24 to R26: sets, memory, the end.


def test_r24_a_set_says_who_is_missing_and_who_skipped() -> None:
    aligner = engine("a", "skips", "bounds", "gone", "silent", idle_timeout_ns=20 * MS)
    aligner.source_up("strides", 0, stride=2)
    aligner.source_up("optional", 0, expected=False)
    aligner.source_down("gone", 0)
    aligner.skip("skips", 1, 0, 0)
    aligner.bound("bounds", 1, 0)
    obs(aligner, "a", 1, 0, 10)
    idle, released = aligner.tick(30 * MS)
    assert idle == Idle("silent")
    assert released.as_dict() == {
        "out": "set",
        "gen": 0,
        "frame": 1,
        "t": 0,
        "obs": ["a"],
        "missing": ["gone", "silent"],
        "skipped": ["bounds", "skips", "strides"],
        "reason": "complete",
        "hold": 20 * MS,
        "spread": 0,
    }


def test_r25_a_forgotten_frame_is_too_late_not_new() -> None:
    aligner = engine("a", max_buffered_frames=2)
    for frame in (1, 2, 3):
        obs(aligner, "a", frame, frame, 10)
    assert reasons(obs(aligner, "b", 1, 1, 20)) == ["too_late"]
    assert isinstance(obs(aligner, "b", 2, 2, 20)[0], Late)


def test_r25_an_orphan_that_does_not_fit_is_late_once_then_too_late() -> None:
    aligner = engine("a", max_buffered_frames=2)
    for frame in (3, 4):
        obs(aligner, "a", frame, frame, 10)
    assert isinstance(obs(aligner, "b", 2, 2, 20)[0], Late)
    assert reasons(obs(aligner, "c", 2, 2, 20)) == ["too_late"]


def test_r25_an_id_that_was_forgotten_may_come_again_with_another_time() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "a", 2, 151, 161)
    assert sets(obs(aligner, "a", 1, 200, 210)) == [(1, ("a",), "complete")]


def test_r26_after_close_the_engine_goes_on() -> None:
    aligner = engine("a", "b")
    obs(aligner, "a", 1, 0, 10)
    assert sets(aligner.close(20 * MS)) == [(1, ("a",), "close")]
    assert isinstance(obs(aligner, "b", 1, 0, 30)[0], Late)


# Parameters.


@pytest.mark.parametrize("bad", [{"window_ns": -1}, {"max_buffered_frames": 0}, {"max_sources": 0}])
def test_a_parameter_out_of_range_is_refused_by_name(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        AlignParams(**bad)

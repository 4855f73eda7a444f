"""The alignment contract, rule by rule, and the public vectors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from visualpath.core.align import Active, AlignedSet, Aligner, AlignParams, Drop, Idle, Late, Output, Reset
from visualpath.testing import vectors
from visualpath.testing.slow_aligner import SlowAligner

MS = 1_000_000
PUBLIC_VECTORS = Path(__file__).parents[3] / "shared" / "spec" / "vectors_public.jsonl"


def engine(*expected: str, **params: int) -> Aligner:
    """An engine with these expected, ordered sources up since 0."""
    aligner = Aligner(AlignParams(**params))
    for source in expected:
        aligner.source_up(source, 0)
    return aligner


def obs(aligner: Aligner, source: str, frame: int, t_ms: int, at_ms: int, epoch: int | None = None) -> list[Output]:
    return aligner.obs(source, frame, t_ms * MS, at_ms * MS, epoch, payload=f"{source}{frame}")


def sets(outputs: list[Output]) -> list[tuple[int, tuple[str, ...], str]]:
    return [(out.frame_id, out.obs, out.reason) for out in outputs if isinstance(out, AlignedSet)]


def reasons(outputs: list[Output]) -> list[str]:
    return [out.reason for out in outputs if isinstance(out, Drop)]


# Public vectors.


def public_vectors() -> list[Any]:
    if not PUBLIC_VECTORS.exists():
        missing = pytest.mark.skip(reason=f"no public vectors: {PUBLIC_VECTORS} is not there")
        return [pytest.param({}, marks=missing)]
    return [pytest.param(vector, id=vector["name"]) for vector in vectors.load(PUBLIC_VECTORS)]


@pytest.mark.parametrize("vector", public_vectors())
@pytest.mark.parametrize("make", [Aligner, SlowAligner])
def test_public_vector(vector: vectors.Vector, make: Any) -> None:
    assert vectors.differences(vector, make) == []


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


# R6, R7: other time lines.


def test_r6_event_time_may_run_ahead_by_the_guard_and_no_more() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 0, 10)
    assert reasons(obs(aligner, "a", 2, 1011, 20)) == ["future"]
    assert reasons(obs(aligner, "a", 2, 1010, 20)) == []


def test_r6_event_time_may_fall_back_by_the_backstep_and_no_more() -> None:
    aligner = engine("a")
    obs(aligner, "a", 9, 6000, 10)
    assert reasons(obs(aligner, "a", 2, 1000, 20)) == ["too_late"]
    assert reasons(obs(aligner, "a", 2, 999, 20)) == ["past"]


def test_r6_before_the_first_obs_no_time_is_out_of_band() -> None:
    assert sets(obs(engine("a"), "a", 1, 10**9, 10)) == [(1, ("a",), "complete")]


def test_r6_an_older_epoch_is_stale() -> None:
    aligner = engine("a")
    aligner.epoch(2, 0)
    assert reasons(obs(aligner, "a", 1, 0, 10, epoch=1)) == ["stale_epoch"]


def test_r6_promises_of_a_newer_epoch_are_ignored() -> None:
    aligner = engine("a", "b")
    aligner.skip("b", 1, 0, 0, epoch=1)
    aligner.bound("b", 10 * MS, 0, epoch=1)
    assert obs(aligner, "a", 1, 0, 10) == []


def test_r7_an_in_band_obs_ends_the_run() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 0, 10)
    for at in (20, 30):
        assert reasons(obs(aligner, "a", 9, 60_000, at)) == ["future"]
    obs(aligner, "a", 2, 33, 40)
    assert reasons(obs(aligner, "a", 9, 60_000, 50)) == ["future"]


def test_r7_a_stale_obs_does_not_end_the_run() -> None:
    aligner = engine("a")
    aligner.epoch(1, 0)
    obs(aligner, "a", 1, 0, 10)
    for at in (20, 30):
        obs(aligner, "a", 9, 60_000, at)
    obs(aligner, "a", 7, 0, 40, epoch=0)
    assert Reset(2, "future") in obs(aligner, "a", 9, 60_000, 50)


def test_r7_a_run_is_of_one_kind() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 10_000, 10)
    assert reasons(obs(aligner, "a", 9, 60_000, 20)) == ["future"]
    assert reasons(obs(aligner, "a", 9, 60_000, 30)) == ["future"]
    assert reasons(obs(aligner, "a", 9, 60_000, 40, epoch=1)) == ["epoch"]


def test_r7_a_run_is_of_one_epoch() -> None:
    aligner = engine("a")
    for epoch in (1, 1, 2):
        assert reasons(obs(aligner, "a", 1, 0, 10, epoch)) == ["epoch"]


def test_r7_times_that_jump_about_make_no_run() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 0, 10)
    for n, t in enumerate((60_000, 61_011, 62_100)):
        assert reasons(obs(aligner, "a", 9, t, 20 + 10 * n)) == ["future"]


def test_r7_times_that_fall_back_within_the_future_make_no_run() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 0, 10)
    for n, t in enumerate((90_000, 80_000, 70_000)):
        assert reasons(obs(aligner, "a", 9, t, 20 + 10 * n)) == ["future"]


def test_r7_a_run_may_drift_by_the_guard() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "a", 9, 60_000, 20)
    obs(aligner, "a", 10, 61_010, 30)
    assert Reset(1, "future") in obs(aligner, "a", 11, 60_020, 40)


def test_r7_one_source_that_is_the_only_one_alive_may_prove_a_jump() -> None:
    aligner = engine("a", "b")
    aligner.source_down("b", 0)
    obs(aligner, "a", 1, 0, 10)
    for n in (2, 3):
        assert reasons(obs(aligner, "a", n, 60_000 + 33 * n, 33 * n)) == ["future"]
    assert Reset(1, "future") in obs(aligner, "a", 4, 60_132, 132)


def jump(aligner: Aligner, source: str, times: int = 3) -> list[Output]:
    """What an engine says to OBS of this source that are a minute ahead, at 30 FPS."""
    return [out for n in range(times) for out in obs(aligner, source, 100 + n, 60_000 + 33 * n, 20 + 33 * n)]


def test_g9_a_source_that_is_down_cannot_reset_time_while_another_lives() -> None:
    aligner = engine("x", "y")
    aligner.source_down("x", 0)
    obs(aligner, "y", 1, 0, 10)
    assert reasons(jump(aligner, "x", times=10)) == ["future"] * 10


def test_g9_an_unknown_source_cannot_reset_time_while_another_lives() -> None:
    aligner = engine("y")
    obs(aligner, "y", 1, 0, 10)
    assert reasons(jump(aligner, "x", times=10)) == ["future"] * 10


def test_g9_a_lone_expected_source_cannot_reset_time_while_an_optional_one_lives() -> None:
    aligner = engine("y")
    aligner.source_up("o", 0, expected=False)
    obs(aligner, "y", 1, 0, 10)
    assert reasons(jump(aligner, "y", times=10)) == ["future"] * 10


def test_r7_a_source_that_is_down_is_a_second_witness() -> None:
    aligner = engine("x", "y")
    aligner.source_down("x", 0)
    obs(aligner, "y", 1, 0, 10)
    jump(aligner, "x", times=2)
    assert Reset(1, "future") in obs(aligner, "y", 102, 60_066, 86)


def test_r7_with_nobody_up_one_source_that_is_down_may_prove_a_jump() -> None:
    aligner = engine("x", "y")
    obs(aligner, "y", 1, 0, 10)
    aligner.source_down("x", 11 * MS)
    aligner.source_down("y", 11 * MS)
    assert Reset(1, "future") in jump(aligner, "x")


def test_r7_an_idle_source_is_no_witness_to_wait_for() -> None:
    aligner = engine("a", "b", idle_timeout_ns=10 * MS, window_ns=5 * MS)
    obs(aligner, "a", 1, 0, 10)
    assert Idle("b") in aligner.tick(20 * MS)
    for n in (2, 3):
        obs(aligner, "a", n, 60_000 + 33 * n, 33 * n)
    assert Reset(1, "future") in obs(aligner, "a", 4, 60_132, 132)


def test_r7_with_jump_confirm_0_a_jump_is_never_inferred() -> None:
    aligner = engine("a", jump_confirm=0)
    obs(aligner, "a", 1, 0, 10)
    outs = [obs(aligner, "a", n, 60_000 + 33 * n, 33 * n, epoch=1) for n in range(2, 20)]
    assert all(reasons(out) == ["epoch"] for out in outs)


# R8, R9: resets.


def test_r8_a_reset_releases_what_waits_in_order_then_says_so_then_takes_the_obs() -> None:
    aligner = engine("a", jump_confirm=1)
    aligner.source_up("b", 0, ordered=False)
    obs(aligner, "b", 2, 33, 10)
    obs(aligner, "a", 1, 0, 11)
    obs(aligner, "a", 9, 90_000, 12)
    out = obs(aligner, "b", 9, 90_000, 13)
    assert [type(each) for each in out] == [AlignedSet, AlignedSet, Reset]
    assert sets(out) == [(1, ("a",), "reset"), (2, ("b",), "reset")]
    assert sets(obs(aligner, "a", 9, 90_000, 14)) == [(9, ("a", "b"), "complete")]


def test_r8_the_sets_of_a_reset_still_know_the_old_promises() -> None:
    aligner = engine("a", "b", "c")
    obs(aligner, "a", 1, 0, 10)
    aligner.skip("b", 1, 0, 11 * MS)
    out = aligner.epoch(1, 12 * MS)[0]
    assert isinstance(out, AlignedSet)
    assert (out.gen, out.skipped, out.missing) == (0, ("b",), ("c",))


def test_r8_a_reset_forgets_bounds_and_skips() -> None:
    aligner = engine("a", "b", "c")
    aligner.bound("b", 5000 * MS, 0)
    aligner.skip("c", 1, 0, 0)
    aligner.epoch(1, 0)
    aligner.bound("b", 0, 0)
    obs(aligner, "a", 1, 0, 10)
    (out,) = aligner.tick(110 * MS)
    assert isinstance(out, AlignedSet)
    assert out.missing == ("b", "c")


def test_r8_a_reset_forgets_idle_timers() -> None:
    aligner = engine("a", "b")
    obs(aligner, "a", 1, 0, 10)
    aligner.epoch(1, 20 * MS)
    assert aligner.next_deadline() is None


def test_r8_a_reset_forgets_what_was_retired() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 50, 10)
    aligner.epoch(1, 20 * MS)
    assert sets(obs(aligner, "a", 1, 0, 30)) == [(1, ("a",), "complete")]


def test_r8_a_reset_forgets_the_run() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 0, 10, epoch=2)
    obs(aligner, "a", 1, 0, 10, epoch=2)
    aligner.epoch(1, 20 * MS)
    assert reasons(obs(aligner, "a", 1, 0, 30, epoch=2)) == ["epoch"]


def test_r8_who_joined_before_a_reset_is_waited_for_after_it() -> None:
    aligner = engine("a")
    obs(aligner, "a", 1, 0, 10)
    aligner.source_up("b", 20 * MS)
    aligner.epoch(1, 30 * MS)
    assert obs(aligner, "a", 0, 0, 40) == []


def test_r9_a_known_epoch_is_ignored() -> None:
    aligner = engine("a")
    assert aligner.epoch(1, 0) == [Reset(1, "epoch")]
    assert aligner.epoch(1, 0) == aligner.epoch(0, 0) == []


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


# R15 to R17: promises, and who is waited for.


def test_r15_a_pause_of_the_camera_makes_nobody_idle() -> None:
    aligner = engine("a", "b")
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "b", 1, 0, 20)
    assert aligner.next_deadline() is None
    assert aligner.tick(60_000 * MS) == []


def test_r15_who_begins_a_frame_owes_it_nothing() -> None:
    aligner = engine()
    aligner.source_up("a", 0, ordered=False)
    aligner.source_up("b", 0, stride=9)
    obs(aligner, "a", 0, 0, 10)
    aligner.tick(110 * MS)
    assert aligner.tick(1010 * MS) == [Idle("b")]


def test_r15_silence_counts_from_the_oldest_unanswered_frame() -> None:
    aligner = engine("a", "b", window_ns=5000 * MS)
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "a", 2, 33, 43)
    assert aligner.next_deadline() == 1010 * MS


def test_r15_who_has_settled_the_frame_owes_nothing() -> None:
    aligner = engine("a", "b", "c")
    aligner.skip("b", 1, 0, 0)
    aligner.bound("c", 1, 0)
    aligner.source_up("k", 0, stride=2)
    obs(aligner, "a", 0, 5, 0)
    aligner.epoch(1, 0)
    aligner.bound("c", 1 * MS, 0)
    aligner.skip("b", 1, 0, 0)
    assert sets(obs(aligner, "a", 1, 0, 0)) == [(1, ("a",), "complete")]
    assert aligner.next_deadline() is None


def test_r16_a_bound_settles_what_is_below_it_only() -> None:
    aligner = engine("a", "b")
    aligner.bound("b", 33 * MS, 0)
    assert sets(obs(aligner, "a", 1, 32, 40)) == [(1, ("a",), "complete")]
    assert obs(aligner, "a", 2, 33, 43) == []


def test_r16_bounds_only_rise() -> None:
    aligner = engine("a", "b")
    aligner.bound("b", 33 * MS, 0)
    aligner.bound("b", 10 * MS, 0)
    assert sets(obs(aligner, "a", 1, 32, 40)) == [(1, ("a",), "complete")]


def test_r16_only_the_last_skips_are_kept() -> None:
    aligner = engine("a", "b", max_buffered_frames=2)
    for frame in (1, 2, 3):
        aligner.skip("b", frame, frame * MS, 0)
    assert obs(aligner, "a", 1, 1, 10) == []
    assert sets(obs(aligner, "a", 2, 2, 11)) == []
    (first, second) = aligner.tick(111 * MS)
    assert isinstance(first, AlignedSet)
    assert isinstance(second, AlignedSet)
    assert (first.missing, second.skipped) == (("b",), ("b",))


def test_r16_a_promise_does_not_prevent_an_obs_from_being_taken() -> None:
    aligner = engine("a", "b")
    aligner.skip("b", 1, 0, 0)
    obs(aligner, "b", 1, 0, 5)
    assert sets(obs(aligner, "a", 1, 0, 10)) == [(1, ("a", "b"), "complete")]


def test_r16_promises_create_no_frame() -> None:
    aligner = engine("a", "b")
    aligner.skip("a", 1, 0, 0)
    aligner.skip("b", 1, 0, 0)
    assert aligner.close(1) == []


def test_r16_promises_of_an_unknown_source_are_ignored() -> None:
    aligner = engine("a", max_sources=2)
    assert aligner.skip("x", 1, 0, 0) == aligner.bound("y", 1, 0) == []
    assert reasons(obs(aligner, "z", 1, 0, 10)) == []


@pytest.mark.parametrize(("frame", "waits"), [(3, False), (4, True), (5, False), (7, True)])
def test_r16_a_stride_owes_the_frames_of_its_phase(frame: int, waits: bool) -> None:
    aligner = engine("a")
    aligner.source_up("k", 0, stride=3, phase=1)
    assert (obs(aligner, "a", frame, 0, 10) == []) == waits


def test_r17_an_idle_source_is_not_waited_for() -> None:
    aligner = engine("a", "b", idle_timeout_ns=50 * MS)
    obs(aligner, "a", 1, 0, 10)
    out = aligner.tick(60 * MS)
    assert out[0] == Idle("b")
    assert sets(out) == [(1, ("a",), "complete")]


# R18, R18b, R19, R20: the head.


def test_r18_with_nobody_to_wait_for_the_window_decides() -> None:
    aligner = engine("a")
    obs(aligner, "x", 1, 0, 10)
    assert aligner.source_down("a", 20 * MS) == []
    assert sets(aligner.tick(110 * MS)) == [(1, ("x",), "window")]


def with_gap(**params: int) -> Aligner:
    """Frame 1 has left; 3 is complete by a's OBS and b's skip; nobody has said anything about 2."""
    aligner = Aligner(AlignParams(**params))
    for source in "ab":
        aligner.source_up(source, 0, ordered=False)
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "b", 1, 0, 10)
    assert aligner.skip("b", 3, 66 * MS, 67 * MS) == []
    assert obs(aligner, "a", 3, 66, 76) == []
    return aligner


def test_r18b_each_source_must_settle_the_gap() -> None:
    aligner = with_gap()
    assert aligner.skip("a", 2, 33 * MS, 80 * MS) == []
    assert sets(aligner.skip("b", 2, 33 * MS, 81 * MS)) == [(3, ("a",), "complete")]


def test_r18b_a_bound_at_the_heads_time_settles_the_gap() -> None:
    aligner = with_gap()
    aligner.skip("a", 2, 33 * MS, 80 * MS)
    assert aligner.bound("b", 66 * MS - 1, 81 * MS) == []
    assert sets(aligner.bound("b", 66 * MS, 82 * MS)) == [(3, ("a",), "complete")]


@pytest.mark.parametrize(("phase", "held"), [(0, False), (1, True)])
def test_r18b_a_stride_settles_the_ids_that_are_not_of_its_phase(phase: int, held: bool) -> None:
    aligner = engine()
    aligner.source_up("k", 0, ordered=False, stride=2, phase=phase)
    aligner.source_up("a", 0, ordered=False)
    obs(aligner, "a", 2, 0, 10)
    obs(aligner, "k", 2, 0, 10)
    aligner.skip("a", 3, 33 * MS, 43 * MS)
    obs(aligner, "a", 4, 66, 76)
    assert (obs(aligner, "k", 4, 66, 77) == []) == held


def test_r18b_the_frame_of_the_gap_takes_the_lead() -> None:
    aligner = with_gap()
    aligner.skip("b", 2, 33 * MS, 80 * MS)
    assert [frame for frame, _, _ in sets(obs(aligner, "a", 2, 33, 81))] == [2, 3]


def test_r18b_a_held_head_leaves_complete_when_its_window_is_over() -> None:
    assert sets(with_gap().tick(176 * MS)) == [(3, ("a",), "complete")]


def test_r18b_who_goes_down_owes_no_gap() -> None:
    aligner = with_gap()
    aligner.skip("a", 2, 33 * MS, 80 * MS)
    assert sets(aligner.source_down("b", 81 * MS)) == [(3, ("a",), "complete")]


def test_r18b_nothing_is_held_before_the_first_release_of_a_generation() -> None:
    aligner = engine()
    aligner.source_up("a", 0, ordered=False)
    assert sets(obs(aligner, "a", 7, 0, 10)) == [(7, ("a",), "complete")]
    aligner.epoch(1, 20 * MS)
    assert sets(obs(aligner, "a", 7, 0, 30)) == [(7, ("a",), "complete")]


@pytest.mark.parametrize(("frame", "held"), [(10, True), (11, False)])
def test_r18b_more_ids_than_the_buffer_holds_are_no_gap(frame: int, held: bool) -> None:
    aligner = engine(max_buffered_frames=8)
    aligner.source_up("a", 0, ordered=False)
    obs(aligner, "a", 1, 0, 10)
    assert (obs(aligner, "a", frame, 33, 43) == []) == held


def test_r18b_an_id_that_waits_itself_is_no_gap() -> None:
    aligner = engine()
    aligner.source_up("a", 0, ordered=False)
    aligner.source_up("b", 0, ordered=False)
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "b", 1, 0, 10)
    obs(aligner, "a", 2, 99, 43)
    obs(aligner, "a", 3, 66, 76)
    assert sets(obs(aligner, "b", 3, 66, 77)) == [(3, ("a", "b"), "complete")]


def test_r19_everything_that_is_ready_leaves_at_once() -> None:
    aligner = engine("a", "b")
    for frame in (1, 2, 3):
        obs(aligner, "a", frame, frame * 33, frame * 33)
    assert [frame for frame, _, _ in sets(obs(aligner, "b", 3, 99, 120))] == [1, 2, 3]


def test_r20_what_is_complete_leaves_before_anything_overflows() -> None:
    aligner = engine("a", "b", max_buffered_frames=1)
    obs(aligner, "a", 1, 0, 10)
    assert sets(obs(aligner, "b", 2, 33, 20)) == [(1, ("a",), "complete")]


def test_r20_a_held_head_may_overflow() -> None:
    aligner = engine(max_buffered_frames=1)
    aligner.source_up("a", 0, ordered=False)
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "a", 3, 66, 76)
    assert sets(obs(aligner, "a", 5, 132, 142)) == [(3, ("a",), "overflow")]


# R21 to R23: time.


def test_r21_idle_sources_are_named_in_order() -> None:
    aligner = engine("c", "a", "b", idle_timeout_ns=10 * MS)
    obs(aligner, "a", 1, 0, 0)
    assert aligner.tick(10 * MS)[:2] == [Idle("b"), Idle("c")]


def test_r21_the_window_counts_from_the_first_obs_of_the_frame() -> None:
    aligner = engine("a", "b", "c")
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "b", 1, 0, 90)
    assert sets(aligner.tick(110 * MS)) == [(1, ("a", "b"), "window")]


def test_r21_after_the_overdue_frames_the_ready_ones_leave_too() -> None:
    aligner = engine("a", "b")
    aligner.skip("b", 2, 33 * MS, 0)
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "a", 2, 33, 43)
    assert sets(aligner.tick(110 * MS)) == [(1, ("a",), "window"), (2, ("a",), "complete")]


def test_r22_no_input_but_tick_acts_by_time() -> None:
    aligner = engine("a", "b")
    obs(aligner, "a", 1, 0, 10)
    assert obs(aligner, "a", 2, 900, 5000) == []
    assert aligner.bound("a", 0, 6000 * MS) == []


def test_r23_without_frames_and_debts_there_is_no_deadline() -> None:
    assert engine("a", "b").next_deadline() is None


def test_r23_the_deadline_is_the_first_of_window_and_idleness() -> None:
    aligner = engine("a", "b", window_ns=100 * MS, idle_timeout_ns=300 * MS)
    obs(aligner, "a", 1, 0, 10)
    assert aligner.next_deadline() == 110 * MS
    aligner.tick(110 * MS)
    assert aligner.next_deadline() == 310 * MS
    assert aligner.tick(310 * MS - 1) == []
    assert aligner.tick(310 * MS) == [Idle("b")]
    assert aligner.next_deadline() is None


def test_r23_a_source_that_is_down_sets_no_deadline() -> None:
    aligner = engine("a", "b", "c")
    obs(aligner, "a", 1, 0, 10)
    obs(aligner, "c", 1, 0, 10)
    aligner.source_down("b", 20 * MS)
    assert aligner.next_deadline() is None


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


# Parameters and the vector runner.


@pytest.mark.parametrize("bad", [{"window_ns": -1}, {"max_buffered_frames": 0}, {"max_sources": 0}])
def test_a_parameter_out_of_range_is_refused_by_name(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        AlignParams(**bad)


VECTOR = (
    '{"name": "v", "desc": "", "params": {}, "events": [{"in": "up", "source": "a", "now": 0},'
    ' {"in": "obs", "source": "a", "frame": -1, "t": 0, "arrival": 0}],'
    ' "expect": [[1, {"out": "drop", "source": "a", "frame": -1, "t": 0, "reason": "REASON"}]]}\n'
)


def test_the_vector_runner_passes_what_matches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "v.jsonl"
    file.write_text(VECTOR.replace("REASON", "invalid"))
    assert vectors.main([str(file)]) == 0
    assert capsys.readouterr().out == "1 passed, 0 failed\n"


def test_the_vector_runner_prints_each_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "v.jsonl"
    file.write_text(VECTOR.replace("REASON", "past") + "\n" + VECTOR.replace("REASON", "invalid"))
    assert vectors.main([str(file)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("v: expected at event 1:")
    assert out.endswith("1 passed, 1 failed\n")


def test_the_vector_runner_notices_an_output_too_few(tmp_path: Path) -> None:
    vector = next(vectors.load(_written(tmp_path, VECTOR)))
    vector["expect"].append([1, {"out": "idle", "source": "a"}])
    assert len(vectors.differences(vector)) == 2


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"v\.jsonl:2"):
        list(vectors.load(_written(tmp_path, VECTOR + "{")))


def _written(folder: Path, text: str) -> Path:
    file = folder / "v.jsonl"
    file.write_text(text)
    return file

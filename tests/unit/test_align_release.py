"""The alignment contract, rules R15 to R23: promises, who is waited for, when a frame leaves."""

from __future__ import annotations

import pytest
from align_steps import MS, engine, obs, reasons, sets

from visualpath.core.align import AlignedSet, Aligner, AlignParams, Idle

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

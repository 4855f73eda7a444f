"""The alignment contract, rules R6 to R9: jumps of event time, epochs, resets."""

from __future__ import annotations

from align_steps import MS, engine, obs, reasons, sets

from visualpath.core.align import AlignedSet, Aligner, Idle, Output, Reset

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

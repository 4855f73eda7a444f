"""The pure parts of the soak: slopes, what explains a failed clip, and the sums of a run of fusion."""

import random

import pytest
from soak import in_random_order
from soak_audit import Daemon, grown, growth
from soak_books import Counted, Mark, Run, Strike, compare_lost, compare_silence, explained_by
from soak_faults import KINDS
from soak_fit import Reading, Slope, descriptors_gained, settled, slope_within

from visualpath.process.record import Entry
from visualpath_protocol.messages import Obs, StreamState

NS = 1_000_000_000
MIB = 1 << 20
STRIKE = Strike(1, "no bytes under clips", 100 * NS, 110 * NS, 0.1, ("no space",))


def line(start_s, height, rise, count=40, noise=0.0):
    chance = random.Random(start_s)
    return [(x, height + rise * x + chance.gauss(0, noise)) for x in range(start_s, start_s + count)]


def life(seconds, rss_bytes=50 * MIB, fds=20, rise=0.0):
    return [Reading(age_s, int(rss_bytes + rise * age_s), fds) for age_s in range(0, seconds, 2)]


def test_processes_of_other_heights_that_do_not_grow_have_no_slope():
    slope = slope_within([line(0, 10, 0), line(100, 50, 0), line(200, 90, 0)])
    assert slope == Slope(0, 0)


def test_restarts_at_the_first_height_hide_no_slope():
    assert slope_within([line(0, 0, 2), line(0, 0, 2), line(0, 0, 2)]).rise == pytest.approx(2)


def test_the_slope_lies_within_three_errors_of_the_truth():
    slope = slope_within([line(start_s, 5, 0.3, noise=2) for start_s in range(0, 400, 40)])
    assert abs(slope.rise - 0.3) < 3 * slope.error
    assert slope.error < 0.1


def test_a_step_is_known_less_surely_than_the_residuals_alone_say():
    step = [(x, 0.0 if x < 50 else 1.0) for x in range(100)]
    jumbled = [(x, y) for (x, _), (_, y) in zip(step, random.Random(1).sample(step, len(step)), strict=True)]
    assert slope_within([step]).error > 2 * slope_within([jumbled]).error


def test_too_little_has_no_slope():
    assert slope_within([line(0, 1, 1, count=2)]) is None


def test_the_first_minute_of_a_life_is_left_out():
    assert [reading.age_s for reading in settled([life(70)])[0]] == [60, 62, 64, 66, 68]


def test_a_life_of_a_minute_is_left_out():
    assert settled([life(64)]) == []


def test_a_descriptor_that_is_open_at_some_readings_is_no_gain():
    readings = [Reading(age_s, 0, 20 + age_s % 2) for age_s in range(20)]
    assert descriptors_gained(readings) == 0


def test_a_dip_at_the_beginning_makes_no_gain():
    fds = [20, 17, *[20] * 18]
    assert descriptors_gained([Reading(age_s, 0, each) for age_s, each in enumerate(fds)]) == 0


def test_descriptors_that_stay_open_are_a_gain():
    assert descriptors_gained([Reading(age_s, 0, 20 + age_s // 10) for age_s in range(40)]) == 3


def test_a_daemon_that_grows_steadily_is_a_leak():
    daemon = growth("clip", [life(1200, rise=10 * MIB / 3600)])
    assert grown(daemon) == ["clip grows by at least 10.0 MiB/h"]


def test_a_daemon_that_fills_up_in_its_first_minutes_is_no_leak():
    filling = [Reading(age_s, 40 * MIB + min(age_s, 170) * 20_000, 20) for age_s in range(0, 900, 2)]
    assert grown(growth("fusion", [filling, filling])) == []


def test_a_daemon_that_stays_as_it_is_has_no_leak():
    assert grown(growth("clip", [life(800), life(300, rss_bytes=90 * MIB)])) == []


def test_a_daemon_that_gains_descriptors_is_unexplained():
    daemon = Daemon("clip", processes=1, fds=(20, 30), fds_gained=10)
    assert grown(daemon) == ["a process of clip has 10 file descriptors more at its end"]


def test_a_fault_explains_a_clip_of_its_time_that_failed_for_its_reason():
    assert explained_by("no space", 105 * NS, 106 * NS, [STRIKE]) is STRIKE


def test_a_fault_explains_no_clip_of_another_time():
    assert explained_by("no space", 205 * NS, 206 * NS, [STRIKE]) is None


def test_a_fault_explains_no_failure_for_another_reason():
    assert explained_by("no frame of the span is to be had: evicted", 105 * NS, 106 * NS, [STRIKE]) is None


def told(*messages):
    run = Run()
    for when_s, message in messages:
        run.enter(Entry(when_s * NS, "demo", message, b""), ("a", "b"))
    return run


def obs(seq, *, source="a", epoch=1):
    return Obs(source=source, instance=f"i-{source}", seq=seq, stream="demo", epoch=epoch, frame_id=seq, t_ns=seq,
               mono_ns=0, observations=[], bound_ns=0)  # fmt: skip


def state(epoch, last):
    return StreamState(stream="demo", epoch=epoch, state="live", last_frame_id=last, first_t_ns=0, last_t_ns=1)


GAP = told((1, obs(0)), (10, obs(4)), (30, obs(5)))


def test_what_fusion_counts_as_lost_is_what_its_record_shows_at_that_moment():
    asked = [Counted(5 * NS, 6 * NS, {"a": 0}), Counted(20 * NS, 21 * NS, {"a": 3})]
    assert compare_lost(GAP, asked) == (2, [])


def test_a_loss_that_fusion_does_not_count_is_found():
    _, wrong = compare_lost(GAP, [Counted(20 * NS, 21 * NS, {"a": 2})])
    assert wrong == ["fusion counts 2 messages of a as lost, its record shows 3"]


def test_what_another_run_counted_is_compared_with_that_one_alone():
    assert compare_lost(GAP, [Counted(40 * NS, 41 * NS, {"a": 9})]) == (0, [])


SILENT = told((1, state(1, None)), (2, obs(0)), (2, obs(0, source="b")), (3, state(1, 2)), (4, state(2, 0)))
"""Of 3 frames x 2 sources of epoch 1, nothing was said of 4."""


def test_silence_between_two_marks_is_what_was_counted():
    assert compare_silence([SILENT], [Mark(7, 1, 10), Mark(7, 2, 14)], ("a", "b")) == (4, 4, [])


def test_silence_that_was_not_counted_is_found():
    _, _, wrong = compare_silence([SILENT], [Mark(7, 1, 10), Mark(7, 2, 13)], ("a", "b"))
    assert wrong == ["of 4 frames of epochs 1 to 2 nothing was said, 3 counted"]


def test_what_is_said_of_an_epoch_that_is_over_is_too_late():
    late = told((1, state(1, 0)), (2, state(2, 0)), (3, obs(0)))
    assert late.books.unreported(("a",), range(1, 2)) == 1


def test_the_same_seed_gives_the_same_order_of_faults():
    orders = [in_random_order(KINDS, 5), in_random_order(KINDS, 5)]
    assert [next(orders[0]).name for _ in range(60)] == [next(orders[1]).name for _ in range(60)]


def test_every_kind_of_fault_is_played_before_one_comes_again():
    order = in_random_order(KINDS, 5)
    assert len({next(order).name for _ in KINDS}) == len(KINDS)

"""What bench_streams.py says about samples is true of them."""

import importlib.util
import random
import sys
from pathlib import Path

import pytest

MODULE = Path(__file__).parents[1] / "bench" / "streams_figures.py"
MIB = 1 << 20
TIMES_S = [n * 10.0 for n in range(41)]
"""The last two thirds of ten minutes."""


@pytest.fixture(scope="module")
def figures():
    spec = importlib.util.spec_from_file_location("streams_figures", MODULE)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def noisy(mib_in_10_min, sd_mib, seed=1):
    chance = random.Random(seed)
    return [(50 + mib_in_10_min * t / 600 + chance.gauss(0, sd_mib)) * MIB for t in TIMES_S]


def test_the_trend_of_a_straight_line_is_its_slope_without_noise(figures):
    line = figures.trend(TIMES_S, [5.0 + 0.5 * t for t in TIMES_S])
    assert (line.per_hour, line.noise_per_hour) == pytest.approx((1800.0, 0.0), abs=1e-6)


def test_the_trend_does_not_depend_on_where_the_clock_begins(figures):
    values = noisy(2, 0.1)
    late = figures.trend([t + 1e6 for t in TIMES_S], values)
    assert late.per_hour == pytest.approx(figures.trend(TIMES_S, values).per_hour)


def test_the_true_slope_is_within_the_noise_nearly_always(figures):
    lines = [figures.trend(TIMES_S, noisy(2, 0.3, seed)) for seed in range(200)]
    assert sum(abs(line.per_hour - 12 * MIB) <= line.noise_per_hour for line in lines) >= 180


def test_deviations_that_stay_make_more_noise_than_those_that_do_not(figures):
    steps = [(t // 100 % 2) * MIB for t in TIMES_S]
    shuffled = random.Random(1).sample(steps, len(steps))
    assert figures.trend(TIMES_S, steps).noise_per_hour > 1.5 * figures.trend(TIMES_S, shuffled).noise_per_hour


def test_values_that_never_change_have_neither_slope_nor_noise(figures):
    assert figures.trend(TIMES_S, [7.0] * len(TIMES_S)) == figures.Trend(0.0, 0.0)


def test_too_few_samples_have_no_trend(figures):
    with pytest.raises(ValueError, match="too few"):
        figures.trend(TIMES_S[:7], [0.0] * 7)


@pytest.mark.parametrize(
    ("mib_in_10_min", "noise_mib", "verdict"),
    [(0.0, 0.9, "flat"), (0.6, 0.3, "flat"), (-9.0, 1.0, "flat"), (1.5, 0.4, "grows"), (0.6, 0.6, "unclear"),
     (1.5, 0.6, "unclear"), (0.0, 5.0, "unclear")],
)  # fmt: skip
def test_memory_is_judged_by_what_its_noise_allows_to_say(figures, mib_in_10_min, noise_mib, verdict):
    assert figures.Trend(6 * mib_in_10_min * MIB, 6 * noise_mib * MIB).verdict == verdict


def test_what_rises_all_the_time_grows(figures):
    assert figures.judge(TIMES_S, noisy(5, 0.1)) == "grows"


def test_what_stays_is_flat(figures):
    assert figures.judge(TIMES_S, noisy(0, 0.1)) == "flat"


def test_one_step_is_no_growth_whenever_it_comes(figures):
    for when_s in TIMES_S:
        assert figures.judge(TIMES_S, [2.2 * MIB * (t >= when_s) for t in TIMES_S]) == "flat"


def test_steps_that_come_again_and_again_are_not_flat(figures):
    assert figures.judge(TIMES_S, [t // 50 * MIB for t in TIMES_S]) == "grows"


def test_the_first_third_of_the_time_is_not_looked_at(figures):
    times_s = [100.0 + n for n in range(31)]
    assert times_s[figures.settled(times_s)] == [110.0 + n for n in range(21)]


def test_descriptors_that_come_and_go_are_no_leak(figures):
    assert not figures.grows_in_number([40, 55, 41, 40, 54, 40])


def test_descriptors_of_which_some_never_go_are_a_leak(figures):
    assert figures.grows_in_number([40, 55, 41, 42, 54, 41])


def test_what_grew_is_counted_from_the_first_answer_on(figures):
    before = {"counters": {"frames": 10, "dropped.x": 2}, "sources": {"face": {"lost": 1}}}
    after = {"counters": {"frames": 15, "dropped.x": 2, "late.face": 4}, "sources": {"face": {"lost": 3}}}
    assert figures.gained(before, after) == {"frames": 5, "dropped.x": 0, "late.face": 4, "lost.face": 2}


@pytest.mark.parametrize("counter", ["frames", "sets", "sets.complete", "obs.face", "sent.ping", "h264.done"])
def test_counters_of_work_done_are_normal(figures, counter):
    assert figures.is_normal(counter)


@pytest.mark.parametrize("counter", ["sets.window", "skipped.backpressure", "late.face", "framesx", "triggers.refused"])
def test_all_others_are_shown(figures, counter):
    assert not figures.is_normal(counter)


@pytest.mark.parametrize("counter", ["dropped.ring_full", "skipped.gap", "lost.face", "clips.failed"])
def test_what_is_gone_is_lost(figures, counter):
    assert figures.is_lost(counter)


def test_what_an_extractor_leaves_out_for_want_of_time_is_not_lost(figures):
    assert not figures.is_lost("skipped.backpressure")


def sidecar(**changes):
    return {"gaps": [], "first_frame_id": 10, "last_frame_id": 69, "frames": 60, **changes}


def test_a_whole_clip_lacks_nothing(figures):
    assert figures.lacking(sidecar()) == []


def test_what_was_before_the_stream_is_not_lacking(figures):
    assert figures.lacking(sidecar(gaps=[{"from": -3, "to": 0, "reason": "before_start"}])) == []


def test_any_other_gap_is_lacking(figures):
    assert figures.lacking(sidecar(gaps=[{"from": 0, "to": 3, "reason": "evicted"}])) == ["gap evicted"]


def test_a_number_left_out_in_the_middle_is_lacking(figures):
    assert figures.lacking(sidecar(frames=59)) == ["59 frames of #10 to #69"]

"""The meter: a rate and two percentiles of what happened lately. Pure: time is an argument."""

import pytest

from visualpath.runtime.meter import MAX_SAMPLES, WINDOW_NS, Measured, Meter

S = 1_000_000_000
MS = 1_000_000


@pytest.fixture
def meter():
    return Meter()


def beat(meter, count, interval_ns, start_ns=0, duration_ns=0):
    """`count` times at equal intervals; returns the last instant."""
    for n in range(count):
        meter.add(start_ns + n * interval_ns, duration_ns)
    return start_ns + (count - 1) * interval_ns


def test_nothing_has_no_rate_and_no_durations(meter):
    assert meter.measured(7 * S) == Measured(0.0, None, None)


def test_one_alone_has_no_rate_yet(meter):
    meter.add(3 * S, 8 * MS)
    assert meter.measured(3 * S) == Measured(0.0, 8.0, 8.0)


@pytest.mark.parametrize("count", [2, 3, 50, 500])
def test_the_rate_of_a_regular_beat_is_exact_from_the_second_on(meter, count):
    now = beat(meter, count, 40 * MS)
    assert meter.measured(now).per_s == pytest.approx(25.0)


def test_a_beat_faster_than_is_remembered_still_has_its_rate(meter):
    now = beat(meter, 20 * MAX_SAMPLES, 1 * MS)
    assert meter.measured(now).per_s == pytest.approx(1000.0)


def test_a_silence_lowers_the_rate(meter):
    now = beat(meter, 126, 40 * MS)
    assert meter.measured(now + WINDOW_NS // 2).per_s == pytest.approx(12.5, rel=0.02)


def test_after_a_silence_of_the_window_there_is_nothing(meter):
    now = beat(meter, 126, 40 * MS)
    assert meter.measured(now + WINDOW_NS) == Measured(0.0, None, None)


def test_a_new_beginning_after_a_silence_counts_over_the_window(meter):
    beat(meter, 126, 40 * MS)
    now = beat(meter, 25, 40 * MS, start_ns=60 * S)
    meter.measured(50 * S)
    assert meter.measured(now).per_s == pytest.approx(25 / 5)


def test_reading_does_not_change_what_is_read(meter):
    now = beat(meter, 30, 40 * MS, duration_ns=5 * MS)
    assert meter.measured(now) == meter.measured(now)


def test_percentiles_are_nearest_ranks(meter):
    for n in range(1, 101):
        meter.add(n * MS, n * MS)
    assert (meter.measured(100 * MS).p50_ms, meter.measured(100 * MS).p95_ms) == (50.0, 95.0)


def test_the_order_of_durations_does_not_matter(meter):
    for n, duration in enumerate((30, 10, 20)):
        meter.add(n, duration * MS)
    assert (meter.measured(3).p50_ms, meter.measured(3).p95_ms) == (20.0, 30.0)


def test_old_durations_are_forgotten(meter):
    meter.add(0, 900 * MS)
    meter.add(6 * S, 10 * MS)
    assert meter.measured(7 * S).p95_ms == 10.0


def test_memory_is_bounded(meter):
    beat(meter, 5 * MAX_SAMPLES, 1)
    assert len(meter._samples) == MAX_SAMPLES

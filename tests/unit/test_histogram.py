"""Durations by bucket, as the daemons keep them."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visualpath.runtime.histogram import BOUNDS_NS, Histogram, Histograms

MS = 1_000_000


@pytest.fixture
def counters():
    return Counter()


@pytest.fixture
def histograms(counters):
    return Histograms(counters, max_series=2)


def cumulative(*durations_ns):
    histogram = Histogram()
    for duration_ns in durations_ns:
        histogram.observe(duration_ns)
    return histogram.cumulative()


def test_the_bounds_rise():
    assert list(BOUNDS_NS) == sorted(set(BOUNDS_NS))


@pytest.mark.parametrize("index", range(len(BOUNDS_NS)))
def test_a_duration_on_a_bound_is_at_most_that_bound(index):
    assert cumulative(BOUNDS_NS[index]).index(1) == index


@pytest.mark.parametrize("index", range(len(BOUNDS_NS)))
def test_a_duration_past_a_bound_is_more_than_that_bound(index):
    assert cumulative(BOUNDS_NS[index] + 1).index(1) == index + 1


def test_a_duration_past_all_bounds_is_counted():
    assert cumulative(BOUNDS_NS[-1] * 1000) == [0] * len(BOUNDS_NS) + [1]


@given(st.lists(st.integers(0, 60_000 * MS)))
def test_each_number_is_how_many_took_at_most_its_bound(durations_ns):
    at_most = [sum(d <= bound for d in durations_ns) for bound in BOUNDS_NS]
    assert cumulative(*durations_ns) == [*at_most, len(durations_ns)]


def test_the_sum_is_in_seconds():
    histogram = Histogram()
    for _ in range(3):
        histogram.observe(500 * MS)
    assert histogram.sum_s == 1.5


# By name and labels ---------------------------------------------------------------------------------


def test_a_snapshot_has_each_name_and_labels_with_its_numbers(histograms):
    histograms.observe("hold", 7 * MS, stream="cam1")
    snapshot = histograms.snapshot()
    [series] = snapshot["series"]
    assert (series["name"], series["labels"], series["sum_s"]) == ("hold", {"stream": "cam1"}, 0.007)
    assert dict(zip(snapshot["bounds_s"], series["cumulative"], strict=False))[0.005] == 0
    assert dict(zip(snapshot["bounds_s"], series["cumulative"], strict=False))[0.01] == 1


def test_there_is_one_number_more_than_bounds(histograms):
    histograms.observe("hold", 0, stream="cam1")
    snapshot = histograms.snapshot()
    assert len(snapshot["series"][0]["cumulative"]) == len(snapshot["bounds_s"]) + 1


def test_other_labels_are_another_series(histograms):
    for stream in ("cam1", "cam2", "cam1"):
        histograms.observe("hold", MS, stream=stream)
    assert [series["cumulative"][-1] for series in histograms.snapshot()["series"]] == [2, 1]


def test_another_name_is_another_series(histograms):
    histograms.observe("hold", MS, stream="cam1")
    histograms.observe("extract", MS, stream="cam1")
    assert [series["name"] for series in histograms.snapshot()["series"]] == ["hold", "extract"]


def test_a_series_too_many_is_dropped_and_counted(histograms, counters):
    for stream in ("cam1", "cam2", "cam3", "cam4"):
        histograms.observe("hold", MS, stream=stream)
    assert len(histograms.snapshot()["series"]) == 2
    assert counters == {"dropped.histogram.labels": 2}


def test_a_series_that_is_known_goes_on_when_no_other_finds_room(histograms, counters):
    for stream in ("cam1", "cam2", "cam1"):
        histograms.observe("hold", MS, stream=stream)
    assert histograms.snapshot()["series"][0]["cumulative"][-1] == 2
    assert not counters


def test_each_name_has_room_of_its_own(histograms, counters):
    for name in ("hold", "extract"):
        for stream in ("cam1", "cam2"):
            histograms.observe(name, MS, stream=stream)
    assert (len(histograms.snapshot()["series"]), counters) == (4, {})


def test_a_negative_duration_is_dropped_and_counted(histograms, counters):
    histograms.observe("hold", -1, stream="cam1")
    assert (histograms.snapshot()["series"], counters) == ([], {"dropped.histogram.negative": 1})

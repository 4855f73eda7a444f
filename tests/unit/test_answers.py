"""How fast the numbers of the daemons grow, and percentiles of what a histogram took up lately."""

from collections import Counter

import pytest

from visualpath.ctl.answers import KEPT, Answers, percentile_ms
from visualpath.runtime.histogram import Histograms

S = 1_000_000_000
MS = 1_000_000


class Daemon:
    """Answers as one process does, each time a second later."""

    def __init__(self, pid=1):
        self.pid = pid
        self.uptime_ns = 0
        self.counters = Counter()
        self.histograms = Histograms(Counter(), 10)

    def answer(self):
        self.uptime_ns += S
        return {
            "pid": self.pid,
            "uptime_ns": self.uptime_ns,
            "counters": dict(self.counters),
            "histograms": self.histograms.snapshot(),
        }


@pytest.fixture
def answers():
    return Answers()


@pytest.fixture
def daemon():
    return Daemon()


def test_of_a_daemon_that_never_answered_nothing_is_known(answers):
    assert answers.newest("fusion") is None
    assert answers.counter("fusion", "sets") == {"total": 0, "per_s": None}


def test_one_answer_gives_a_total_and_no_rate(answers, daemon):
    daemon.counters["sets"] = 7
    answers.add({"fusion": daemon.answer()})
    assert answers.counter("fusion", "sets") == {"total": 7, "per_s": None}


def test_a_rate_is_over_all_that_is_kept(answers, daemon):
    for sets in (0, 10, 60):
        daemon.counters["sets"] = sets
        answers.add({"fusion": daemon.answer()})
    assert answers.counter("fusion", "sets") == {"total": 60, "per_s": 30.0}


def test_what_is_no_more_kept_does_not_count(answers, daemon):
    daemon.counters["sets"] = 0
    answers.add({"fusion": daemon.answer()})
    for _ in range(KEPT):
        daemon.counters["sets"] = 1000
        answers.add({"fusion": daemon.answer()})
    assert answers.count == KEPT
    assert answers.counter("fusion", "sets")["per_s"] == 0


def test_a_process_that_began_anew_has_no_rate_yet(answers):
    before, after = Daemon(pid=1), Daemon(pid=2)
    before.counters["sets"], after.counters["sets"] = 100, 3
    after.answer()  # it has run for longer than the one before had when that answered
    for answer in (before.answer(), None, after.answer()):
        answers.add({"fusion": answer})
    assert answers.counter("fusion", "sets") == {"total": 3, "per_s": None}


def test_a_process_that_began_anew_with_the_same_pid_has_no_rate_yet(answers):
    before, after = Daemon(), Daemon()
    before.uptime_ns = 900 * S
    before.counters["sets"], after.counters["sets"] = 100, 3
    before.histograms.observe("capture_to_set", 900 * MS, stream="cam1")
    for answer in (before.answer(), after.answer()):
        answers.add({"fusion": answer})
    assert answers.counter("fusion", "sets") == {"total": 3, "per_s": None}
    assert answers.percentiles_ms("fusion", "capture_to_set", {"stream": "cam1"})["p50"] is None


def test_the_rate_of_a_process_that_began_anew_is_its_own(answers):
    before, after = Daemon(), Daemon()
    before.counters["sets"] = 100
    for counted in (before.answer(), before.answer(), before.answer(), after.answer()):
        answers.add({"fusion": counted})
    after.counters["sets"] = 5
    answers.add({"fusion": after.answer()})
    assert answers.counter("fusion", "sets")["per_s"] == 5


def test_a_daemon_that_is_down_has_neither_total_nor_rate(answers, daemon):
    daemon.counters["sets"] = 7
    for answer in (daemon.answer(), daemon.answer(), None):
        answers.add({"fusion": answer})
    assert answers.counter("fusion", "sets") == {"total": 0, "per_s": None}


def test_counters_are_those_that_begin_so_and_have_counted(answers, daemon):
    daemon.counters.update({"skipped.gap": 1, "skipped.error": 0, "sent.obs": 5})
    answers.add({"x": daemon.answer()})
    assert list(answers.counters("x", ("skipped.",))) == ["skipped.gap"]


# Percentiles ----------------------------------------------------------------------------------------


def test_percentiles_are_of_what_came_since_the_first_answer_kept(answers, daemon):
    for ms in (900, 45):
        for _ in range(10):
            daemon.histograms.observe("capture_to_set", ms * MS, stream="cam1")
        answers.add({"fusion": daemon.answer()})
    found = answers.percentiles_ms("fusion", "capture_to_set", {"stream": "cam1"})
    assert found == {"p50": pytest.approx(45, abs=5), "p95": pytest.approx(45, abs=5)}


def test_a_histogram_that_began_meanwhile_counts_from_zero(answers, daemon):
    answers.add({"fusion": daemon.answer()})
    daemon.histograms.observe("capture_to_set", 45 * MS, stream="cam1")
    answers.add({"fusion": daemon.answer()})
    assert answers.percentiles_ms("fusion", "capture_to_set", {"stream": "cam1"})["p50"] == pytest.approx(45, abs=5)


def test_another_streams_histogram_is_not_taken(answers, daemon):
    answers.add({"fusion": daemon.answer()})
    daemon.histograms.observe("capture_to_set", 45 * MS, stream="cam2")
    answers.add({"fusion": daemon.answer()})
    assert answers.percentiles_ms("fusion", "capture_to_set", {"stream": "cam1"}) == {"p50": None, "p95": None}


@pytest.mark.parametrize(
    ("cumulative", "percent", "ms"),
    [
        ([0, 0, 0], 50, None),
        ([], 50, None),
        ([10, 10, 10], 50, 5.0),
        ([10, 20, 20], 75, 15.0),
        ([10, 20, 20], 100, 20.0),
        ([0, 0, 8], 50, 20.0),
    ],
)
def test_a_percentile_lies_in_its_bucket_in_proportion(cumulative, percent, ms):
    assert percentile_ms([0.010, 0.020], cumulative, percent) == (None if ms is None else pytest.approx(ms))

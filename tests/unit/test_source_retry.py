"""How long to wait before a source is opened anew."""

import pytest

from visualbase.errors import Disconnected, NoAnswer, SourceError, Stalled
from visualpath.frame.retry import GOOD_RUN_NS, Backoff


def failure(kind=SourceError):
    return kind("rtsp://cam/1", "reason", "hint")


def waits(backoff, times, kind=SourceError):
    return [backoff.wait_s(failure(kind)) for _ in range(times)]


@pytest.fixture
def backoff():
    return Backoff(lambda: 0.0)


@pytest.mark.parametrize("kind", [SourceError, Stalled, Disconnected])
def test_waits_double_from_half_a_second_to_10(backoff, kind):
    assert waits(backoff, 7, kind) == [0.5, 1, 2, 4, 8, 10, 10]


def test_where_nobody_answers_it_asks_again_within_a_second(backoff):
    assert waits(backoff, 5, NoAnswer) == [0.5, 1, 1, 1, 1]


def test_a_long_silence_keeps_the_waits_finite(backoff):
    assert waits(backoff, 5000)[-1] == 10


def test_a_good_run_begins_the_waits_anew(backoff):
    waits(backoff, 5)
    backoff.ran(GOOD_RUN_NS)
    assert waits(backoff, 1) == [0.5]


def test_a_short_run_does_not(backoff):
    waits(backoff, 3)
    backoff.ran(GOOD_RUN_NS - 1)
    assert waits(backoff, 1) == [4]


def test_an_error_in_place_of_no_answer_begins_the_waits_anew(backoff):
    waits(backoff, 100, NoAnswer)
    assert waits(backoff, 2) == [0.5, 1]


def test_chance_takes_up_to_a_quarter_off():
    assert Backoff(lambda: 0.999).wait_s(failure()) == pytest.approx(0.375, abs=0.001)

"""The queue between network and decoder."""

from types import SimpleNamespace

import pytest
from av.error import ExitError

from visualbase.sources import intake as module
from visualbase.sources.intake import MAX_AGE_NS, MAX_BYTES, Intake

SECOND = 1_000_000_000


class Clock:
    now = 0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "mono_ns", clock)
    return clock


@pytest.fixture
def intake_of(clock):
    """An intake that has read all of its packets, (second, kind) each: a keyframe is k, what depends on it p."""

    def make(packets, size=1000, error=None):
        def demux(_stream):
            for second, kind in packets:
                clock.now = round(second * SECOND)
                yield SimpleNamespace(size=size, is_keyframe=kind == "k", name=f"{kind}{second}")
            if error is not None:
                raise error
            yield SimpleNamespace(size=0)

        intake = Intake(SimpleNamespace(demux=demux), None)
        intake.run()
        return intake

    return make


def rest(intake):
    names = []
    while (arrival := intake.take(0)) is not None:
        names.append(arrival.packet.name)
    return names


def test_packets_come_out_in_order_with_the_time_of_their_arrival(intake_of):
    intake = intake_of([(0, "k"), (1, "p")])
    assert [intake.take(0).t_ns, intake.take(0).t_ns, intake.take(0)] == [0, SECOND, None]


def test_when_the_oldest_is_too_old_all_are_thrown_away_up_to_the_next_keyframe(intake_of):
    assert MAX_AGE_NS == 2 * SECOND
    intake = intake_of([(0, "k"), (1, "p"), (2, "p"), (2.5, "p"), (3, "p"), (4, "k"), (5, "p")])
    assert (rest(intake), intake.dropped) == (["k4", "p5"], 5)


def test_too_many_bytes_are_thrown_away_too(intake_of):
    intake = intake_of([(0, "k"), (0.1, "p"), (0.2, "p"), (0.3, "k")], size=MAX_BYTES // 2)
    assert (rest(intake), intake.dropped) == (["k0.3"], 3)


def test_bytes_that_were_taken_count_no_more(clock):
    def demux(_stream):
        for number in range(10):
            clock.now = number
            yield SimpleNamespace(size=MAX_BYTES // 2, is_keyframe=True, name=number)
            if number:  # one waits all the time
                assert intake.take(0).packet.name == number - 1

    intake = Intake(SimpleNamespace(demux=demux), None)
    intake.run()
    assert intake.dropped == 0


def test_the_end_and_an_error_are_told_apart(intake_of):
    assert (intake_of([]).ended, intake_of([]).error) == (True, None)
    error = ExitError(0, "x")
    assert intake_of([], error=error).error is error


def test_a_defect_is_raised_where_the_packets_are_taken(intake_of):
    intake = intake_of([], error=ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        intake.take(0)

"""The hub: what is kept, where it goes, and that no sink harms who is traced."""

import logging
import subprocess
import sys

import pytest

from visualpath.observability import ConsoleSink, ObservabilityHub, TimingRecord, TraceLevel, TriggerRecord
from visualpath.observability.troubles import LoggedTroubles

TIMING = TimingRecord(frame_id=7, component="face", processing_ms=42.5)
TRIGGER = TriggerRecord("08f3", "smile", 0, 1, 0.75, "why")


class Kept:
    """A sink that keeps everything in memory."""

    def __init__(self):
        self.stamped = []
        self.closed = 0

    def write(self, stamped):
        self.stamped.append(stamped)

    def close(self):
        self.closed += 1

    @property
    def records(self):
        return [each.record for each in self.stamped]


class Broken(Kept):
    def write(self, stamped):
        raise OSError("no room")

    def close(self):
        raise OSError("no room at the end either")


@pytest.fixture
def shared(monkeypatch):
    monkeypatch.setattr(ObservabilityHub, "_shared", None)


def test_a_hub_is_off_unless_told():
    sink = Kept()
    hub = ObservabilityHub(sinks=[sink])
    hub.emit(TRIGGER)
    assert (hub.level, sink.records) == (TraceLevel.OFF, [])


@pytest.mark.parametrize(
    ("level", "kept"),
    [("OFF", []), ("MINIMAL", [TRIGGER]), ("NORMAL", [TRIGGER]), ("VERBOSE", [TRIGGER, TIMING])],
)
def test_a_level_keeps_its_records_and_those_below(level, kept):
    sink = Kept()
    hub = ObservabilityHub(level=TraceLevel[level], sinks=[sink])
    for record in (TRIGGER, TIMING):
        hub.emit(record)
    assert sink.records == kept


@pytest.mark.parametrize("level", TraceLevel)
def test_enabled_says_what_emit_does(level):
    hub = ObservabilityHub(level=level)
    assert [hub.enabled(kind.level) for kind in (TriggerRecord, TimingRecord)] == [level >= 1, level >= 3]


def test_a_record_is_stamped_with_daemon_and_both_clocks():
    sink = Kept()
    hub = ObservabilityHub(TraceLevel.VERBOSE, [sink], daemon="fusion")
    hub.emit(TIMING)
    hub.emit(TIMING)
    first, second = sink.stamped
    assert first.daemon == "fusion"
    assert second.mono_ns >= first.mono_ns > 0
    assert first.wall_ns > 1_700_000_000_000_000_000


def test_every_sink_gets_every_record():
    sinks = [Kept(), Kept()]
    hub = ObservabilityHub(level=TraceLevel.MINIMAL)
    for sink in sinks:
        hub.add_sink(sink)
    hub.emit(TRIGGER)
    assert [sink.records for sink in sinks] == [[TRIGGER], [TRIGGER]]


def test_configure_changes_the_level_alone_if_that_is_asked():
    sink = Kept()
    hub = ObservabilityHub(sinks=[sink])
    hub.configure(level=TraceLevel.MINIMAL)
    hub.emit(TRIGGER)
    assert (sink.records, sink.closed) == ([TRIGGER], 0)


def test_configure_closes_the_sinks_that_it_replaces_and_no_other():
    goes, stays = Kept(), Kept()
    hub = ObservabilityHub(sinks=[goes, stays])
    hub.configure(sinks=[stays])
    assert (goes.closed, stays.closed) == (1, 0)


def test_a_closed_hub_keeps_nothing():
    sink = Kept()
    hub = ObservabilityHub(TraceLevel.VERBOSE, [sink])
    hub.close()
    hub.emit(TRIGGER)
    assert (sink.closed, sink.records) == (1, [])


def test_the_shared_hub_is_one_and_off(shared):
    hub = ObservabilityHub.get_instance()
    assert hub is ObservabilityHub.get_instance()
    assert hub.level == TraceLevel.OFF


def test_a_hub_that_is_made_is_not_the_shared_one(shared):
    assert ObservabilityHub(level=TraceLevel.NORMAL) is not ObservabilityHub.get_instance()


# Sinks that fail ---------------------------------------------------------------------------------------


def test_a_failing_sink_takes_nothing_from_the_others():
    kept = Kept()
    hub = ObservabilityHub(TraceLevel.MINIMAL, [Broken(), kept])
    hub.emit(TRIGGER)
    assert kept.records == [TRIGGER]


def test_what_a_sink_raises_is_counted():
    troubles = LoggedTroubles()
    hub = ObservabilityHub(TraceLevel.MINIMAL, [Broken()], refusals=troubles)
    hub.emit(TRIGGER)
    hub.emit(TRIGGER)
    hub.close()
    assert troubles.counters == {"failed.trace": 3}


def test_many_failures_are_one_log_line(caplog):
    hub = ObservabilityHub(TraceLevel.MINIMAL, [Broken()])
    with caplog.at_level(logging.WARNING):
        for _ in range(100):
            hub.emit(TRIGGER)
    assert caplog.messages == ["failed.trace x 1, last: Broken: OSError: no room"]


def test_the_next_line_has_what_came_up_since(caplog, monkeypatch):
    troubles = LoggedTroubles()
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            troubles.add("failed.trace", "first")
        monkeypatch.setattr(troubles, "_next_report", 0.0)  # a second is over
        troubles.add("failed.trace", "second", 2)
    assert caplog.messages == ["failed.trace x 1, last: first", "failed.trace x 6, last: second"]


# The console, and what the package costs ---------------------------------------------------------------


def test_the_console_shows_a_line_for_each_record(capsys):
    hub = ObservabilityHub(TraceLevel.VERBOSE, [ConsoleSink()], daemon="fusion")
    hub.emit(TIMING)
    hub.emit(TRIGGER)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1:3] for line in lines] == [["fusion", "timing"], ["fusion", "trigger"]]


def test_the_package_loads_neither_sockets_nor_numpy():
    code = "import sys, visualpath.observability; print(*{'zmq', 'numpy', 'yaml'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "\n"

"""The supervisord of one configuration: what it says of its programs, and their log files."""

import json
import xmlrpc.client

import pytest
from supervisor.xmlrpc import Faults

from visualpath.ctl import supervisor as module
from visualpath.ctl.supervision import Process, SupervisorFailed, last_words, readable
from visualpath.ctl.supervisor import LocalSupervisor
from visualpath.runtime.config import load_config

LINE = '{"time": "12:00", "level": "ERROR", "daemon": "fusion", "message": "no room"}'


@pytest.fixture
def supervisor(write_config, monkeypatch):
    monkeypatch.setattr(module, "FOLLOW_S", 0.0)
    supervisor = LocalSupervisor(load_config(write_config("state_dir: state\nstreams: {cam1: {source: cam1.mp4}}\n")))
    supervisor.folder.mkdir(parents=True)
    return supervisor


@pytest.fixture
def program(supervisor, monkeypatch):
    """What is said of fusion while supervisord has it in a state."""

    def process(statename, pid=7):
        info = {"name": "fusion", "statename": statename, "pid": pid}
        monkeypatch.setattr(supervisor, "_programs", lambda: {"fusion": info})
        return supervisor.processes()["fusion"]

    return process


@pytest.mark.parametrize(
    ("statename", "state"),
    [
        ("STARTING", "starting"),
        ("RUNNING", "up"),
        ("STOPPING", "stopping"),
        ("BACKOFF", "failing"),
        ("EXITED", "failing"),
        ("FATAL", "failing"),
        ("STOPPED", "stopped"),
    ],
)
def test_the_state_of_a_program_is_that_of_its_daemon(program, statename, state):
    assert program(statename).state == state


def test_a_daemon_that_does_not_stay_up_has_last_words(supervisor, program):
    supervisor.log("fusion").write_text(f"before\n{LINE}\n")
    assert program("BACKOFF", pid=0) == Process("failing", None, "its last words: 12:00 ERROR fusion: no room")


def test_where_no_supervisord_runs_it_keeps_nothing(supervisor):
    assert supervisor.processes() == {}


def test_the_last_lines_are_shown_as_text(supervisor):
    supervisor.log("fusion").write_text(f"{LINE}\n" * 9)
    assert last_words(supervisor, "fusion").splitlines()[1:] == ["12:00 ERROR fusion: no room"] * 5


def test_a_daemon_without_last_words_has_none(supervisor):
    assert last_words(supervisor, "fusion") == "fusion does not stay up; it has written nothing"


@pytest.mark.parametrize("line", ["plain", "7", "[1]", '{"time": 1}', ""])
def test_a_line_that_is_no_record_is_shown_as_it_is(line):
    assert readable(line) == line


def test_what_is_shown_of_a_line_is_no_command_to_the_terminal():
    line = json.dumps({"time": "12:00", "level": "ERROR", "daemon": "fusion", "message": "\x1b[2Ja\x9b\nforged"})
    assert readable(line) == r"12:00 ERROR fusion: \x1b[2Ja\x9b" + "\n  forged"
    assert readable("\x1b[2J") == r"\x1b[2J"


class Fault:
    """Stands for supervisord: each call is refused."""

    def __init__(self, code):
        self._code = code

    def __getattr__(self, _name):
        return self

    def __call__(self, *_args):
        raise xmlrpc.client.Fault(self._code, "its words")


@pytest.fixture
def refusing(monkeypatch):
    return lambda code: monkeypatch.setattr(xmlrpc.client, "ServerProxy", lambda *_args, **_options: Fault(code))


def test_a_refusal_of_supervisord_is_told_in_its_words(supervisor, refusing, monkeypatch):
    monkeypatch.setattr(supervisor, "_pid", lambda: 7)
    refusing(Faults.BAD_NAME)
    with pytest.raises(SupervisorFailed, match=r"^stopProcess fusion: its words$"):
        supervisor.restart(["fusion"])


def test_a_supervisord_that_ends_meanwhile_is_told(supervisor, monkeypatch):
    monkeypatch.setattr(supervisor, "_pid", lambda: 7)
    with pytest.raises(SupervisorFailed, match=r"^supervisord does not answer: "):
        supervisor.restart(["fusion"])


@pytest.mark.parametrize("statename", ["BACKOFF", "EXITED", "FATAL", "STOPPED", "RUNNING"])
def test_what_fails_or_is_stopped_is_started_at_once_and_nothing_else(supervisor, program, monkeypatch, statename):
    program(statename)
    calls = []

    def call(method, *args, **_options):
        calls.append((method, *args))
        return [[[], [], []]]

    monkeypatch.setattr(supervisor, "_call", call)
    supervisor._update()
    started = [("stopProcess", "fusion"), ("startProcess", "fusion", False)]
    assert calls[1:] == ([] if statename == "RUNNING" else started)


def test_followed_are_the_lines_that_come_after(supervisor):
    log = supervisor.log("fusion")
    log.write_text("before\n")
    coming = supervisor.follow(["fusion", "clip"])
    with log.open("a") as file:
        file.write("one\ntwo\n")
    assert [next(coming), next(coming)] == ["one", "two"]


def test_a_log_that_begins_anew_is_followed_from_its_start(supervisor):
    log = supervisor.log("fusion")
    log.write_text("a long line before\n")
    coming = supervisor.follow(["fusion"])
    log.write_text("anew\n")
    assert next(coming) == "anew"


def test_half_a_line_is_waited_for(supervisor):
    log = supervisor.log("fusion")
    coming = supervisor.follow(["fusion", "clip"])
    log.write_text("ha")
    supervisor.log("clip").write_text("whole\n")
    assert next(coming) == "whole"
    with log.open("a") as file:
        file.write("lf\n")
    assert next(coming) == "half"

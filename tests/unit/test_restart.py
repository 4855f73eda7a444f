"""`vpctl restart`, `up` and `apply`: done when what they started is at work, refused when that does not stay up."""

from datetime import datetime

import pytest
from click.testing import CliRunner

from visualpath.ctl import console
from visualpath.ctl.commands import up
from visualpath.ctl.ends import recent_ends
from visualpath.ctl.main import main
from visualpath.ctl.supervision import Process

LOADING, READY = {"extractor": {"state": "starting"}}, {"extractor": {"state": "ready"}}
ENDED = "WARN exited: extractor-face (exit status 78; not expected)\n"


class Supervisor:
    """Starts nothing; its log says what the test wants."""

    name = "supervisord"

    def __init__(self, config):
        self.folder = config.path.parent

    def start(self):
        return True

    def processes(self):
        return {}

    def restart(self, daemons):
        pass

    def ends(self, since=None):
        return recent_ends(self.folder, since)

    def log_lines(self, daemon, count):
        return [f"ERROR {daemon}: no such model"]


class SystemdOfAStranger(Supervisor):
    """Its journal may not be read: only the state of what has ended is known, and that it has."""

    name = "systemd"

    def processes(self):
        return {"extractor-face": Process("failing")} if super().ends() else {}

    def ends(self, since=None):
        return {}


@pytest.fixture
def restarted(write_config, monkeypatch):
    """Restart extractor-face (or another command), which answers so, again and again; SystemExit: it has ended."""

    def run(*answers, before="", command=("restart", "extractor-face"), supervisor=Supervisor):
        path = write_config("""
            streams: {cam1: {source: cam1.mp4}}
            extractors: {face: {}}
            fusion: {rules: [{label: x, when: face.count >= 1}]}
        """)
        log = path.parent / "supervisord.log"
        log.write_text(before)
        left = list(answers)

        def collect(_vpctl, daemons):
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer is SystemExit:
                log.write_text(f"{before}{datetime.now():%Y-%m-%d %H:%M:%S,%f} {ENDED}")
                return dict.fromkeys(daemons)
            return dict.fromkeys(daemons, answer)

        monkeypatch.setattr(console, "supervisor_of", supervisor)
        monkeypatch.setattr(up, "collect", collect)
        monkeypatch.setattr(up, "POLL_S", 0.0)
        return CliRunner().invoke(main, ["--config", str(path), *command])

    return run


def test_a_daemon_that_comes_back_is_restarted(restarted):
    result = restarted(None, READY)
    assert (result.exit_code, result.output) == (0, "restarted extractor-face\n")


def test_an_extractor_that_answers_and_then_cannot_load_its_plug_in_is_refused(restarted):
    assert restarted(LOADING, LOADING, SystemExit, LOADING).exit_code == 1


@pytest.mark.parametrize("command", ["up", "apply"])
@pytest.mark.parametrize("supervisor", [Supervisor, SystemdOfAStranger])
def test_what_is_started_answers_and_then_cannot_load_its_plug_in_is_refused(restarted, command, supervisor):
    result = restarted(LOADING, LOADING, SystemExit, command=[command], supervisor=supervisor)
    assert (result.exit_code, "extractor-face does not stay up" in result.output) == (1, True)


@pytest.mark.parametrize("command", ["up", "apply"])
def test_what_is_started_and_loads_for_long_is_no_failure(restarted, monkeypatch, command):
    monkeypatch.setattr(up, "READY_TIMEOUT_S", 0.0)
    result = restarted(LOADING, command=[command])
    assert (result.exit_code, "still loads" in result.output) == (0, True)


def test_the_last_lines_of_one_that_does_not_stay_up_are_shown(restarted):
    assert "does not stay up; its last lines:\nERROR extractor-face: no such model" in restarted(SystemExit).output


def test_ends_before_the_restart_are_not_held_against_it(restarted):
    assert restarted(READY, before=f"2026-01-31 12:00:00,000 {ENDED}").exit_code == 0


def test_a_model_that_takes_long_to_load_is_no_failure(restarted, monkeypatch):
    monkeypatch.setattr(up, "READY_TIMEOUT_S", 0.0)
    result = restarted(LOADING)
    assert (result.exit_code, "extractor-face still loads" in result.output) == (0, True)


def test_a_daemon_that_never_answers_is_refused(restarted, monkeypatch):
    monkeypatch.setattr(up, "READY_TIMEOUT_S", 0.0)
    result = restarted(None)
    assert (result.exit_code, "extractor-face did not answer" in result.output) == (1, True)

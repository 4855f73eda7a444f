"""What vpctl asks of systemd, and what it makes of the answers; these were given by systemd 252."""

import json
import os
from datetime import datetime, timedelta

import pytest
from click.testing import CliRunner

from visualpath.core.errors import ConfigError
from visualpath.ctl import systemd
from visualpath.ctl.main import main
from visualpath.ctl.supervision import SupervisorFailed
from visualpath.ctl.supervisor import LocalSupervisor
from visualpath.ctl.supervisors import supervisor_of
from visualpath.ctl.systemd import Systemd
from visualpath.runtime.config import load_config

SECTIONS = "streams: {cam1: {source: cam1.mp4}}\nextractors: {face: {}}\n"
UNITS = [
    "visualpath-clip.service", "visualpath-fusion.service", "visualpath-extractor@face.service",
    "visualpath-frame@cam1.service",
]  # fmt: skip
FIRST_TWO = ("visualpath-fusion.service", "visualpath-clip.service")


def shown(unit, active="active", sub="running", pid=7, result="success", restarts=0, code=0, status=0):
    """A block of `systemctl show`."""
    return (
        f"MainPID={pid}\nResult={result}\nNRestarts={restarts}\nExecMainCode={code}\nExecMainStatus={status}\n"
        f"Id={unit}\nActiveState={active}\nSubState={sub}\nStateChangeTimestamp=@1795285628\n"
    )


class Machine:
    """Stands for systemctl and journalctl."""

    def __init__(self):
        self.did = []
        self.units = []
        self.wants = list(FIRST_TWO)
        self.journal = []
        self.command = ""

    def __call__(self, *command):
        if command[0] == "journalctl":
            return "".join(json.dumps(entry) + "\n" for entry in self.journal)
        if command[1] != "show":
            self.did.append(" ".join(command[1:]))
            return ""
        if "--property=ExecStart" in command:
            return self.command
        return " ".join(self.wants) if "--property=Wants" in command else "\n".join(self.units)

    def exits(self, unit, code, status, result, ago_s=1):
        at = {"__REALTIME_TIMESTAMP": str(int((datetime.now() - timedelta(seconds=ago_s)).timestamp() * 1e6))}
        self.journal.append({"UNIT": unit, "EXIT_CODE": code, "EXIT_STATUS": status, **at})
        self.journal.append({"UNIT": unit, "UNIT_RESULT": result, **at})


@pytest.fixture
def machine(monkeypatch):
    machine = Machine()
    monkeypatch.setattr(systemd, "_run", machine)
    return machine


@pytest.fixture
def supervisor(machine, write_config):
    return Systemd(load_config(write_config(SECTIONS)))


# Who runs the daemons ---------------------------------------------------------------------------------


@pytest.fixture
def chosen(machine, monkeypatch, write_config, tmp_path):
    """The supervisor for a configuration, where the installed units are started so."""

    def choose(command, booted=True):
        path = write_config(SECTIONS)
        monkeypatch.setattr(systemd, "BOOTED", tmp_path if booted else tmp_path / "none")
        machine.command = command.format(path=path)
        return type(supervisor_of(load_config(path)))

    return choose


EXEC_START = (
    "{{ path=/opt/x/visualpath-exec ; argv[]=/opt/x/visualpath-exec fusion --config {path} ; ignore_errors=no }}"
)


def test_it_is_systemd_if_the_units_name_the_configuration(chosen):
    assert chosen(EXEC_START) is Systemd


@pytest.mark.parametrize("command", ["", EXEC_START.replace("{path}", "/etc/visualpath/other.yaml")])
def test_it_is_supervisord_if_they_name_another_or_are_not_installed(chosen, command):
    assert chosen(command) is LocalSupervisor


def test_it_is_supervisord_where_systemd_does_not_run_the_machine(chosen):
    assert chosen(EXEC_START, booted=False) is LocalSupervisor


def test_it_is_supervisord_where_systemctl_fails(chosen, monkeypatch):
    def fail(*_command):
        raise SupervisorFailed("systemctl is not installed")

    monkeypatch.setattr(systemd, "_run", fail)
    assert chosen(EXEC_START) is LocalSupervisor


# Starting and stopping --------------------------------------------------------------------------------


def test_start_enables_and_starts_what_the_configuration_names(machine, supervisor):
    supervisor.start()
    units = " ".join(UNITS)
    assert machine.did == [f"enable visualpath.target {units}", f"start --no-block visualpath.target {units}"]


def test_start_disables_and_stops_what_it_names_no_more(machine, supervisor):
    machine.wants.append("visualpath-extractor@pose.service")
    machine.units = [shown("visualpath-extractor@pose.service"), shown("visualpath-watch.service")]
    supervisor.start()
    assert machine.did[0] == "disable --now visualpath-extractor@pose.service visualpath-watch.service"


def test_a_unit_that_systemd_has_given_up_gets_a_fresh_budget(machine, supervisor):
    machine.units = [shown(UNITS[0], "failed", "failed", pid=0, result="exit-code", code=1, status=1)]
    supervisor.start()
    assert machine.did[-2] == "reset-failed visualpath-clip.service"


@pytest.mark.parametrize(("pid", "is_first"), [(7, False), (0, True)])
def test_start_says_whether_anything_ran_before(machine, supervisor, pid, is_first):
    machine.units = [shown(UNITS[0], pid=pid)]
    assert supervisor.start() is is_first


def test_a_name_too_long_for_a_dynamic_user_is_refused_before_anything_is_done(machine, write_config):
    config = load_config(write_config(SECTIONS.replace("face", "f" * 29)))
    with pytest.raises(ConfigError, match="at most 28 characters"):
        Systemd(config).start()
    assert machine.did == []


def test_stop_waits_for_every_unit_and_not_only_the_target(machine, supervisor):
    machine.units = [shown(unit) for unit in (*UNITS, "visualpath-frame@gone.service")]
    assert supervisor.stop()
    assert machine.did == [f"stop visualpath.target {' '.join(UNITS)} visualpath-frame@gone.service"]


def test_stop_where_nothing_runs_says_so(machine, supervisor):
    assert not supervisor.stop()


def test_a_restart_waits_for_the_end_but_not_for_the_model(machine, supervisor):
    supervisor.restart(["extractor-face"])
    unit = "visualpath-extractor@face.service"
    assert machine.did == [f"stop {unit}", f"start --no-block visualpath.target {unit}"]


# How the daemons are ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("active", "sub", "state"),
    [
        ("active", "running", "up"),
        ("activating", "start", "starting"),
        ("activating", "auto-restart", "failing"),
        ("deactivating", "stop-sigterm", "stopping"),
        ("failed", "failed", "failing"),
        ("inactive", "dead", "stopped"),
    ],
)
def test_the_state_of_a_unit_is_that_of_its_daemon(machine, supervisor, active, sub, state):
    machine.units = [shown("visualpath-fusion.service", active, sub)]
    assert supervisor.processes()["fusion"].state == state


def test_a_template_that_nobody_enabled_or_started_is_no_daemon(machine, supervisor):
    machine.units = [shown("visualpath-watch.service", "inactive", "dead", pid=0)]
    assert "watch" not in supervisor.processes()


@pytest.mark.parametrize("daemon", ["extractor-my-face-0", "frame-cam_1"])
def test_names_with_dashes_come_back_as_they_were(machine, supervisor, daemon):
    role, _, instance = daemon.partition("-")
    machine.units = [shown(f"visualpath-{role}@{instance}.service")]
    assert list(supervisor.processes()) == [daemon]
    supervisor.restart([daemon])
    assert machine.did[0] == f"stop visualpath-{role}@{instance}.service"


def told(machine, supervisor, **options):
    machine.units = [shown("visualpath-fusion.service", **options)]
    return supervisor.processes()["fusion"].told


GIVEN_UP = {"active": "failed", "sub": "failed", "pid": 0}


def test_a_crash_loop_that_was_given_up_is_told_with_exit_code_restarts_and_what_to_type(machine, supervisor):
    said = told(machine, supervisor, **GIVEN_UP, result="exit-code", code=1, status=3, restarts=180)
    at = datetime.fromtimestamp(1795285628)
    assert said == (
        f"failed since {at:%Y-%m-%d %H:%M:%S}: exit status 3; restarted 180 times; "
        "mend the cause (`vpctl logs fusion`), then `vpctl up`"
    )


def test_a_configuration_that_cannot_be_used_is_to_be_mended(machine, supervisor):
    said = told(machine, supervisor, **GIVEN_UP, result="exit-code", code=1, status=78)
    assert "mend the configuration (`vpctl logs fusion`), then `vpctl up`" in said


@pytest.mark.parametrize(
    ("result", "code", "status", "how"),
    [
        ("watchdog", 2, 6, "hung, killed by the watchdog"),
        ("oom-kill", 2, 9, "out of memory"),
        ("signal", 2, 11, "terminated by SIGSEGV"),
        ("core-dump", 3, 6, "terminated by SIGABRT"),
        ("exit-code", 1, 74, "exit status 74"),
        ("resources", 0, 0, "resources"),
    ],
)
def test_how_it_ended_is_told_while_it_waits_for_its_next_start(machine, supervisor, result, code, status, how):
    options = {
        "active": "activating",
        "sub": "auto-restart",
        "pid": 0,
        "result": result,
        "code": code,
        "status": status,
    }
    assert told(machine, supervisor, **options) == f"{how}; is started again"


def test_a_daemon_that_runs_after_restarts_says_how_many(machine, supervisor):
    assert told(machine, supervisor, restarts=2) == "restarted 2 times"


def test_there_is_nothing_to_tell_of_one_that_simply_runs(machine, supervisor):
    assert told(machine, supervisor) == ""


# How they ended ---------------------------------------------------------------------------------------


def test_the_ends_of_a_daemon_are_counted_from_the_journal(machine, supervisor):
    for _ in range(2):
        machine.exits("visualpath-extractor@face.service", "exited", "1", "exit-code")
    machine.exits("visualpath-extractor@face.service", "killed", "6", "watchdog")
    ends = supervisor.ends()["extractor-face"]
    assert (ends.count, ends.last) == (3, "hung, killed by the watchdog")


def test_an_end_that_was_asked_for_is_none(machine, supervisor):
    machine.exits("visualpath-clip.service", "exited", "0", "exit-code")
    del machine.journal[1]
    assert supervisor.ends() == {}


def test_what_was_before_a_stop_is_over(machine, supervisor):
    machine.exits("visualpath-clip.service", "exited", "1", "exit-code")
    machine.journal.append({"UNIT": "visualpath-clip.service", "MESSAGE_ID": systemd.STOPPING})
    assert supervisor.ends() == {}


def test_that_systemd_gives_up_is_not_one_more_end(machine, supervisor):
    machine.exits("visualpath-clip.service", "exited", "1", "exit-code")
    machine.journal.append(machine.journal[1])
    assert supervisor.ends()["clip"].count == 1


def test_a_unit_of_the_operators_own_is_let_alone(machine, supervisor):
    machine.wants.append("visualpath-backup.service")
    machine.units = [shown("visualpath-backup.service")]
    supervisor.start()
    assert not any("backup" in done for done in machine.did)


@pytest.mark.parametrize("unit", ["ssh.service", "clip.service"])
def test_ends_of_others_units_are_passed_over(machine, supervisor, unit):
    machine.exits(unit, "exited", "1", "exit-code")
    assert supervisor.ends() == {}


def test_whoever_may_not_read_the_journal_is_told_of_no_ends(machine, supervisor, monkeypatch):
    def refuse(*_command):
        raise SupervisorFailed("journalctl: No journal files were opened due to insufficient permissions.")

    monkeypatch.setattr(systemd, "_run", refuse)
    assert supervisor.ends() == {}


# vpctl ------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(machine, monkeypatch, write_config, tmp_path):
    """vpctl where systemd runs this configuration."""
    path = write_config(SECTIONS)
    monkeypatch.setattr(systemd, "BOOTED", tmp_path)
    machine.command = EXEC_START.format(path=path)
    return lambda *args: CliRunner().invoke(main, ["--config", str(path), *args])


def test_status_reports_a_unit_that_was_given_up(machine, installed):
    machine.units = [shown("visualpath-fusion.service", **GIVEN_UP, result="watchdog", restarts=180)]
    [line] = [line for line in installed("status").output.splitlines() if line.startswith("fusion ")]
    assert "down; failed since " in line
    assert "hung, killed by the watchdog; restarted 180 times; mend the cause" in line


def test_down_stops_the_units(machine, installed):
    machine.units = [shown("visualpath-fusion.service")]
    assert installed("down").output == "stopped\n"
    assert machine.did[-1].startswith("stop visualpath.target")


def test_a_refusal_of_systemctl_is_exit_1_in_its_words(machine, installed, monkeypatch):
    def refuse(*command):
        if command[1] == "stop":
            raise SupervisorFailed("systemctl stop: Access denied")
        return Machine.__call__(machine, *command)

    monkeypatch.setattr(systemd, "_run", refuse)
    result = installed("down")
    assert (result.exit_code, result.stderr) == (1, "vpctl: systemctl stop: Access denied\n")


def test_a_dry_run_says_what_would_be_done_and_does_nothing(machine, installed):
    machine.units = [shown("visualpath-fusion.service"), shown("visualpath-frame@old.service")]
    result = installed("apply", "--dry-run")
    assert result.output == "would stop frame-old\nwould start clip, extractor-face, frame-cam1\n"
    assert machine.did == []


# The commands themselves ------------------------------------------------------------------------------


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Put a program of the test's own first in PATH."""

    def make(name, text):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return make


def test_the_first_line_that_systemctl_says_on_stderr_is_the_reason(program, write_config):
    program("systemctl", "echo 'Unit x not found.' >&2; echo 'See the logs.' >&2; exit 5")
    with pytest.raises(SupervisorFailed, match=r"^systemctl show: Unit x not found\.$"):
        Systemd(load_config(write_config(SECTIONS))).processes()


def test_followed_lines_come_as_they_are_written(program, write_config):
    program("journalctl", "echo one; echo two; exec sleep 60")
    coming = Systemd(load_config(write_config(SECTIONS))).follow(["fusion"])
    assert [next(coming), next(coming)] == ["one", "two"]
    coming.close()

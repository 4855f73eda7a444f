"""What vpctl asks of systemd, and what it makes of the answers; these were given by systemd 252."""

import json
import os
from datetime import datetime, timedelta

import pytest
from click.testing import CliRunner

from visualpath.core.errors import ConfigError
from visualpath.ctl import systemd
from visualpath.ctl.commands import apply
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
        self.after = {}
        self.units = []
        self.wants = list(FIRST_TWO)
        self.journal = []
        self.command = ""

    def __call__(self, *command, timeout_s=None):
        if command[0] == "journalctl":
            return "".join(json.dumps(entry) + "\n" for entry in self.journal)
        if command[1] != "show":
            self.did.append(" ".join(word for word in command[1:] if word != "--no-ask-password"))
            self.after.pop(command[1], lambda: None)()
            return ""
        if "--property=ExecStart" in command:
            return self.command
        return " ".join(self.wants) if "--property=Wants" in command else "\n".join(self.units)

    def exits(self, unit, code, status, result, ago_s=1):
        at = {"__REALTIME_TIMESTAMP": str(int((datetime.now() - timedelta(seconds=ago_s)).timestamp() * 1e6))}
        self.says(unit, systemd.PROCESS_EXIT, EXIT_CODE=code, EXIT_STATUS=status, **at)
        self.says(unit, systemd.UNIT_FAILURE, UNIT_RESULT=result, **at)

    def says(self, unit, kind, **fields):
        self.journal.append({"UNIT": unit, "MESSAGE_ID": kind, **fields})


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


@pytest.fixture
def mute(monkeypatch):
    """systemd cannot be asked."""

    def fail(*_command, **_options):
        raise SupervisorFailed("systemctl show: Failed to connect to bus")

    monkeypatch.setattr(systemd, "_run", fail)


def test_it_is_supervisord_where_systemctl_fails(chosen, mute):
    assert chosen(EXEC_START) is LocalSupervisor


def test_it_is_systemd_for_the_installed_configuration_also_where_systemctl_fails(chosen, mute, monkeypatch, short_dir):
    monkeypatch.setattr(systemd, "INSTALLED_CONFIG", short_dir / "visualpath.yaml")
    assert chosen(EXEC_START) is Systemd


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


@pytest.mark.parametrize(("active", "sub"), [("failed", "failed"), ("activating", "auto-restart")])
def test_a_unit_that_does_not_stay_up_gets_a_fresh_budget_and_its_next_start_at_once(machine, supervisor, active, sub):
    machine.units = [shown(UNITS[0], active, sub, pid=0, result="exit-code", code=1, status=1)]
    supervisor.start()
    assert machine.did[-3:-1] == ["reset-failed visualpath-clip.service", "stop visualpath-clip.service"]
    assert machine.did[-1].startswith("start ")


POSE = "visualpath-extractor@pose.service"


def ends_badly(machine, unit):
    """What systemd shows of a unit whose model hung when it was stopped."""
    machine.units = [shown(unit, "failed", "failed", pid=0, result="exit-code", code=1, status=1)]


def test_a_daemon_that_is_named_no_more_is_forgotten_also_if_it_ended_badly(machine, supervisor):
    machine.units = [shown(POSE)]
    machine.after["disable"] = lambda: ends_badly(machine, POSE)
    supervisor.start()
    assert f"reset-failed {POSE}" in machine.did


def test_a_daemon_that_ended_badly_because_it_was_told_to_stop_is_stopped(machine, supervisor):
    machine.units = [shown(UNITS[2])]
    machine.after["stop"] = lambda: ends_badly(machine, UNITS[2])
    supervisor.stop()
    assert f"reset-failed {UNITS[2]}" in machine.did


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


def test_a_restart_waits_for_the_end_but_not_for_the_model_and_starts_nobody_else(machine, supervisor):
    supervisor.restart(["extractor-face"])
    unit = "visualpath-extractor@face.service"
    assert machine.did == [f"stop {unit}", f"start --no-block {unit}"]


# How the daemons are ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("active", "sub", "state"),
    [
        ("active", "running", "up"),
        ("activating", "start", "starting"),
        ("activating", "auto-restart", "failing"),
        ("activating", "auto-restart-queued", "failing"),
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


def test_there_is_nothing_to_tell_of_one_that_was_stopped(machine, supervisor):
    assert told(machine, supervisor, active="inactive", sub="dead", pid=0, restarts=2) == ""


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
    machine.says("visualpath-clip.service", systemd.STOPPING)
    assert supervisor.ends() == {}


def test_a_stop_while_it_waits_for_its_next_start_is_one_too(machine, supervisor):
    machine.exits("visualpath-clip.service", "exited", "1", "exit-code")
    machine.says("visualpath-clip.service", systemd.STOPPED)
    assert supervisor.ends() == {}


def test_that_it_is_started_again_is_no_stop(machine, supervisor):
    machine.exits("visualpath-clip.service", "exited", "1", "exit-code")
    machine.says("visualpath-clip.service", systemd.START_AGAIN)
    machine.says("visualpath-clip.service", systemd.STOPPED)
    assert supervisor.ends()["clip"].count == 1


@pytest.mark.parametrize("stopped", [(), (systemd.STOPPED,)], ids=["not yet told", "told"])
def test_a_model_that_hangs_when_it_is_told_to_stop_has_not_ended_by_itself(machine, supervisor, stopped):
    unit = "visualpath-extractor@face.service"
    machine.says(unit, systemd.STOPPING)
    machine.exits(unit, "exited", "1", "exit-code")
    for kind in stopped:
        machine.says(unit, kind)
    assert supervisor.ends() == {}


def test_an_end_after_a_stop_and_a_start_counts(machine, supervisor):
    unit = "visualpath-extractor@face.service"
    machine.says(unit, systemd.STOPPING)
    machine.says(unit, systemd.STOPPED)
    machine.exits(unit, "exited", "1", "exit-code")
    assert supervisor.ends()["extractor-face"].count == 1


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


def test_whoever_may_not_read_the_journal_is_told_of_no_ends(supervisor, mute):
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


def test_status_as_json_has_the_cause_too(machine, installed):
    machine.units = [shown("visualpath-fusion.service", **GIVEN_UP, result="watchdog", restarts=180)]
    status = json.loads(installed("--json", "status").stdout)["fusion"]
    assert status["down"]
    assert "hung, killed by the watchdog" in status["told"][0]


@pytest.mark.parametrize("command", ["status", "up", "down", "restart", "logs", "apply", "health"])
def test_where_systemd_cannot_be_asked_every_command_ends_in_its_words(
    installed, mute, monkeypatch, short_dir, command
):
    monkeypatch.setattr(systemd, "INSTALLED_CONFIG", short_dir / "visualpath.yaml")
    result = installed(command)
    assert isinstance(result.exception, SystemExit)
    if command != "health":  # which judges by the daemons' answers alone
        assert "vpctl: systemctl show: Failed to connect to bus" in result.stderr


@pytest.mark.parametrize("args", [("logs",), ("logs", "-f"), ("--json", "logs", "-f")], ids=" ".join)
def test_a_secret_that_a_library_wrote_is_not_shown(machine, monkeypatch, write_config, tmp_path, args):
    path = write_config("streams: {cam1: {source: 'rtsp://u:${VP_CAM1}@camera/x'}}\n")
    path.with_name("secrets.env").write_text("VP_CAM1=s3cret\n")
    monkeypatch.setattr(systemd, "BOOTED", tmp_path)
    machine.command = EXEC_START.format(path=path)
    monkeypatch.setattr(Systemd, "log_lines", lambda *_args: ["cannot open rtsp://u:s3cret@camera/x"])
    monkeypatch.setattr(Systemd, "follow", lambda *_args: iter(["again: rtsp://u:s3cret@camera/x"]))
    result = CliRunner().invoke(main, ["--config", str(path), *args])
    assert "rtsp://" in result.output
    assert "s3cret" not in result.output


def test_down_stops_the_units(machine, installed):
    machine.units = [shown("visualpath-fusion.service")]
    assert installed("down").output == "stopped\n"
    assert machine.did[-1].startswith("stop visualpath.target")


def test_a_refusal_of_systemctl_is_exit_1_in_its_words(machine, installed, monkeypatch):
    def refuse(*command, **_options):
        if command[1] == "stop":
            raise SupervisorFailed("systemctl stop: Access denied")
        return machine(*command)

    monkeypatch.setattr(systemd, "_run", refuse)
    result = installed("down")
    assert (result.exit_code, result.stderr) == (1, "vpctl: systemctl stop: Access denied\n")


def test_a_dry_run_says_what_would_be_done_and_does_nothing(machine, installed, monkeypatch):
    monkeypatch.setattr(apply, "ANSWER_MS", 1)
    machine.units = [shown("visualpath-fusion.service"), shown("visualpath-frame@old.service")]
    result = installed("apply", "--dry-run")
    assert result.output.splitlines() == [
        "would stop frame-old", "would start clip, extractor-face, frame-cam1", "would restart fusion"
    ]  # fmt: skip
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


def test_a_systemctl_that_hangs_is_given_up(program, write_config, monkeypatch):
    program("systemctl", "exec sleep 60")
    monkeypatch.setattr(systemd._run, "__kwdefaults__", {"timeout_s": 0.1})
    with pytest.raises(SupervisorFailed, match=r"^systemctl show: no answer within 0\.1 s$"):
        Systemd(load_config(write_config(SECTIONS))).processes()


@pytest.mark.parametrize(("uid", "hint"), [(0, "denied"), (1000, r"denied \(root may: sudo vpctl\)")])
def test_an_operator_who_may_not_is_told_who_may(program, write_config, monkeypatch, uid, hint):
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    program("systemctl", "[ $1 = show ] || { echo denied >&2; exit 1; }")
    with pytest.raises(SupervisorFailed, match=f"^systemctl stop: {hint}$"):
        Systemd(load_config(write_config(SECTIONS))).stop()


def test_a_message_with_another_end_of_line_in_it_stays_one_line(program, write_config):
    program("journalctl", r"printf 'a\342\200\250b\nc\n'")
    assert Systemd(load_config(write_config(SECTIONS))).log_lines("fusion", 5) == ["a\u2028b", "c"]


def test_where_journalctl_is_missing_nothing_can_be_followed(monkeypatch, tmp_path, write_config):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SupervisorFailed, match=r"^journalctl is not installed$"):
        Systemd(load_config(write_config(SECTIONS))).follow(["fusion"])


def test_followed_lines_come_as_they_are_written(program, write_config):
    program("journalctl", "echo one; echo two; exec sleep 60")
    coming = Systemd(load_config(write_config(SECTIONS))).follow(["fusion"])
    assert [next(coming), next(coming)] == ["one", "two"]
    coming.close()

"""Daemons that another machine runs, as `security.servers` says: not run here, and not missed."""

import json

import pytest

from visualpath.ctl.commands import doctor
from visualpath.ctl.commands.apply import make_plan
from visualpath.ctl.supervision import Process
from visualpath.ctl.systemd import Systemd
from visualpath.runtime import exec as runtime_exec
from visualpath.runtime.config import load_config
from visualpath.runtime.roles import local_roles

CONFIG = """
streams: {{cam1: {{source: cam1.mp4}}}}
extractors: {{face: {{}}}}
fusion: {{rules: [{{label: x, when: face.count >= 1}}]}}
security: {{key: {key}, servers: {{fusion: hub, frame-cam1: hub}}}}
"""


@pytest.fixture
def path(write_config):
    return write_config(CONFIG.format(key="annex"))


@pytest.fixture
def config(path):
    """What the fixture `vpctl` goes by."""
    return path


def test_this_machine_runs_all_others(path):
    assert [role.daemon for role in local_roles(load_config(path))] == ["clip", "extractor-face"]


def test_the_machine_that_is_named_runs_them(write_config):
    assert len(local_roles(load_config(write_config(CONFIG.format(key="hub"))))) == 4


def test_apply_starts_none_of_them_and_stops_those_that_run(path):
    plan = make_plan(load_config(path), {"fusion": Process("up", 7)}, {})
    assert (plan.start, plan.stop) == (["clip", "extractor-face"], ["fusion"])


def test_systemd_enables_none_of_their_units(path):
    assert set(Systemd(load_config(path))._units) == {"clip", "extractor-face"}


def test_visualpath_exec_refuses_one_and_says_where_it_runs(path, capsys):
    assert runtime_exec.main(["fusion", "--config", str(path)]) == 78
    assert f"fusion runs on hub, says {path}: security.servers.fusion" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["restart", "logs"])
def test_what_is_asked_of_one_is_refused_with_its_machine(vpctl, command):
    result = vpctl(command, "fusion")
    assert (result.exit_code, result.stderr) == (1, "vpctl: fusion runs on hub (security.servers): do it there\n")


def test_status_says_where_they_are(vpctl):
    rows = [line.split() for line in vpctl("status").stdout.splitlines()[1:]]
    assert {row[0]: " ".join(row[4:]) for row in rows} == {
        "clip": "down", "fusion": "on hub", "extractor-face": "down", "frame-cam1": "on hub"
    }  # fmt: skip


def test_health_says_where_they_are(vpctl):
    lines = vpctl("health").stdout.splitlines()
    assert [line.split() for line in lines if line.rstrip().endswith("on hub")] == [
        ["fusion", "-", "-", "on", "hub"], ["frame-cam1", "-", "-", "on", "hub"]
    ]  # fmt: skip


def test_health_does_not_hold_them_failed(vpctl):
    told = json.loads(vpctl("--json", "health").stdout)
    assert (set(told["daemons"]), told["elsewhere"]) == (
        {"clip", "extractor-face"}, {"fusion": "hub", "frame-cam1": "hub"}
    )  # fmt: skip


def test_doctor_does_not_miss_them(vpctl, monkeypatch):
    asked = []

    def check(examined):
        asked.extend(examined.statuses)
        return []

    monkeypatch.setattr(doctor, "CHECKS", {"daemons": check})
    vpctl("doctor")
    assert asked == ["clip", "extractor-face"]

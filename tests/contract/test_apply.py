"""`vpctl apply` with a real supervisord and real daemons."""

import json
import os
import sys
from pathlib import Path

import pytest

from visualpath.ctl.commands import up

CONFIG = """
    state_dir: state
    venvs_dir: venvs
    ring: {{dir: ring, length: 10s, size: 16MiB}}
    clip: {{dir: clips, pre: 1s, post: {post}, format: mjpeg}}
    streams:
      cam1: {{source: "synthetic://?width=64&height=48&fps=10&live=1"}}
    extractors: {extractors}
    fusion: {{rules: [{{label: x, when: probe.id < 0}}]}}
"""
ENTRY_POINTS = """
[visualpath.fusions]
rules = visualpath.core.rules:RulesFusion
[visualpath.extractors]
late = late_plugin:Late
"""
BREAKS_ONCE_IT_ANSWERED = """
import time
from pathlib import Path

while not Path({told!r}).exists():
    time.sleep(0.005)
raise ImportError("its library is not there")
"""
ELSEWHERE = "security: {key: annex, servers: {fusion: hub, frame-cam1: hub}}\n"
PROBE = "{{probe: {{plugin: scripted, venv: core, config: {{release: '{release}'}}}}{more}}}"
DAEMONS = ["clip", "fusion", "extractor-probe", "frame-cam1"]


@pytest.fixture
def configure(write_config, release):
    """Write the configuration, with something changed."""

    def write(post="1s", more=""):
        return write_config(CONFIG.format(post=post, extractors=PROBE.format(release=release, more=more)))

    return write


@pytest.fixture
def config(configure, short_dir, scripted_plugins, monkeypatch):
    """Everything runs in the venv of the tests."""
    (short_dir / "venvs").mkdir()
    (short_dir / "venvs" / "core").symlink_to(Path(sys.executable).parents[1])
    (Path(scripted_plugins) / "late_plugin.py").write_text(BREAKS_ONCE_IT_ANSWERED.format(told=str(short_dir / "told")))
    info = Path(scripted_plugins) / "rules-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rules\nVersion: 0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [scripted_plugins, os.environ.get("PYTHONPATH")])))
    return configure()


@pytest.fixture
def applied(config, vpctl):
    """All daemons run; their process ids by name."""
    result = vpctl("apply")
    try:
        assert (result.exit_code, result.stdout) == (0, f"started {', '.join(DAEMONS)}\n")
        yield pids(vpctl)
    finally:
        assert vpctl("down").exit_code == 0


def pids(vpctl):
    statuses = json.loads(vpctl("--json", "status").stdout)
    return {name: status["pid"] for name, status in statuses.items()}


def test_applied_again_it_does_nothing(applied, vpctl):
    assert vpctl("apply").stdout == "nothing to do\n"
    assert pids(vpctl) == applied


def test_a_change_restarts_whom_it_concerns_and_nobody_else(applied, vpctl, configure):
    configure(post="2s")
    assert vpctl("apply").stdout == "restarted clip\n"
    after = pids(vpctl)
    assert {name for name in DAEMONS if after[name] != applied[name]} == {"clip"}


def test_another_value_in_secrets_env_restarts_whom_it_concerns_once(applied, vpctl, configure, short_dir):
    configure(post="'${VP_POST}'")
    said = []
    for value in ("2s", "3s", "3s"):
        (short_dir / "secrets.env").write_text(f"VP_POST={value}\n")
        said.append(vpctl("apply").stdout)
    assert said == ["restarted clip\n", "restarted clip\n", "nothing to do\n"]


def test_a_daemon_that_does_not_come_up_is_exit_1_with_its_last_words(applied, vpctl, configure):
    configure(more=", broken: {plugin: no-such-plug-in, venv: core}")
    result = vpctl("apply")
    assert result.exit_code == 1
    assert "extractor-broken does not stay up; its last lines:" in result.stderr
    assert "no plug-in 'no-such-plug-in'" in result.stderr


@pytest.mark.parametrize("command", ["up", "apply"])
@pytest.mark.parametrize("runs_before", [False, True])
def test_a_daemon_that_answers_before_it_ends_is_exit_1_with_its_last_words(
    config, vpctl, configure, short_dir, monkeypatch, command, runs_before
):
    ask = up.collect

    def collect(*args):
        statuses = ask(*args)
        if "extractor-late" in statuses and None not in statuses.values():
            (short_dir / "told").touch()
        return statuses

    monkeypatch.setattr(up, "collect", collect)
    try:
        if runs_before:
            assert vpctl("up").exit_code == 0
        configure(more=", late: {plugin: late, venv: core}")
        result = vpctl(command)
        assert (result.exit_code, "its library is not there" in result.stderr) == (1, True)
        assert "extractor-late does not stay up; its last lines:" in result.stderr
    finally:
        assert vpctl("down").exit_code == 0


def test_what_another_machine_runs_is_not_started_and_not_missed(config, vpctl):
    config.write_text(config.read_text() + ELSEWHERE)
    try:
        assert vpctl("up").exit_code == 0
        statuses = json.loads(vpctl("--json", "status").stdout)
        away = {name: status["machine"] for name, status in statuses.items() if status.get("down")}
        assert away == {"fusion": "hub", "frame-cam1": "hub"}
    finally:
        assert vpctl("down").exit_code == 0


def test_what_does_not_stay_up_is_started_at_once_when_its_cause_is_mended(applied, vpctl, configure, release):
    configure(more=", broken: {plugin: no-such-plug-in, venv: core}")
    assert vpctl("apply").exit_code == 1
    configure(more=f", broken: {{plugin: scripted, venv: core, config: {{release: '{release}'}}}}")
    result = vpctl("apply")
    assert (result.exit_code, result.stderr) == (0, "")

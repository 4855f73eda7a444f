"""`vpctl health` and the last line of `vpctl status`, beside real daemons."""

import json

import pytest

from visualpath.core.errors import CommandError

CONFIG = """
    state_dir: state
    ring: {dir: ring, length: 30s}
    clip: {dir: clips, pre: 400ms, post: 400ms, format: mjpeg}
    streams:
      cam1: {source: "synthetic://?width=128&height=112&fps=10&live=1"}
    extractors:
      face: {plugin: bright}
    fusion:
      rules: [{label: bright, when: face.bright > 2}]
"""
ENTRY_POINTS = """
    [visualpath.fusions]
    rules = visualpath.core.rules:RulesFusion
    [visualpath.extractors]
    bright = bright:Bright
"""
PLUGIN = """
    from visualpath.core.extractor import BaseExtractor
    from visualpath.core.observation import Observation

    class Bright(BaseExtractor):
        def extract(self, frame):
            return Observation(signals={"bright": 1.0})
"""
DAEMONS = ["clip", "fusion", "extractor-face", "frame-cam1"]


@pytest.fixture
def config(write_config):
    return write_config(CONFIG)


@pytest.fixture
def health(vpctl):
    """The exit code, and what each daemon is said to be."""

    def read():
        result = vpctl("--json", "health")
        return result.exit_code, json.loads(result.stdout)

    return read


@pytest.fixture
def running(start_daemon, config, health, wait_for, install_plugins):
    """All daemons, once they are healthy; by their roles."""
    plugins = install_plugins(ENTRY_POINTS, bright=PLUGIN)
    instances = {"clip": "", "fusion": "", "extractor": "face", "frame": "cam1"}
    daemons = {role: start_daemon(role, config, name, PYTHONPATH=plugins) for role, name in instances.items()}
    wait_for(lambda: health()[0] == 0, timeout_s=60)
    return daemons


def test_with_nothing_running_all_have_failed_and_the_exit_code_is_6(health):
    code, answer = health()
    assert (code, answer["state"]) == (6, "failed")
    assert {name: (each["state"], each["reason"]) for name, each in answer["daemons"].items()} == dict.fromkeys(
        DAEMONS, ("failed", "does not answer")
    )


def test_where_all_flows_the_exit_code_is_0(running, vpctl):
    result = vpctl("health")
    assert [line.split()[:2] for line in result.stdout.splitlines()[1:]] == [[name, "healthy"] for name in DAEMONS]


def test_one_daemon_that_is_down_is_named(running, health, wait_for):
    running["clip"].kill()
    code, answer = health()
    assert (code, answer["daemons"]["clip"]["reason"]) == (6, "does not answer")
    assert answer["daemons"]["frame-cam1"]["state"] == "healthy"


def test_the_last_line_of_status_says_it(running, vpctl):
    running["clip"].kill()
    assert vpctl("status").stdout.splitlines()[-1] == "health: failed (clip); `vpctl health` says why"


def test_the_metric_says_it(running, vpctl):
    running["clip"].kill()
    lines = vpctl("metrics").stdout.splitlines()
    assert 'visualpath_health{daemon="clip"} 2.0' in lines
    assert 'visualpath_health{daemon="frame-cam1"} 0.0' in lines


@pytest.mark.parametrize("after", ["x", -1, 2**63, True])
def test_the_outcomes_of_clips_are_asked_for_by_a_number(running, vpctl, ask, after):
    with pytest.raises(CommandError, match="is no number of an outcome"):
        ask("clip", "outcomes", {"after": after})


def test_without_a_number_only_the_last_is_said(running, ask):
    assert ask("clip", "outcomes")["outcomes"] == []

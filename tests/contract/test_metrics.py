"""`vpctl metrics` of real daemons, as Prometheus reads it; and the page that explains it."""

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from visualpath.ctl.exposition import COUNTERS, HEALTH, HISTOGRAMS, OTHER, PREFIX, STATUS, UP, metric_of

OPERATIONS = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")

CONFIG = """
    state_dir: state
    ring: {dir: ring, length: 30s}
    clip: {dir: clips, pre: 40ms, post: 40ms}
    streams:
      cam1: {source: none.mp4}
    extractors:
      face: {}
    fusion:
      rules: [{label: smile, when: face.smile > 0.5}]
"""
PLUGIN = """
    from visualpath.core.extractor import BaseExtractor
    from visualpath.core.observation import Observation


    class Face(BaseExtractor):
        def extract(self, frame):
            return Observation(signals={"smile": 0.75})
"""
ENTRY_POINTS = """
    [visualpath.extractors]
    face = metrics_plugin:Face
    [visualpath.fusions]
    rules = visualpath.core.rules:RulesFusion
"""


@pytest.fixture
def config(write_config):
    return write_config(CONFIG)


@pytest.fixture
def plugins(install_plugins):
    """A folder for PYTHONPATH that has the extractor and the built-in fusion installed."""
    return install_plugins(ENTRY_POINTS, metrics_plugin=PLUGIN)


@pytest.fixture
def chain(start_daemon, config, plugins, fake_stream, wait_for, counter):
    """All daemons but the camera, which the test plays, after the first clip."""
    start_daemon("fusion", config, PYTHONPATH=plugins)
    start_daemon("clip", config)
    start_daemon("extractor", config, "face", PYTHONPATH=plugins)
    camera = fake_stream("cam1")
    camera.await_subscribers(2)
    camera.state("live", fps=25.0)
    numbers = itertools.count()

    def saved_after_one_more_frame():
        number = next(numbers)
        camera.frames(number, number)
        return counter("clip", "clips.saved")

    wait_for(saved_after_one_more_frame, timeout_s=20)


def families(text):
    return {family.name: family for family in text_string_to_metric_families(text)}


def test_with_nothing_running_every_daemon_is_shown_as_down_and_exit_0(vpctl):
    result = vpctl("metrics")
    found = families(result.stdout)
    assert found.keys() == {"visualpath_up", "visualpath_health"}
    assert {s.labels["daemon"]: s.value for s in found["visualpath_up"].samples} == {
        "clip": 0, "fusion": 0, "extractor-face": 0, "frame-cam1": 0
    }  # fmt: skip
    assert result.exit_code == 0


def test_a_bad_configuration_is_exit_78(vpctl, write_config):
    assert vpctl("metrics", path=write_config("streams: {cam1: {sauce: a.mp4}}\n")).exit_code == 78


def test_those_that_answer_are_up(chain, vpctl):
    up = families(vpctl("metrics").stdout)["visualpath_up"]
    assert {s.labels["daemon"] for s in up.samples if s.value} == {"clip", "fusion", "extractor-face"}


def test_every_counter_of_the_daemons_has_a_metric_of_its_own(chain, vpctl):
    assert "visualpath_other" not in families(vpctl("metrics").stdout)


@pytest.mark.parametrize("name", ["decode", "extract", "capture_to_obs", "trigger_to_clip", "capture_to_clip"])
def test_a_latency_of_the_chain_is_measured(chain, vpctl, name):
    samples = families(vpctl("metrics").stdout)[f"visualpath_{name}_seconds"].samples
    values = {s.name.rpartition("_")[2]: s.value for s in samples}
    assert values["count"] > 0
    assert 0 < values["sum"] / values["count"] < 10


def test_programs_get_what_the_daemons_answered(chain, vpctl):
    answers = json.loads(vpctl("--json", "metrics").stdout)
    assert answers["clip"]["counters"]["clips.saved"] > 0
    assert answers["frame-cam1"] is None


def test_promtool_finds_nothing_to_say(chain, vpctl):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("no promtool here (Debian has it in the package prometheus)")
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=vpctl("metrics").stdout, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


# The page -------------------------------------------------------------------------------------------


def rows(heading):
    """The cells of the first table below a heading."""
    found = re.search(rf"^## {heading}\n.*?((?:^\|[^\n]*\n)+)", OPERATIONS, re.MULTILINE | re.DOTALL)
    assert found, f"docs/operations.md has no section {heading} with a table"
    return [row.split("|")[1:-1] for row in found[1].splitlines()[2:]]


def test_the_metrics_that_exist_are_those_that_are_explained():
    exist = {PREFIX + name for name, _ in (UP, HEALTH, OTHER, *COUNTERS.values(), *STATUS.values())}
    exist |= {f"{PREFIX}{name}_seconds" for name in HISTOGRAMS}
    assert exist == {name for row in rows("Metrics") for name in re.findall("`(.+?)`", row[0])}


@pytest.mark.parametrize("counter", [name for row in rows("Counters") for name in re.findall("`(.+?)`", row[1])])
def test_a_documented_counter_has_a_metric_of_its_own(counter):
    assert metric_of(counter)[0] != OTHER, f"name a metric for {counter} in visualpath/ctl/exposition.py"

"""streams, extractors, tail, doctor, version and completion, as the operator meets them."""

import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from visualpath.ctl.commands.tail import KINDS, as_json, as_line
from visualpath.ctl.main import main
from visualpath_protocol.codec import encode
from visualpath_protocol.messages import Event, Obs, ObservationBody, Ping, Skip
from visualpath_protocol.sockets import OBSERVATIONS, TAP

CONFIG = """
    state_dir: state
    ring: {dir: ring, length: 30s}
    clip: {dir: clips, pre: 400ms, post: 400ms}
    streams:
      cam1: {source: SOURCE, loop: true}
      attic: {source: none.mp4}
    extractors:
      face: {streams: [cam1]}
      text: {}
    fusion:
      rules: [{label: smile, when: face.smile > 0.5}]
"""
SAMPLE = Path(__file__).parents[2] / "var" / "sample" / "faces.mp4"
NAMES = ["clip", "fusion", "extractor-face", "extractor-text", "frame-cam1", "frame-attic"]
MS = 1_000_000

PLUGIN = """
    from visualpath.core.extractor import BaseExtractor
    from visualpath.core.observation import Observation


    class Face(BaseExtractor):
        version = "9.8.7"

        def extract(self, frame):
            if frame.frame_id % 10 == 5:
                raise RuntimeError("cannot look at this one")
            return Observation(signals={"smile": 0.25})
"""
ENTRY_POINTS = """
    [visualpath.extractors]
    face = observe_plugin:Face
    [visualpath.fusions]
    rules = visualpath.core.rules:RulesFusion
"""


@pytest.fixture
def config(write_config):
    return write_config(CONFIG.replace("SOURCE", str(SAMPLE)))


@pytest.fixture
def plugins(install_plugins):
    """A folder for PYTHONPATH that has the extractor and the built-in fusion installed."""
    return install_plugins(ENTRY_POINTS, observe_plugin=PLUGIN)


@pytest.fixture
def chain(start_daemon, config, plugins, wait_for, counter):
    """Fusion, one camera of two, one extractor of two, at work."""
    if not SAMPLE.exists():
        pytest.skip("no sample video: make var/sample/faces.mp4")
    start_daemon("fusion", config, PYTHONPATH=plugins)
    start_daemon("extractor", config, "face", PYTHONPATH=plugins)
    start_daemon("frame", config, "cam1")
    wait_for(lambda: counter("extractor-face", "sent.obs") > 20, timeout_s=20)


# Nothing runs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("command", "names"), [("streams", ["cam1", "attic"]), ("extractors", ["face", "text"])])
def test_with_nothing_running_everything_is_shown_as_down_and_exit_4(vpctl, command, names):
    result = vpctl(command)
    rows = [line for line in result.stdout.splitlines() if " down" in line]
    assert [row.split()[0] for row in rows] == names
    assert result.exit_code == 4


def test_no_extractors_in_the_configuration_is_said(vpctl, write_config):
    path = write_config("streams: {cam1: {source: a.mp4}}\n")
    assert vpctl("extractors", path=path).stdout == f"no extractors in {path}\n"


def test_tail_says_who_is_down_and_ends_by_itself(vpctl):
    result = vpctl("tail", "--seconds", "0.1")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("vpctl: down at present: clip, fusion, ")


def test_tail_of_an_unknown_daemon_is_refused_and_names_the_known(vpctl):
    result = vpctl("tail", "--daemon", "atic")
    assert (result.exit_code, result.stderr) == (1, f"vpctl: no daemon 'atic'; there are {', '.join(NAMES)}\n")


@pytest.mark.parametrize("args", [["--kind", "trigerr"], ["--seconds", "0"], ["--seconds", "soon"]])
def test_wrong_usage_of_tail_is_exit_2(vpctl, args):
    assert vpctl("tail", *args).exit_code == 2


@pytest.mark.parametrize("command", ["streams", "extractors", "tail", "doctor"])
def test_a_bad_configuration_is_exit_78_without_a_traceback(vpctl, write_config, command):
    path = write_config("streams: {cam1: {sauce: a.mp4}}\n")
    result = vpctl(command, path=path)
    assert result.exit_code == 78
    assert f"{path}:2: streams.cam1.sauce: unknown key" in result.stdout + result.stderr


# The chain runs ---------------------------------------------------------------------------------------


def test_streams_show_rate_ring_and_subscribers(chain, vpctl):
    result = vpctl("--json", "streams")
    streams = json.loads(result.stdout)
    cam1 = streams["cam1"]
    assert (result.exit_code, streams["attic"]) == (3, None)
    assert (cam1["state"], cam1["fps"], cam1["subscribers"]["headers"]) == ("live", 30.0, 1)
    assert cam1["measured"]["fps"] == pytest.approx(30, rel=0.2)
    assert 0 < cam1["measured"]["last_frame_age_ns"] < 2_000 * MS
    assert 0 < cam1["ring"]["bytes"] < cam1["ring"]["max_bytes"]
    assert cam1["ring"]["held_ns"] > 500 * MS


def test_extractors_show_rate_latency_and_losses_by_reason(chain, vpctl):
    result = vpctl("--json", "extractors")
    extractors = json.loads(result.stdout)
    face = extractors["face"]
    assert (result.exit_code, extractors["text"]["state"]) == (3, "down")
    assert face["state"] in ("ready", "busy")
    assert (face["plugin"], face["version"], face["venv"], face["streams"]) == ("face", "9.8.7", "light", ["cam1"])
    assert face["obs_per_s"] == pytest.approx(27, rel=0.3)
    assert 0 < face["latency_ms"]["p50"] <= face["latency_ms"]["p95"] < 1000
    assert face["lost"]["skipped.error"] > 0


def test_people_get_the_same_in_a_table(chain, vpctl):
    assert re.search(r"cam1 +live +1 +[0-9.]+ of 30 +\d+ +\d+ ms +[0-9.]+/256 MiB", vpctl("streams").stdout)
    assert re.search(r"face +face 9.8.7 +light +\w+ +[0-9.]+ +\d+ +\d+ +.*error \d+ +cam1", vpctl("extractors").stdout)


def test_tail_shows_what_fusion_hears_and_makes_of_it(chain, vpctl):
    events = [json.loads(line) for line in vpctl("--json", "tail", "--seconds", "1.5").stdout.splitlines()]
    by_kind = {event["kind"]: event["body"] for event in events}
    assert by_kind["obs"]["signals"] == [{"smile": 0.25}]
    assert by_kind["set"]["obs"] == ["face"]
    assert (by_kind["skip"]["reason"], by_kind["skip"]["source"]) == ("error", "face")


def tailed(vpctl, *args):
    """The daemons whose events `vpctl tail` shows, with the form of an OBS of each."""
    lines = vpctl("--json", "tail", "--kind", "obs", "--seconds", "1.5", *args).stdout.splitlines()
    return {event["daemon"]: "observations" in event["body"] for event in map(json.loads, lines)}


def test_tail_shows_an_observation_once_as_fusion_says_it(chain, vpctl):
    assert tailed(vpctl) == {"fusion": False}


def test_tail_of_an_extractor_shows_what_it_says_itself(chain, vpctl):
    assert tailed(vpctl, "--daemon", "extractor-face") == {"extractor-face": True}


def test_tail_shows_only_the_kinds_asked_for(chain, vpctl):
    lines = vpctl("tail", "--kind", "skip", "--seconds", "1.5").stdout.splitlines()
    assert lines
    assert {line.split()[2] for line in lines} == {"skip"}


def test_ctrl_c_ends_tail_in_order(chain, config):
    command = [sys.executable, "-c", "from visualpath.ctl.main import main; main()", "--config", str(config), "tail"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as tail:
        assert tail.stdout.readline()
        tail.send_signal(signal.SIGINT)
        _, said = tail.communicate(timeout=10)
    assert (tail.returncode, said.count("\n")) == (0, 1), said


# What tail prints -------------------------------------------------------------------------------------


def event(kind, body):
    return Event(daemon="fusion", kind=kind, mono_ns=1, wall_ns=1_700_000_000_250_000_000, body=body)


FRAME = {"stream": "cam1", "epoch": 3, "frame_id": 120, "t_ns": 4000 * MS}


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        ("obs", {"source": "face", **FRAME, "signals": [{"count": 1.0}]}, "face cam1/3 #120 4.000s count=1"),
        ("obs", {"source": "face", **FRAME, "signals": []}, "face cam1/3 #120 4.000s nothing found"),
        (
            "obs",
            {"source": "face", **FRAME, "observations": [{"signals": {"count": 1.0}}, {"data": 5}]},
            "face cam1/3 #120 4.000s count=1 | no signals",
        ),
        (
            "skip",
            {**FRAME, "source": "face", "first_frame_id": 1, "last_frame_id": 2, "reason": "gap", "detail": ""},
            "face cam1/3 #1-#2 gap",
        ),
        (
            "set",
            {**FRAME, "obs": ["a"], "missing": ["b"], "skipped": [], "reason": "window", "hold_ns": 100 * MS},
            "cam1/3 #120 4.000s window after 100 ms: obs a; missing b",
        ),
        ("state", {"source": "face", "state": "down", "reason": "left"}, "source face is down: left"),
        ("clip", {"trig_id": "ab", "state": "failed", "why": "disk full"}, "ab failed disk full"),
        ("trace", {"x": 1}, "{'x': 1}"),
        ("set", {"other": "minor"}, "{'other': 'minor'}"),
        ("state", "\x1b[2J\n", "'\\x1b[2J\\n'"),
    ],
)
def test_each_kind_is_one_line_for_people(kind, body, text):
    assert as_line(event(kind, body), 6, 1000) == f"22:13:20.250Z fusion {kind:7} {text}"


def test_a_line_is_cut_to_the_terminal():
    assert len(as_line(event("trace", "x" * 500), 6, 80)) == 80


def test_a_line_holds_no_control_characters():
    body = {"trig_id": "a\x1b[2Jb", "state": "failed", "why": "x\ny"}
    assert as_line(event("clip", body), 6, 100).isprintable()


def test_json_of_an_event_holds_arrays_as_lists():
    import numpy as np

    assert json.loads(as_json(event("trigger", {"box": np.array([1, 2])})))["body"] == {"box": [1, 2]}


def test_the_kinds_are_those_of_the_protocol():
    text = (Path(__file__).parents[2] / "protocol" / "PROTOCOL.md").read_text()
    tap = text[text.index("## Tap") : text.index("### EVENT")]
    assert set(re.findall(r"^\| `(\w+)` ", tap, re.MULTILINE)) == set(KINDS)


# Doctor, version, completion --------------------------------------------------------------------------


def test_doctor_finds_problems_is_exit_1_and_shows_the_worst_last(vpctl):
    result = vpctl("--json", "doctor")
    levels = [finding["level"] for finding in json.loads(result.stdout)]
    assert result.exit_code == 1
    assert levels == sorted(levels, key=["ok", "warning", "problem"].index)
    assert levels[-1] == "problem"


def test_doctor_names_what_mends_a_problem(vpctl):
    findings = json.loads(vpctl("--json", "doctor", "-q").stdout)
    assert all(finding["mend"] for finding in findings if finding["level"] == "problem")
    assert "venv 'core' is not built (clip, fusion, frame-cam1, frame-attic)" in {f["what"] for f in findings}


def test_doctor_of_a_bad_configuration_still_looks_at_the_machine(vpctl, short_dir):
    result = vpctl("--json", "doctor", path=short_dir / "gone.yaml")
    assert result.exit_code == 78
    assert {finding["check"] for finding in json.loads(result.stdout)} == {"configuration", "machine"}


def test_version_needs_no_configuration(vpctl, short_dir):
    result = vpctl("--json", "version", path=short_dir / "gone.yaml")
    versions = json.loads(result.stdout)
    assert (result.exit_code, versions["protocol"], versions["venvs"]) == (0, "1.0", {})


def test_version_names_each_venv(vpctl, short_dir):
    site = short_dir / ".venvs" / "light" / "lib" / "python3.11" / "site-packages" / "visualpath-7.8.dist-info"
    site.mkdir(parents=True)
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: visualpath\nVersion: 7.8\n")
    (short_dir / ".venvs" / "light" / "bin").mkdir()
    (short_dir / ".venvs" / "light" / "bin" / "python").touch()
    venvs = json.loads(vpctl("--json", "version").stdout)["venvs"]
    assert venvs == {"core": "not built", "light": "visualpath 7.8"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_script_says_where_it_goes(vpctl, shell):
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("no bash here")
    lines = vpctl("completion", shell).stdout.splitlines()
    assert lines[-1].startswith(f"# Install: vpctl completion {shell} > ")
    assert shell != "zsh" or lines[0] == "#compdef vpctl"


def test_an_unknown_shell_is_wrong_usage(vpctl):
    assert vpctl("completion", "csh").exit_code == 2


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("trigger a", ["attic"]),
        ("tail --daemon ex", ["extractor-face", "extractor-text"]),
        ("tail --kind tr", ["trigger"]),
    ],
)
def test_names_from_the_configuration_complete(config, words, found):
    typed = f"vpctl --config {config} {words}"
    environ = {"_VPCTL_COMPLETE": "bash_complete", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    result = CliRunner().invoke(main, [], prog_name="vpctl", env=environ)
    assert [line.partition(",")[2] for line in result.stdout.splitlines()] == found


# What fusion tells on its tap -------------------------------------------------------------------------


def test_fusion_tells_whoever_listens_about_observations_and_skips(start_daemon, config, plugins, links, ask, wait_for):
    start_daemon("fusion", config, PYTHONPATH=plugins)
    wait_for(lambda: ask("fusion", "status", timeout_ms=10_000))
    tap, push = links.connect(TAP, "fusion"), links.connect(OBSERVATIONS, "fusion")
    tap.subscribe("")
    who = {"source": "face", "instance": "i1", "stream": "cam1", "epoch": 1}
    push.send(encode(Ping(source="face", instance="i1", streams=["cam1"], state="ready")))
    assert tap.poll(10_000), "fusion did not tell of the source"
    push.send(encode(Obs(**who, seq=0, frame_id=1, t_ns=1, mono_ns=0, observations=[ObservationBody()], bound_ns=1)))
    push.send(encode(Skip(**who, seq=1, first_frame_id=2, last_frame_id=3, first_t_ns=2, t_ns=3, reason="gap")))
    kinds = []
    while "skip" not in kinds:
        assert tap.poll(10_000), f"after {kinds} nothing came"
        kinds.append(tap.recv_multipart()[0].decode())
    assert kinds[0] == "state"
    assert "obs" in kinds

"""`vpctl models` as the operator meets it, and what an extractor says when its model is not there."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from model_server import ModelServer, Status

from visualpath.plugin.models import VARIABLE

CONTENT = random.Random(3).randbytes(4 << 20)
HALF = len(CONTENT) // 2
SHA256 = hashlib.sha256(CONTENT).hexdigest()

CONFIG = """
    state_dir: state
    models_dir: weights
    venvs_dir: venvs
    ring: {dir: ring}
    clip: {dir: clips}
    streams:
      cam1: {source: none.mp4}
    extractors:
      probe: {}
    fusion:
      rules: [{label: any, when: probe.n > 0}]
"""
ENTRY_POINTS = """
    [visualpath.extractors]
    probe = probe_plugin:Probe

    [visualpath.models]
    probe = probe_plugin
"""
PLUGIN = """
    from visualpath.core.extractor import BaseExtractor
    from visualpath.core.observation import Observation
    from visualpath.plugin.models import model_path


    class Probe(BaseExtractor):
        @classmethod
        def load_models(cls, config):
            return model_path("net").read_bytes()

        def extract(self, frame):
            return Observation(signals={"n": len(self.models)})
"""
MANIFEST = """
    models:
      net:
        needed_by: ["probe: net"]
        licence: non-commercial
        licence_url: https://example.test/licence
        origin: https://example.test
        file: net.onnx
        size: {size}
        sha256: "{sha256}"
        urls: [{address}/net.onnx]
      loose:
        needed_by: ["probe: loose"]
        licence: AGPL-3.0
        licence_url: https://example.test/licence
        origin: https://example.test
        file: loose.onnx
        urls: [{address}/loose.onnx]
"""


@pytest.fixture
def server():
    server = ModelServer()
    yield server
    server.close()


@pytest.fixture
def config(write_config):
    return write_config(CONFIG)


@pytest.fixture
def plugins(install_plugins, server):
    """A folder for PYTHONPATH with a plug-in that brings a manifest."""
    folder = install_plugins(ENTRY_POINTS, probe_plugin=PLUGIN)
    text = MANIFEST.format(address=server.address, size=len(CONTENT), sha256=SHA256)
    with open(f"{folder}/models.yaml", "w") as file:
        file.write(textwrap.dedent(text))
    return folder


@pytest.fixture
def run(vpctl, plugins, monkeypatch):
    """Run vpctl to its end, in this process: exit code, stdout, stderr."""
    monkeypatch.syspath_prepend(plugins)
    monkeypatch.setenv("no_proxy", "*")

    def run(*args):
        result = vpctl(*args)
        return result.exit_code, result.stdout, result.stderr

    return run


@pytest.fixture
def environ(plugins):
    """Of a process that has the plug-in."""
    path = os.pathsep.join(filter(None, [plugins, os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "no_proxy": "*"}


@pytest.fixture
def start(config, environ):
    """Start a vpctl of its own."""
    started = []

    def start(*args, umask=-1):
        command = [sys.executable, "-c", "from visualpath.ctl.main import main; main()", "--config", str(config), *args]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, env=environ, umask=umask, **pipes))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def weights(short_dir):
    return short_dir / "weights"


@pytest.fixture
def part_of(weights, wait_for):
    """Wait until of a model's download so many bytes lie there, but for what a buffer may hold."""

    def wait(name, size):
        part = weights / ".state" / f"{name}.part"
        wait_for(lambda: part.exists() and part.stat().st_size >= size - (64 << 10), timeout_s=30)

    return wait


def states(run):
    return {each["name"]: each["state"] for each in json.loads(run("--json", "models")[1])}


# pull ------------------------------------------------------------------------------------------------


def test_a_model_is_pulled_into_models_dir(start, server, weights):
    server.serve("/net.onnx", CONTENT)
    process = start("models", "pull", "net")
    out, _ = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, f"net: {weights}/net/net.onnx\n")
    assert (weights / "net" / "net.onnx").read_bytes() == CONTENT


def test_daemons_of_other_users_can_read_what_an_operator_with_a_strict_umask_pulls(start, server, weights):
    server.serve("/net.onnx", CONTENT)
    process = start("models", "pull", "net", umask=0o077)
    process.communicate(timeout=60)
    folders = (weights, weights / ".state", weights / "net")
    assert {folder.stat().st_mode & 0o777 for folder in folders} == {0o755}
    assert (weights / "net" / "net.onnx").stat().st_mode & 0o777 == 0o644
    assert (weights / ".state" / "net.json").stat().st_mode & 0o777 == 0o644


def test_its_licence_is_said(run, server):
    server.serve("/net.onnx", CONTENT)
    assert "licence of the weights: non-commercial (https://example.test/licence)" in run("models", "pull", "net")[2]


def test_pull_as_json_says_what_came(run, server, weights):
    server.serve("/net.onnx", CONTENT)
    assert json.loads(run("--json", "models", "pull", "net")[1]) == [
        {
            "name": "net", "fetched": True, "path": f"{weights}/net/net.onnx", "pinned": {},
            "licence": "non-commercial",
        }
    ]  # fmt: skip


def test_a_killed_pull_is_gone_on_with(run, start, server, part_of):
    server.serve("/net.onnx", CONTENT, hold_at=HALF)
    process = start("models", "pull", "net")
    part_of("net", HALF)
    process.kill()
    process.wait()
    server.files["/net.onnx"].hold_at = None
    assert run("models", "pull", "net")[0] == 0
    [first, second] = server.ranges()
    assert first is None
    assert int(second.removeprefix("bytes=")[:-1]) >= HALF - (64 << 10)


def test_an_interrupted_pull_says_how_to_go_on(start, server, part_of):
    server.serve("/net.onnx", CONTENT, hold_at=HALF)
    process = start("models", "pull", "net")
    part_of("net", HALF)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err.splitlines()[-1] == "vpctl: interrupted; `vpctl models pull net` goes on where it stopped"


def test_two_pulls_at_once_do_not_disturb_each_other(run, start, server, part_of):
    server.serve("/net.onnx", CONTENT, hold_at=HALF)
    first = start("models", "pull", "net")
    part_of("net", HALF)
    code, _, err = run("models", "pull", "net")
    assert (code, err.splitlines()[-1]) == (1, f"vpctl: net: another vpctl is at work on it (pid {first.pid})")
    server.files["/net.onnx"].go.set()
    first.communicate(timeout=30)
    assert first.returncode == 0


def test_wrong_content_is_told_deleted_and_exit_1(run, server, weights):
    server.serve("/net.onnx", CONTENT[::-1])
    code, out, err = run("models", "pull", "net")
    assert (code, out) == (1, "")
    assert "what came has the sha256" in err.splitlines()[-1]
    assert sorted(path.name for path in (weights / ".state").iterdir()) == ["net.lock"]


def test_a_file_without_a_checksum_is_taken_on_trust_alone(run, server):
    server.serve("/loose.onnx", b"any")
    assert run("models", "pull", "loose")[0] == 1
    code, out, _ = run("models", "pull", "loose", "--trust")
    assert code == 0
    assert f"pinned is sha256 {hashlib.sha256(b'any').hexdigest()}" in out
    assert states(run)["loose"] == "pinned"


def test_all_leaves_out_what_must_be_trusted(vpctl, server, plugins, monkeypatch):
    manifests = [Path(plugins) / "models.yaml"]  # not those of the tests' own venv, which lead into the world
    monkeypatch.setattr("visualpath.ctl.model_choice.installed_manifests", lambda: (manifests, []))
    monkeypatch.setenv("no_proxy", "*")
    server.serve("/net.onnx", CONTENT)
    placed = json.loads(vpctl("--json", "models", "pull", "--all").stdout)
    assert [each["name"] for each in placed] == ["net"]


def test_one_that_fails_does_not_keep_the_others_from_coming(run, server):
    server.serve("/net.onnx", CONTENT)
    assert run("models", "pull", "loose", "net", "--trust")[0] == 1
    assert states(run)["net"] == "there"


def test_a_full_disk_is_one_line_and_exit_1(run, server, weights):
    server.serve("/net.onnx", CONTENT)
    (weights / ".state").mkdir(parents=True)
    (weights / ".state" / "net.part").symlink_to("/dev/full")
    code, _, err = run("models", "pull", "net")
    assert (code, err.splitlines()[-1]) == (1, f"vpctl: {weights}/.state/net.part: No space left on device")


def test_a_models_dir_that_cannot_be_made_is_one_line_and_exit_1(run, server, weights):
    weights.write_text("a file")
    code, _, err = run("models", "pull", "net")
    assert (code, err.splitlines()[-1]) == (1, f"vpctl: {weights}/.state: Not a directory")


@pytest.mark.parametrize("args", [["pull"], ["pull", "net", "--all"], ["add"], ["add", "/no/such/file"]])
def test_wrong_usage_is_exit_2(run, args):
    assert run("models", *args)[0] == 2


def test_an_unknown_model_is_told_with_the_nearest(run):
    code, _, err = run("models", "pull", "nett")
    assert (code, err) == (1, "vpctl: no manifest has a model 'nett'; did you mean 'net'?\n")


# list, verify, add -----------------------------------------------------------------------------------


def test_list_says_who_needs_it_its_licence_and_what_to_do(run):
    rows = [line.split("  ") for line in run("models", "list")[1].splitlines()]
    assert [cell.strip() for cell in next(row for row in rows if row[0] == "net") if cell.strip()] == [
        "net", "probe: net", "non-commercial", "4.0 MiB", "missing", "vpctl models pull net",
    ]  # fmt: skip


def test_list_works_before_there_is_a_configuration(run, config):
    config.unlink()
    assert {"net", "loose"} <= set(states(run))


def test_verify_finds_what_has_changed(run, server, weights):
    server.serve("/net.onnx", CONTENT)
    run("models", "pull", "net")
    (weights / "net" / "net.onnx").write_bytes(CONTENT[::-1])
    code, out, err = run("models", "verify")
    assert (code, err) == (1, "vpctl: not as they must be: net\n")
    assert "damaged" in out


def test_verify_is_content_with_what_is_there(run, server):
    server.serve("/net.onnx", CONTENT)
    run("models", "pull", "net")
    assert run("models", "verify")[0] == 0


def test_verify_of_a_name_that_is_missing_is_exit_1(run):
    assert run("models", "verify", "net")[0] == 1


def test_a_file_is_recognised_by_its_checksum(run, short_dir, weights):
    file = short_dir / "download(1).bin"
    file.write_bytes(CONTENT)
    assert run("models", "add", str(file)) == (0, f"net: {weights}/net/net.onnx\n", "")


def test_a_file_is_recognised_by_its_name(run, short_dir):
    file = short_dir / "loose.onnx"
    file.write_bytes(b"any")
    assert run("models", "add", str(file))[0] == 0
    assert states(run)["loose"] == "pinned"


def test_a_file_that_is_not_the_one_named_is_refused(run, short_dir):
    file = short_dir / "mine.onnx"
    file.write_bytes(CONTENT[::-1])
    code, _, err = run("models", "add", str(file), "net")
    assert code == 1
    assert err.startswith(f"vpctl: {file}: net.onnx has the sha256")


def test_a_file_that_is_to_be_a_model_that_there_is_not_is_named(run, short_dir):
    file = short_dir / "mine.onnx"
    file.write_bytes(CONTENT)
    err = run("models", "add", str(file), "imaginary")[2]
    assert err.startswith(f"vpctl: {file}: no manifest has a model 'imaginary'")


def test_a_file_that_nobody_knows_is_refused(run, short_dir):
    file = short_dir / "mine.onnx"
    file.write_bytes(b"mine")
    code, _, err = run("models", "add", str(file))
    assert code == 1
    assert err.startswith(f"vpctl: {file} is no file that a manifest names; give NAME, one of ")


def test_a_broken_manifest_is_told_with_its_line(run, plugins):
    with open(f"{plugins}/models.yaml", "a") as file:
        file.write("  bad: {licence: 5}\n")
    assert f"vpctl: {plugins}/models.yaml:19: models.bad.licence: Expected `str`, got `int`\n" in run("models")[2]


# Other venvs, and extractors -------------------------------------------------------------------------


def test_manifests_of_other_venvs_are_known(run, short_dir):
    venv = short_dir / "venvs" / "far"
    site = venv / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (short_dir / "plugins").rename(site / "plugins")
    info = site / "plugins" / "xyz-0.dist-info"
    info.rename(site / "xyz-0.dist-info")
    (venv / "bin").mkdir()
    python = venv / "bin" / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{site}:{site}/plugins:$PYTHONPATH" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    assert "net" in states(run)


def test_an_extractor_without_its_model_says_what_to_run_and_ends_with_78(start_daemon, config, plugins, weights):
    daemon = start_daemon("extractor", config, "probe", PYTHONPATH=plugins)
    assert daemon.wait() == 78
    [line] = [line for line in daemon.log().splitlines() if "cannot start" in line]
    assert line.endswith(
        f"extractor 'probe' cannot start: model 'net' is not in {weights}: run `vpctl models pull net`"
    )
    assert "Traceback" not in daemon.log()


def test_an_extractor_finds_the_model_that_was_pulled(run, server, start_daemon, config, plugins, wait_for):
    server.serve("/net.onnx", CONTENT)
    run("models", "pull", "net")
    daemon = start_daemon("extractor", config, "probe", PYTHONPATH=plugins)
    assert wait_for(lambda: "ready after" in daemon.log())


def test_a_plugin_finds_its_model_without_a_daemon(run, server, environ, weights):
    server.serve("/net.onnx", CONTENT)
    run("models", "pull", "net")
    code = "from visualpath.plugin.models import model_path; print(model_path('net'))"
    env = {**environ, VARIABLE: str(weights)}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout
    assert out == f"{weights}/net/net.onnx\n"


def test_a_server_in_trouble_is_told(run, server):
    server.serve("/net.onnx", CONTENT, faults=[Status(503)])
    assert (
        f"{server.address}/net.onnx: HTTP 503 Service Unavailable; tried again in 0.5 s"
        in run("models", "pull", "net")[2]
    )

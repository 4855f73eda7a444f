"""`${NAME}` of visualpath.yaml as vpctl goes by it: from secrets.env, or not known at all."""

import json
import os
import sys
from pathlib import Path

import pytest

CONFIG = """
    state_dir: state
    ring: {dir: ring, length: 20s, size: 16MiB}
    streams:
      cam1: {source: "synthetic://?width=64&height=48&fps=10&live=1${VP_MORE}"}
    extractors: {probe: {plugin: scripted, venv: core}}
    fusion: {rules: [{label: x, when: probe.id < 0}]}
    hooks:
      told: {webhook: "${VP_ADDRESS}", on: [clip.saved]}
"""
SECRETS = "VP_MORE=&seed=1\nVP_ADDRESS=https://example.invalid/clips\n"
NEED_VALUES = (
    "up", "apply", "restart", "validate", "doctor", "process visualpath.yaml -e probe -o out", "models",
    "plugins check x", "keys list",
)  # fmt: skip
NEED_NONE = ("status", "logs", "down", "health", "clips", "top --once", "streams", "version")


@pytest.fixture
def config(write_config, monkeypatch):
    """The environment has none of the variables."""
    for name in ("VP_MORE", "VP_ADDRESS", "VP_RUN"):
        monkeypatch.delenv(name, raising=False)
    path = write_config(CONFIG)
    monkeypatch.chdir(path.parent)
    return path


@pytest.fixture
def secrets(config):
    path = config.with_name("secrets.env")
    path.write_text(SECRETS)
    return path


@pytest.fixture
def withheld(secrets, monkeypatch):
    """secrets.env may not be read; root could."""
    read_text = Path.read_text

    def refuse(path, *args, **options):
        if path.name == secrets.name:
            raise PermissionError(13, os.strerror(13), str(path))
        return read_text(path, *args, **options)

    monkeypatch.setattr(Path, "read_text", refuse)


def findings(result):
    return {each["what"] for each in json.loads(result.stdout) if each["check"] == "configuration"}


# In secrets.env ---------------------------------------------------------------------------------


def test_validate_goes_by_secrets_env(secrets, vpctl):
    assert vpctl("validate").exit_code == 0


def test_doctor_goes_by_secrets_env(secrets, config, vpctl):
    assert findings(vpctl("--json", "doctor")) == {f"{config}: valid, 1 streams, 1 extractors"}


def test_version_goes_by_secrets_env(secrets, vpctl):
    assert json.loads(vpctl("--json", "version").stdout)["venvs"] == {"core": "not built"}


def test_replay_goes_by_the_secrets_env_of_the_configuration_to_be_tried(secrets, config, vpctl):
    result = vpctl("replay", "--config", str(config))
    assert (result.exit_code, "no record there" in result.stderr) == (1, True)


def test_validate_needs_no_file_that_it_may_not_read(withheld, vpctl):
    assert vpctl("validate").exit_code == 0


def test_doctor_needs_no_file_that_it_may_not_read(withheld, config, vpctl):
    assert findings(vpctl("--json", "doctor")) == {f"{config}: valid, 1 streams, 1 extractors"}


# Nowhere ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", NEED_VALUES)
def test_what_needs_the_values_says_which_is_not_set(config, vpctl, command):
    result = vpctl(*command.split())
    assert (result.exit_code, "VP_MORE is not set" in result.output) == (78, True)


@pytest.mark.parametrize("command", NEED_NONE)
def test_the_rest_of_vpctl_needs_no_values(config, vpctl, command):
    result = vpctl(*command.split())
    assert (result.exit_code != 78, result.output != "", "is not set" in result.output) == (True, True, False)


def test_a_configuration_to_be_tried_needs_its_values(config, vpctl):
    assert vpctl("replay", "--config", str(config)).exit_code == 78


@pytest.mark.parametrize("key", ["run_dir", "state_dir"])
def test_where_the_daemons_are_must_be_known(config, vpctl, key):
    """Else vpctl would look elsewhere and say that nothing runs."""
    other = config.with_name("other.yaml")
    kept = [line for line in config.read_text().splitlines() if not line.startswith(key)]
    other.write_text("\n".join([f"{key}: ${{VP_RUN}}", *kept]))
    result = vpctl("down", path=other)
    assert (result.exit_code, f"{key}: VP_RUN is not known here" in result.stderr) == (78, True)


def test_what_was_started_with_the_values_is_stopped_without_them(
    secrets, config, vpctl, short_dir, scripted_plugins, monkeypatch
):
    config.write_text(config.read_text() + "venvs_dir: venvs\n")
    (short_dir / "venvs").mkdir()
    (short_dir / "venvs" / "core").symlink_to(Path(sys.executable).parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [scripted_plugins, os.environ.get("PYTHONPATH")])))
    try:
        assert vpctl("up").exit_code == 0
        secrets.unlink()
        assert vpctl("down").stdout == "stopped\n"
    finally:
        secrets.write_text(SECRETS)
        vpctl("down")

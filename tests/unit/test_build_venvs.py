"""`venvs/build.py` builds a venv when, and only when, what is there is not what is wanted."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "venvs" / "build.py"


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script on a tree of its own with one venv, x; building it only makes its python."""
    spec = importlib.util.spec_from_file_location("build_venvs", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "build_venvs", script)
    spec.loader.exec_module(script)
    (tmp_path / "venvs").mkdir()
    (tmp_path / ".venvs").mkdir()
    (tmp_path / "venvs" / "x.lock").write_text("a==1\n")
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "VENVS", tmp_path / ".venvs")
    monkeypatch.setattr(script, "OWN", {"x": []})

    def build(self, name, venv, log):
        (venv / "bin").mkdir(parents=True)
        (venv / "bin" / "python").touch()

    monkeypatch.setattr(script.Builder, "_build", build)
    return script


@pytest.fixture
def builder(script):
    return script.Builder(script.Interpreter("/python", (3, 11, 2)), 0)


def test_what_is_not_there_is_built(builder):
    assert builder.ensure("x").startswith("x: built")


def test_what_was_built_is_left_alone(builder):
    builder.ensure("x")
    assert builder.ensure("x") == "x: up to date"


def test_another_lock_is_reason_to_build(script, builder):
    builder.ensure("x")
    (script.ROOT / "venvs" / "x.lock").write_text("a==2\n")
    assert builder.ensure("x").startswith("x: built")


def test_another_python_is_reason_to_build(script, builder):
    builder.ensure("x")
    other = script.Builder(script.Interpreter("/python", (3, 12, 1)), 0)
    assert other.ensure("x").startswith("x: built")


def test_a_build_that_did_not_end_is_reason_to_build(script, builder):
    builder.ensure("x")
    (script.VENVS / "x" / script.MARK).unlink()
    assert builder.ensure("x").startswith("x: built")


def test_a_python_that_is_gone_is_reason_to_build(script, builder):
    builder.ensure("x")
    (script.VENVS / "x" / "bin" / "python").unlink()
    assert builder.ensure("x").startswith("x: built")

"""`venvs/build.py` builds a venv when, and only when, what is there is not what is wanted; and from where."""

import importlib.util
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

VENVS = Path(__file__).parents[2] / "venvs"


def load(name, monkeypatch):
    """A script of venvs/, as a module that others of them can import until the test ends."""
    spec = importlib.util.spec_from_file_location(name, VENVS / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, script)
    spec.loader.exec_module(script)
    return script


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script on a tree of its own with one venv, x; what it installs is written into x/installed."""
    script = load("build", monkeypatch)
    for folder in ("venvs", ".venvs", "own"):
        (tmp_path / folder).mkdir()
    (tmp_path / "venvs" / "x.lock").write_text("a==1\n")
    (tmp_path / "own" / "pyproject.toml").touch()
    monkeypatch.setattr(script, "ROOT", tmp_path)
    monkeypatch.setattr(script, "VENVS", tmp_path / ".venvs")
    monkeypatch.setattr(script, "OWN", {"x": ["own"]})
    monkeypatch.delenv("WHEELHOUSE", raising=False)

    def install(what):
        def run(self, name, venv, log):
            (venv / "bin").mkdir(parents=True, exist_ok=True)
            (venv / "bin" / "python").touch()
            with (venv / "installed").open("a") as installed:
                installed.write(what)

        return run

    monkeypatch.setattr(script.Builder, "_install_lock", install("lock "))
    monkeypatch.setattr(script.Builder, "_install_own", install("own "))
    return script


PYTHON = "/python", (3, 11, 2)


@pytest.fixture
def builder(script):
    return script.Builder(script.Interpreter(*PYTHON), 0, [])


@pytest.fixture
def state(script, builder, monkeypatch):
    """What --check says of x, for the Python that the builder has."""
    monkeypatch.setattr(script, "probe", lambda path: builder.python)
    return lambda: script.state_of("x", None)


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
    other = script.Builder(script.Interpreter("/python", (3, 12, 1)), 0, [])
    assert other.ensure("x").startswith("x: built")


def test_a_build_that_did_not_end_is_reason_to_build(script, builder):
    builder.ensure("x")
    (script.VENVS / "x" / script.MARK).unlink()
    assert builder.ensure("x").startswith("x: built")


def test_a_python_that_is_gone_is_reason_to_build(script, builder):
    builder.ensure("x")
    (script.VENVS / "x" / "bin" / "python").unlink()
    assert builder.ensure("x").startswith("x: built")


def test_another_pyproject_installs_our_own_and_leaves_what_the_lock_installed(script, builder):
    builder.ensure("x")
    (script.ROOT / "own" / "pyproject.toml").write_text("[project]")
    assert builder.ensure("x").startswith("x: built")
    assert (script.VENVS / "x" / "installed").read_text() == "lock own own "


def test_a_distribution_of_ours_that_is_wanted_no_more_is_reason_to_begin_anew(script, builder, monkeypatch):
    builder.ensure("x")
    monkeypatch.setattr(script, "OWN", {"x": []})
    builder.ensure("x")
    assert (script.VENVS / "x" / "installed").read_text() == "lock own "


def test_an_install_of_our_own_that_did_not_end_is_reason_to_begin_anew(script, builder, monkeypatch):
    builder.ensure("x")
    (script.ROOT / "own" / "pyproject.toml").write_text("[project]")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(script.Builder, "_install_own", interrupt)
        with pytest.raises(KeyboardInterrupt):
            builder.ensure("x")
    builder.ensure("x")
    assert (script.VENVS / "x" / "installed").read_text() == "lock own "


def test_the_build_time_that_is_kept_is_that_of_the_whole_build(script, builder):
    builder.ensure("x")
    before = script.recorded("x")["seconds"]
    (script.ROOT / "own" / "pyproject.toml").write_text("[project]")
    builder.ensure("x")
    assert script.recorded("x")["seconds"] == before


def test_a_venv_that_is_not_there_is_not_built(state):
    assert state() == "not built"


def test_a_venv_that_was_never_finished_is_an_unfinished_build(script, state):
    (script.VENVS / "x").mkdir()
    assert state() == "an unfinished build"


def test_a_mark_that_cannot_be_read_is_that_of_an_unfinished_build(script, builder, state):
    builder.ensure("x")
    (script.VENVS / "x" / script.MARK).write_text("c0894592")
    assert state() == "an unfinished build"


def test_a_finished_venv_is_up_to_date(builder, state):
    builder.ensure("x")
    assert state() == "up to date"


def test_a_stale_venv_is_told_with_the_inputs_that_changed(script, builder, state):
    builder.ensure("x")
    (script.ROOT / "venvs" / "x.lock").write_text("a==2\n")
    (script.ROOT / "own" / "pyproject.toml").write_text("[project]")
    assert state() == "stale: own/pyproject.toml, venvs/x.lock changed"


def test_a_venv_that_was_moved_is_told_so(script, builder, state, monkeypatch, tmp_path):
    builder.ensure("x")
    script.VENVS.rename(tmp_path / "elsewhere")
    monkeypatch.setattr(script, "VENVS", tmp_path / "elsewhere")
    assert state() == "stale: its path changed"


def test_report_has_the_packages_of_a_venv(script, builder, state, capsys):
    builder.ensure("x")
    (script.VENVS / "x/lib/python3.11/site-packages/a-1.dist-info").mkdir(parents=True)
    capsys.readouterr()
    script.report(["x"], None)
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["x", "1", "0"]


def test_without_a_wheelhouse_packages_come_from_the_index(script):
    assert script.pip_sources(offline=False) == []


def test_a_wheelhouse_spares_downloads(script):
    (script.ROOT / "wheelhouse").mkdir()
    assert script.pip_sources(offline=False) == ["--find-links", str(script.ROOT / "wheelhouse")]


def test_offline_asks_no_index(script):
    (script.ROOT / "wheelhouse").mkdir()
    assert script.pip_sources(offline=True)[0] == "--no-index"


def test_a_wheelhouse_that_is_named_stands_for_offline(script, monkeypatch, tmp_path):
    monkeypatch.setenv("WHEELHOUSE", str(tmp_path))
    assert script.pip_sources(offline=False) == ["--no-index", "--find-links", str(tmp_path)]


def test_offline_without_a_wheelhouse_is_refused_with_what_makes_it(script):
    with pytest.raises(script.BuildError, match="make wheelhouse"):
        script.pip_sources(offline=True)


def test_a_requirement_is_downloaded_with_its_marker_and_its_hashes(script, monkeypatch):
    lock = "a==1 ; python_version < '3.11' \\\n    --hash=sha256:12 \\\n    --hash=sha256:34\n    # via b\nb==2 \\\n"
    lock += "    --hash=sha256:56\n"
    assert load("wheelhouse", monkeypatch).requirements(lock) == [
        "a==1 ; python_version < '3.11' --hash=sha256:12 --hash=sha256:34",
        "b==2 --hash=sha256:56",
    ]


def test_what_is_under_the_agpl_is_not_downloaded_unasked(monkeypatch):
    own = load("build", monkeypatch).OWN
    asked = []
    downloader = SimpleNamespace(has_all=lambda name: asked.append(name) or True)
    with ThreadPoolExecutor(1) as pool:
        assert load("wheelhouse", monkeypatch).fill(downloader, pool)
    assert set(own) - set(asked) == {"ultra"}


def test_what_is_under_the_agpl_is_built_by_no_make_target():
    makefile = (VENVS.parent / "Makefile").read_text()
    assert "venvs/build.py" in makefile
    assert "ultra" not in makefile.split()


@pytest.mark.parametrize("lock", sorted(VENVS.glob("*.lock")), ids=lambda path: path.stem)
def test_no_venv_has_onnxruntime_for_the_cpu_and_for_the_gpu(lock):
    lines = lock.read_text().splitlines()
    assert not all(any(line.startswith(f"{wheel}==") for line in lines) for wheel in ("onnxruntime", "onnxruntime-gpu"))


@pytest.mark.parametrize("lock", sorted(VENVS.glob("*.lock")), ids=lambda path: path.stem)
def test_a_lock_names_no_host_and_every_package_has_a_hash(lock, monkeypatch, script):
    text = lock.read_text()
    assert "://" not in text
    assert all("--hash=sha256:" in line for line in load("wheelhouse", monkeypatch).requirements(text))

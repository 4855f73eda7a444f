"""`vpctl plugins`: what each venv has, a project to begin with, and the verdict of the conformance kit."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from click.testing import CliRunner

from visualpath.ctl.main import main
from visualpath.ctl.plugin_venvs import listed

GOOD = """
    from visualpath.core import BaseExtractor, Observation


    class Light(BaseExtractor):
        name = "light-level"
        version = "2.1"
        input_width = 64
        depends = ()

        def __init__(self, config=None):
            super().__init__(config)
            if self.config.keys() - {"gain"}:
                raise ValueError("unknown key")
            self.gain = self.config.get("gain", 1)

        def extract(self, frame):
            return Observation(signals={"level": self.gain / frame.data.shape[0]})


    class Dark(Light):
        name = "dark"
        gain = 1

        def extract(self, frame):
            raise RuntimeError("too dark")
"""
EXTRACTORS = "[visualpath.extractors]\n"


@pytest.fixture
def make_venv(short_dir):
    """A folder that looks like a venv; its Python is this one, with modules and entry points of its own."""

    def make(name, entry_points, source=None, **modules):
        venv = short_dir / ".venvs" / name
        packages = venv / "lib" / f"python3.{sys.version_info.minor}" / "site-packages"
        info = packages / "some_plugins-3.2.dist-info"
        info.mkdir(parents=True)
        for module, text in modules.items():
            (packages / f"{module}.py").write_text(textwrap.dedent(text))
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-plugins\nVersion: 3.2\n")
        (info / "entry_points.txt").write_text(entry_points)
        (info / "direct_url.json").write_text(json.dumps({"url": f"file://{source}", "dir_info": {}}))
        python = venv / "bin" / "python"
        python.parent.mkdir()
        path = os.pathsep.join(filter(None, [str(packages), os.environ.get("PYTHONPATH")]))
        python.write_text(f'#!/bin/sh\nPYTHONPATH={path} exec {sys.executable} "$@"\n')
        python.chmod(0o755)
        return venv

    return make


@pytest.fixture
def vpctl(write_config):
    """Run vpctl with a visualpath.yaml that has these extractors."""

    def run(*args, extractors="{}"):
        text = f"streams: {{cam1: {{source: cam1.mp4}}}}\nextractors: {extractors}\n"
        result = CliRunner().invoke(main, ["--config", str(write_config(text)), *args])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


def by_name(result):
    """Of the plug-ins of the test's own distribution."""
    return {each["name"]: each for each in json.loads(result.stdout) if each.get("distribution") == "some-plugins"}


# list -------------------------------------------------------------------------------------------------


def test_a_plug_in_is_listed_with_all_that_its_class_and_its_distribution_say(make_venv, vpctl):
    make_venv("lamp", EXTRACTORS + "light-level = lamp:Light\n", lamp=GOOD)
    assert by_name(vpctl("--json", "plugins", "list"))["light-level"] == {
        "venv": "lamp", "kind": "extractor", "name": "light-level", "value": "lamp:Light",
        "group": "visualpath.extractors", "distribution": "some-plugins", "distribution_version": "3.2",
        "version": "2.1", "depends": [], "input_width": 64, "pixel_format": "bgr",
    }  # fmt: skip


def test_one_that_cannot_be_imported_is_listed_with_its_reason_beside_the_others(make_venv, vpctl):
    make_venv("lamp", EXTRACTORS + "bad = gone:Bad\nlight-level = lamp:Light\n", lamp=GOOD)
    found = by_name(vpctl("--json", "plugins", "list"))
    assert "ModuleNotFoundError: No module named 'gone'" in found["bad"]["error"]
    assert found["light-level"]["version"] == "2.1"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("while True:\n    pass\n", "its import did not end within 10 s"),
        ("import os\nos.abort()\n", "its import ended the process: SIGABRT"),
        ("import os\nos._exit(3)\n", "its import ended the process: exit status 3"),
    ],
    ids=["hangs", "crashes", "exits"],
)
def test_an_import_that_never_returns_costs_that_plug_in_alone(make_venv, module, reason):
    points = EXTRACTORS + "a = lamp:Light\nb = bad:Bad\nc = lamp:Light\n"
    found = {each["name"]: each for each in listed(make_venv("lamp", points, lamp=GOOD, bad=module), 10.0)}
    assert found["b"]["error"] == reason
    assert {found["a"]["version"], found["c"]["version"]} == {"2.1"}


def test_a_venv_whose_python_does_not_run_is_listed_with_that(make_venv, vpctl):
    (make_venv("lamp", "") / "bin" / "python").write_text("#!/nowhere/python\n")
    assert "No such file" in vpctl("--json", "plugins", "list").stdout


def test_a_venv_whose_python_is_gone_from_the_machine_is_listed_with_that(make_venv, vpctl):
    python = make_venv("lamp", "") / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python3.9")
    errors = [each["error"] for each in json.loads(vpctl("--json", "plugins", "list").stdout) if each["venv"] == "lamp"]
    assert errors == [f"{python}: No such file or directory"]


def test_a_venv_without_visualpath_is_listed_with_what_its_python_says(make_venv, vpctl):
    (make_venv("lamp", "") / "bin" / "python").write_text("#!/bin/sh\necho No module named visualpath >&2; exit 1\n")
    assert "ended: exit status 1; it said last: No module named visualpath" in vpctl("--json", "plugins", "list").stdout


def test_one_under_an_old_name_of_the_group_is_listed_and_told_so(make_venv, vpctl):
    make_venv("lamp", "[analysiscore.extractors]\nlight-level = lamp:Light\n", lamp=GOOD)
    assert "registered under an old name, analysiscore.extractors" in vpctl("plugins", "list").stdout


def test_what_several_venvs_have_alike_is_one_line(make_venv, vpctl):
    for name in ("one", "two"):
        make_venv(name, EXTRACTORS + "light-level = lamp:Light\n", lamp=GOOD)
    lines = [line for line in vpctl("plugins", "list").stdout.splitlines() if line.startswith("light-level")]
    assert len(lines) == 1
    assert "one, two" in lines[0]


def test_a_venv_that_only_visualpath_yaml_names_is_asked_too(make_venv, vpctl, short_dir):
    venv = make_venv("lamp", EXTRACTORS + "light-level = lamp:Light\n", lamp=GOOD).rename(short_dir / "elsewhere")
    python = venv / "bin" / "python"
    python.write_text(python.read_text().replace(".venvs/lamp", "elsewhere"))
    found = by_name(vpctl("--json", "plugins", "list", extractors=f"{{light-level: {{venv: {venv}}}}}"))
    assert found["light-level"]["venv"] == str(venv)


# new --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["extractor", "dependent", "fusion"])
def project(request, tmp_path_factory):
    """A project as it is written, installed by pip into a folder of its own: project, that folder, kind."""
    base = tmp_path_factory.mktemp("author")
    folder, target = base / "visualpath-some-thing", base / "installed"
    flags = {"extractor": [], "dependent": ["--depends", "face"], "fusion": ["--fusion"]}[request.param]
    result = CliRunner().invoke(
        main, ["--config", str(base / "no.yaml"), "plugins", "new", "some-thing", str(folder), *flags]
    )
    assert result.exit_code == 0, result.output
    pip = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "--target", str(target), str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder, target, request.param


def test_the_tests_of_a_fresh_project_pass(project):
    folder, target, _ = project
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(target), os.environ.get("PYTHONPATH")]))}
    pytest_command = [str(Path(sys.executable).with_name("pytest")), "-q", "-p", "no:cacheprovider", str(folder)]
    done = subprocess.run(pytest_command, env=env, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stdout
    assert " passed" in done.stdout


def test_a_fresh_project_is_in_our_style(project):
    ruff = str(Path(sys.executable).with_name("ruff"))
    for command in (["check", "--select", "B,E,F,I,SIM,UP"], ["format", "--check"]):
        options = ["--isolated", "--config", "line-length = 120", "--no-cache", "some_thing.py", "tests"]
        done = subprocess.run([ruff, *command, *options], cwd=project[0], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_nothing_is_left_unfilled_in_a_fresh_project(project):
    texts = [path.read_text() for path in project[0].rglob("*") if path.suffix in (".py", ".md", ".toml")]
    assert len(texts) >= 4
    assert not any(
        mark in text for text in texts for mark in ("<NAME>", "<MODULE>", "<CLASS>", "<KIND>", "<VENV>", "<DEPENDS>")
    )


def test_what_to_do_next_is_told(vpctl, tmp_path):
    told = vpctl("--json", "plugins", "new", "lamp", str(tmp_path / "lamp")).stdout
    steps = json.loads(told)["next"]
    assert steps[0] == f"cd {tmp_path / 'lamp'}"
    assert steps[1].endswith("python3 -m venv .venv")
    assert steps[2].startswith(".venv/bin/pip install -e ")
    assert steps[2].endswith("/daemons -e . pytest")
    assert steps[3:] == [".venv/bin/pytest .", "vpctl plugins check ."]


@pytest.mark.parametrize("flags", [["--fusion"], ["--depends", "face"]])
def test_one_that_wants_a_tape_is_to_be_checked_with_it(vpctl, tmp_path, flags):
    told = vpctl("--json", "plugins", "new", "lamp", str(tmp_path / "lamp"), *flags).stdout
    assert json.loads(told)["next"][-1] == "vpctl plugins check . --tape tests/tape.py"


def test_a_fusion_takes_no_depends(vpctl, tmp_path):
    assert vpctl("plugins", "new", "lamp", str(tmp_path / "lamp"), "--fusion", "--depends", "face").exit_code == 2


@pytest.mark.parametrize(
    ("depends", "reason"), [("lamp", "lamp cannot depend on itself"), ("Face", "is no valid name")]
)
def test_what_nobody_can_depend_on_is_refused(vpctl, tmp_path, depends, reason):
    result = vpctl("plugins", "new", "lamp", str(tmp_path / "lamp"), "--depends", depends)
    assert (result.exit_code, reason in result.output) == (1, True)


@pytest.mark.parametrize(("flags", "what"), [([], "An extractor"), (["--fusion"], "A fusion")])
def test_a_project_says_what_it_is(vpctl, tmp_path, flags, what):
    vpctl("plugins", "new", "lamp", str(tmp_path / "lamp"), *flags)
    assert f'description = "{what} for visualpath"' in (tmp_path / "lamp" / "pyproject.toml").read_text()


def test_a_folder_that_is_there_is_refused(vpctl, tmp_path):
    result = vpctl("plugins", "new", "lamp", str(tmp_path))
    assert (result.exit_code, "is there already" in result.output) == (1, True)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Lamp", "is no valid name"),
        ("../lamp", "is no valid name"),
        ("3d", "begin with a letter"),
        ("class", "no Python module can be called 'class'"),
        ("json", "a Python module 'json' already"),
        ("numpy", "a Python module 'numpy' already"),
        ("quality", "a plug-in 'quality' already"),
    ],
)
def test_a_name_that_would_not_work_is_refused_and_nothing_is_written(vpctl, tmp_path, name, reason):
    result = vpctl("plugins", "new", name, str(tmp_path / "folder"))
    assert (result.exit_code, list(tmp_path.iterdir())) == (1, [])
    assert reason in result.output


# check ------------------------------------------------------------------------------------------------


@pytest.fixture
def lamp(make_venv, tmp_path):
    """A venv with one extractor that conforms and one that does not, installed from `tmp_path`."""
    (tmp_path / "pyproject.toml").touch()
    points = EXTRACTORS + "light-level = lamp:Light\ndark = lamp:Dark\n"
    return make_venv("lamp", points, source=tmp_path, lamp=GOOD)


def test_one_that_conforms_is_told_so(lamp, vpctl):
    result = vpctl("plugins", "check", "light-level", "--frames", "60")
    assert (result.exit_code, result.stdout.splitlines()[-1]) == (0, "light-level: conforms")


def test_one_that_does_not_is_refused_with_the_line(lamp, vpctl):
    result = vpctl("plugins", "check", "dark", "--frames", "60")
    assert result.exit_code == 1
    assert "FAILED   start         extract() failed on frame 0 of the tape: RuntimeError: too dark" in result.output
    number = 1 + textwrap.dedent(GOOD).splitlines().index('        raise RuntimeError("too dark")')
    assert f"lamp.py:{number}\n" in result.output
    assert result.output.endswith("vpctl: refused: dark\n")


def test_a_folder_stands_for_all_that_was_installed_from_it(lamp, vpctl, tmp_path):
    result = vpctl("--json", "plugins", "check", str(tmp_path), "--frames", "60")
    assert {each["name"] for each in json.loads(result.stdout)} == {"light-level", "dark"}


def test_one_that_visualpath_yaml_names_is_tried_as_it_is_configured_there(lamp, vpctl):
    extractors = "{hall: {plugin: light-level, venv: lamp, config: {gain: much}}}"
    result = vpctl("plugins", "check", "hall", "--frames", "60", extractors=extractors)
    assert "unsupported operand type(s) for /: 'str' and 'int'" in result.output


def test_a_configuration_of_the_callers_takes_its_place(lamp, vpctl):
    extractors = "{light-level: {venv: lamp, config: {gain: much}}}"
    options = ["--plugin-config", '{"gain": 2}', "--frames", "60"]
    assert vpctl("plugins", "check", "light-level", *options, extractors=extractors).exit_code == 0


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        (["nobody"], "no plug-in 'nobody' in any venv"),
        (["/"], "/ is no project"),
        (["light-level", "--venv", "gone"], "no venv 'gone'; there are core, lamp"),
    ],
)
def test_what_is_not_there_is_told(lamp, vpctl, target, reason):
    result = vpctl("plugins", "check", *target)
    assert (result.exit_code, reason in result.output) == (1, True)


def test_of_several_venvs_that_have_it_one_must_be_named(lamp, make_venv, vpctl):
    make_venv("other", EXTRACTORS + "light-level = lamp:Light\n", lamp=GOOD)
    refused = vpctl("plugins", "check", "light-level")
    assert (refused.exit_code, "is in lamp, other: say which with --venv" in refused.output) == (1, True)
    assert vpctl("plugins", "check", "light-level", "--venv", "other", "--frames", "60").exit_code == 0


def test_of_several_venvs_that_have_it_that_of_its_name_is_taken(lamp, make_venv, vpctl):
    venv = make_venv("light-level", EXTRACTORS + "light-level = lamp:Light\n", lamp=GOOD)
    assert f"extractor light-level in {venv}\n" in vpctl("plugins", "check", "light-level", "--frames", "60").output


def test_a_project_that_is_installed_nowhere_gets_the_commands_that_install_it(lamp, vpctl, tmp_path):
    project = tmp_path / "other"
    project.mkdir()
    (project / "pyproject.toml").touch()
    result = vpctl("plugins", "check", str(project))
    assert result.exit_code == 1
    assert f"/usr/bin/python3 -m venv {project}/.venv && {project}/.venv/bin/pip install -e " in result.output


def test_a_plug_in_configuration_that_is_no_json_is_wrong_usage(lamp, vpctl):
    assert vpctl("plugins", "check", "dark", "--plugin-config", "{").exit_code == 2

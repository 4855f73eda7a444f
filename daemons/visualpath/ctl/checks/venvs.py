"""Whether the venvs are built, current and whole, and the plug-ins in them can be used."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from visualpath.core.errors import VisualpathError
from visualpath.ctl.checks.finding import Examined, Finding, Findings, ok, problem, warning
from visualpath.plugin.models import use_models_dir
from visualpath.runtime.config import Config
from visualpath.runtime.roles import CORE_VENV, roles
from visualpath_protocol.endpoints import extractor_daemon

PROBE_TIMEOUT_S = 60.0
AT_ONCE = 2
"""Venvs asked at a time: plug-ins may load models."""

OLDEST_PYTHON = (3, 10)
UNKNOWN_VENV = 2
"""Exit status of venvs/build.py for a venv that it does not build."""


class VenvBroken(VisualpathError):
    """A venv's Python gives no answer; the message is its own last line."""


def check_venvs(examined: Examined) -> Findings:
    """Each venv that a daemon needs: built, whole, of the same version as vpctl, and not stale."""
    names = dict.fromkeys(role.venv for role in roles(examined.config))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for findings in pool.map(lambda name: list(_check_venv(examined.config, name)), names):
            yield from findings


def _check_venv(config: Config, name: str) -> Findings:
    folder = config.venvs_dir / name
    users = _users(config, name)
    if not folder.is_dir():
        yield problem(f"venv {name!r} is not built {users}", _build_command(config, name))
        return
    try:
        facts = ask_venv(config, name)
    except VenvBroken as error:
        yield problem(f"venv {name!r} is broken {users}: {error}", f"rm -r {folder} && {_build_command(config, name)}")
        return
    yield from _check_facts(name, facts)
    yield from _check_fingerprint(config, name)


def _check_facts(name: str, facts: dict[str, Any]) -> Findings:
    version = ".".join(map(str, sys.version_info[:2]))
    if tuple(int(part) for part in facts["python"].split(".")[:2]) < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        yield problem(f"venv {name!r} has Python {facts['python']}", f"build it with Python {oldest} or later")
        return
    onnx = "" if facts["onnx"] is None else f", onnxruntime with {', '.join(facts['onnx'])}"
    yield ok(f"venv {name!r}: Python {facts['python']}, visualpath {facts['visualpath'] or 'of unknown version'}{onnx}")
    if facts["onnx"] == ["CPUExecutionProvider"] and Path("/dev/nvidia0").exists():
        yield warning(
            f"venv {name!r}: there is a GPU, but its onnxruntime knows only the CPU",
            f"put onnxruntime-gpu in place of onnxruntime into venvs/{name}.in, then venvs/compile {name}",
        )
    if not facts["python"].startswith(f"{version}."):
        yield ok(f"venv {name!r} has another Python than vpctl ({version}), which is fine")


def _check_fingerprint(config: Config, name: str) -> Findings:
    script = _build_script(config)
    if not script.is_file():
        yield ok(f"venv {name!r}: whether it is stale is not known, for lack of a checkout beside {config.venvs_dir}")
        return
    answer = subprocess.run([sys.executable, str(script), "--check", name], capture_output=True, text=True, check=False)
    if answer.returncode == UNKNOWN_VENV:
        yield ok(f"venv {name!r}: not one of those that venvs/build.py builds")
    elif answer.returncode:
        state = (answer.stdout or answer.stderr).strip().removeprefix(f"{name}: ")
        yield problem(f"venv {name!r} is {state} {_users(config, name)}", _build_command(config, name))


def _users(config: Config, name: str) -> str:
    """The daemons that run in a venv, in brackets."""
    return f"({', '.join(role.daemon for role in roles(config) if role.venv == name)})"


def check_plugins(examined: Examined) -> Findings:
    """Each extractor and the fusion: found, importable and content with its configuration, in its own venv."""
    config = examined.config
    use_models_dir(config.models_dir)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield from pool.map(lambda name: _check_extractor(examined, name), config.extractors)
    if not _has_python(config, CORE_VENV):
        return
    try:
        answer = ask_venv(config, CORE_VENV, "--fusion", config.fusion.plugin)
    except VenvBroken as error:
        answer = {"error": str(error)}
    if "error" in answer:
        yield problem(f"fusion {config.fusion.plugin!r}: {answer['error']}", _plugin_mend(config, CORE_VENV))
    else:
        yield ok(f"fusion {config.fusion.plugin!r} can be imported")


def _check_extractor(examined: Examined, name: str) -> Finding:
    """Models are loaded only where no daemon has proved already that they can be: they may be large."""
    config, extractor = examined.config, examined.config.extractors[name]
    plugin = extractor.plugin
    status = examined.statuses.get(extractor_daemon(name))
    serves = status is not None and status["extractor"]["state"] != "starting"
    if not _has_python(config, extractor.venv):
        return warning(f"extractor {name!r}: not tried, for lack of the venv {extractor.venv!r}")
    options = ["--extractor", plugin, "--config", json.dumps(extractor.config, default=str)]
    options += ["--depends", *extractor.depends]
    try:
        answer = ask_venv(config, extractor.venv, *options, *([] if serves else ["--models"]))
    except VenvBroken as error:
        answer = {"error": str(error)}
    if "error" not in answer:
        works = f"extractor {name!r}: plug-in {plugin!r} {answer['version']} works in the venv {extractor.venv!r}"
        if "unusable" in answer:
            return warning(f"{works}, but not all its backends: {answer['unusable']}", "mend what is named")
        return ok(works)
    mend = _plugin_mend(config, extractor.venv)
    if answer["error"].startswith("cannot start"):
        mend = f"mend extractors.{extractor.group}.config in {config.path}, or what the message names"
    return problem(f"extractor {name!r} in the venv {extractor.venv!r}: {answer['error']}", mend)


def _plugin_mend(config: Config, venv: str) -> str:
    return f"name a plug-in and venv that go together in {config.path}, or install it: {_build_command(config, venv)}"


def ask_venv(config: Config, name: str, *options: str) -> dict[str, Any]:
    """What `visualpath.plugin.probe` says in a venv.

    Raises:
        VenvBroken: there is no answer.
    """
    python = config.venvs_dir / name / "bin" / "python"
    command = [str(python), "-m", "visualpath.plugin.probe", *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PROBE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise VenvBroken(f"{python} did not answer in {PROBE_TIMEOUT_S:.0f} s") from None
    except FileNotFoundError:
        gone = f"a link to {python.readlink()}, which is gone" if python.is_symlink() else "missing"
        raise VenvBroken(f"{python} is {gone}") from None
    except OSError as error:
        raise VenvBroken(f"{python}: {error.strerror}") from error
    if done.returncode:
        raise VenvBroken(_last_line(done.stderr.splitlines()) or f"{python} ended with status {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _last_line(lines: Iterable[str]) -> str:
    return next((line.strip() for line in reversed(list(lines)) if line.strip()), "")


def _has_python(config: Config, name: str) -> bool:
    return (config.venvs_dir / name / "bin" / "python").exists()


def _build_script(config: Config) -> Path:
    return config.venvs_dir.parent / "venvs" / "build.py"


def _build_command(config: Config, name: str) -> str:
    script = _build_script(config)
    if script.is_file() and not (script.parent / f"{name}.lock").is_file():
        return f"make {config.venvs_dir / name} yourself, as docs/plugins.md says"
    return f"{script} {name}" if script.is_file() else f"venvs/build.py {name}, in the checkout of visualpath"

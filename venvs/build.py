#!/usr/bin/env python3
"""Build virtual environments from hashed locks: `venvs/build.py NAME...` makes `.venvs/NAME`.

`--check` builds nothing: it says of each whether it is up to date. `--report` says what each takes.

Standard library only, since it runs before anything is installed. A venv is the packages of
`venvs/NAME.lock`, checked by hash, and our own distributions, editable. It is built again only when one
of its inputs changed: their fingerprints are written into the venv as the last step, so that an interrupted
build is never taken for a finished one. What a venv's lock installed stays when only a pyproject.toml changed.

What lies in the wheelhouse (`venvs/wheelhouse.py`; the folder $WHEELHOUSE, else `wheelhouse/`) is not downloaded;
with $WHEELHOUSE, or `--offline`, nothing is.

Exit status: 0: all are ready; 1: one could not be built, or is not up to date; 2: wrong usage.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / ".venvs"

PROTOCOL, PLATFORM, FACEMOMENT = "protocol", "daemons", "daemons/plugins/facemoment"
OCR, SCENE = "daemons/plugins/ocr", "daemons/plugins/scene"
CONFLICTS = "tests/conflicts/plugin"
OWN = {  # venv: our distributions in it, in order of dependency
    "core": [PROTOCOL, PLATFORM, FACEMOMENT],
    "light": [PROTOCOL, PLATFORM, FACEMOMENT],
    "face": [PROTOCOL, PLATFORM, FACEMOMENT],
    "insight": [PROTOCOL, PLATFORM, FACEMOMENT],
    "insight-gpu": [PROTOCOL, PLATFORM, FACEMOMENT],
    "onnx": [PROTOCOL, PLATFORM, FACEMOMENT],
    "onnx-gpu": [PROTOCOL, PLATFORM, FACEMOMENT],
    "people": [PROTOCOL, PLATFORM, FACEMOMENT],
    "ultra": [PROTOCOL, PLATFORM, FACEMOMENT],
    "dev": [PROTOCOL, PLATFORM, FACEMOMENT, OCR, SCENE],
    "ocr": [PROTOCOL, PLATFORM, OCR],
    "scene": [PROTOCOL, PLATFORM, SCENE],
    "sample": [],
    "conflict-onnx": [PROTOCOL, PLATFORM, CONFLICTS],
    "conflict-opencv": [PROTOCOL, PLATFORM, CONFLICTS],
}

OLDEST, NEWEST = (3, 10), (3, 12)  # MediaPipe 0.10.21 has no wheels past 3.12
PREFERRED = "/usr/bin/python3"  # stays where it is on a deployed machine, unlike a developer's own
PROBE = """
import ensurepip, json, os, sys, venv
print(json.dumps([os.path.realpath(sys._base_executable), sys.version_info[:3]]))
"""

MARK = "fingerprint"
UP_TO_DATE = "up to date"
AT_ONCE = 2
SHOWN_LINES = 10  # of each end of what pip says about a failure


class BuildError(Exception):
    """A venv cannot be built; the message says why and what to do."""


@dataclass(frozen=True)
class Interpreter:
    """A real Python, never a venv's own or a version manager's shim."""

    path: str
    version: tuple[int, ...]


def probe(python: str) -> Interpreter:
    """Ask a Python what it is.

    Raises:
        BuildError: it does not run, cannot make venvs, or is of a version that the locks do not hold for.
    """
    try:
        answer = subprocess.run([python, "-c", PROBE], env=clean_environ(), capture_output=True, text=True)
    except OSError as err:
        raise BuildError(f"{python}: {err.strerror}; give another with --python") from err
    if answer.returncode != 0:
        reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise BuildError(f"{python} cannot make venvs ({reason}); on Debian: apt install python3-venv")
    path, version = json.loads(answer.stdout)
    if not OLDEST <= tuple(version[:2]) <= NEWEST:
        wanted = " to ".join(".".join(map(str, v)) for v in (OLDEST, NEWEST))
        raise BuildError(
            f"{python} is Python {'.'.join(map(str, version))}; the locks hold for {wanted}: give one with --python"
        )
    return Interpreter(path, tuple(version))


def choose_interpreter(asked: str | None) -> Interpreter:
    """Return the Python asked for, else the system's, else the one that runs this script (and say so)."""
    if asked:
        return probe(shutil.which(asked) or asked)
    try:
        return probe(PREFERRED)
    except BuildError as err:
        chosen = probe(sys.executable)
        print(f"using {chosen.path}: {err}")
        return chosen


def clean_environ() -> dict[str, str]:
    """Return the environment for pip: nothing of a caller's own Python may count as installed."""
    dropped = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__")
    environ = {key: value for key, value in os.environ.items() if key not in dropped}
    pip = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PIP_ROOT_USER_ACTION": "ignore"}
    return {**environ, **pip}


def wheelhouse() -> Path:
    """Return the folder of downloaded wheels, which need not be there."""
    return Path(os.environ.get("WHEELHOUSE") or ROOT / "wheelhouse").resolve()


def pip_sources(offline: bool) -> list[str]:
    """Return the arguments that say where pip finds packages; without a wheelhouse none: the index.

    Raises:
        BuildError: there is no wheelhouse, and no index may be asked.
    """
    folder, offline = wheelhouse(), offline or bool(os.environ.get("WHEELHOUSE"))
    if not folder.is_dir():
        if offline:
            raise BuildError(f"no wheelhouse {folder}: `make wheelhouse` where there is a network, and bring it here")
        return []
    return [*(["--no-index"] if offline else []), "--find-links", str(folder)]


def own_files(name: str) -> list[str]:
    """Return what decides how our own distributions are installed."""
    return [f"{own}/pyproject.toml" for own in OWN[name]]


def fingerprints(name: str, python: Interpreter) -> dict[str, str]:
    """Return all that a venv is made from, each input by its name, and where it lies (venvs do not move)."""
    return {
        "its path": str(VENVS / name),
        "its Python": f"{python.path} {'.'.join(map(str, python.version))}",
        **{
            file: hashlib.sha256((ROOT / file).read_bytes()).hexdigest()
            for file in (f"venvs/{name}.lock", *own_files(name))
        },
    }


def recorded(name: str) -> dict[str, Any]:
    """Return what a venv was built from (`inputs`) and in how many `seconds`; {} if it was never finished."""
    try:
        record = json.loads((VENVS / name / MARK).read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def changed(name: str, python: Interpreter) -> list[str]:
    """Return the names of the inputs that are not what a finished venv was built from."""
    built, current = recorded(name)["inputs"], fingerprints(name, python)
    return sorted(key for key in built.keys() | current.keys() if built.get(key) != current.get(key))


def state_of(name: str, python: str | None) -> str:
    """Return whether a venv is up to date for the Python asked for, else for its own; if not, why."""
    try:
        if not recorded(name):
            return "an unfinished build" if (VENVS / name).is_dir() else "not built"
        stale = changed(name, probe(python or str(VENVS / name / "bin" / "python")))
    except BuildError as err:
        return f"broken: {err}"
    return f"stale: {', '.join(stale)} changed" if stale else UP_TO_DATE


def check(names: list[str], python: str | None) -> bool:
    """Print the state of each venv; return whether all are up to date."""
    states = {name: state_of(name, python) for name in names}
    for name, state in states.items():
        print(f"{name}: {state}")
    return set(states.values()) == {UP_TO_DATE}


def report(names: list[str], python: str | None) -> None:
    """Print a table of what each venv holds, how large it is on disk and how long its build took."""
    print(f"{'venv':<16} {'packages':>8} {'MB':>5} {'built in (s)':>12}  state")
    for name in names:
        files = [path.lstat() for path in (VENVS / name).rglob("*")]
        packages = len(list((VENVS / name).glob("lib/python*/site-packages/*.dist-info")))
        size, seconds = sum(file.st_blocks * 512 for file in files), recorded(name).get("seconds", 0)
        print(f"{name:<16} {packages:>8} {size / 1e6:>5.0f} {seconds:>12.1f}  {state_of(name, python)}")


class Builder:
    """Builds venvs for one interpreter.

    Args:
        python: what the venvs are made with.
        lock_fd: the lock file; pip inherits it, so that an orphaned pip still keeps others out.
        sources: pip's arguments that say where it finds packages.
    """

    def __init__(self, python: Interpreter, lock_fd: int, sources: list[str]) -> None:
        self.python = python
        self.lock_fd = lock_fd
        self.sources = sources
        self.own_lock = threading.Lock()  # editable builds write into our source folders

    def ensure(self, name: str) -> str:
        """Build one venv unless it is up to date.

        Returns:
            The line to print.

        Raises:
            BuildError: it could not be built.
        """
        venv = VENVS / name
        record = recorded(name) if (venv / "bin" / "python").exists() else {}  # it may be a link to one that is gone
        stale = changed(name, self.python) if record else []
        if record and not stale:
            return f"{name}: {UP_TO_DATE}"
        print(f"{name}: building", flush=True)
        started, inputs = time.monotonic(), fingerprints(name, self.python)
        with (VENVS / f"{name}.log").open("w") as log:
            if record and set(stale) <= set(own_files(name)):
                (venv / MARK).unlink()
            else:
                record = {}
                shutil.rmtree(venv, ignore_errors=True)
                self._install_lock(name, venv, log)
            self._install_own(name, venv, log)
        seconds = time.monotonic() - started
        (venv / MARK).write_text(json.dumps({"seconds": seconds, **record, "inputs": inputs}, indent=1))
        return f"{name}: built in {seconds:.0f} s"

    def _install_lock(self, name: str, venv: Path, log: IO[str]) -> None:
        lock = str(ROOT / "venvs" / f"{name}.lock")
        self._run([self.python.path, "-m", "venv", str(venv)], log)
        self._run([*pip_install(venv), *self.sources, "--require-hashes", "-r", lock], log)

    def _install_own(self, name: str, venv: Path, log: IO[str]) -> None:
        if own := [arg for path in OWN[name] for arg in ("-e", str(ROOT / path))]:
            with self.own_lock:
                self._run([*pip_install(venv), *self.sources, "--no-build-isolation", *own], log)

    def _run(self, command: list[str], log: IO[str]) -> None:
        print("+", *command, file=log, flush=True)
        done = subprocess.run(command, stdout=log, stderr=log, env=clean_environ(), cwd=ROOT, pass_fds=[self.lock_fd])
        if done.returncode == 0:
            return
        raise BuildError(
            f"exit status {done.returncode}; from {log.name}:\n"
            + "\n".join(f"    {line}" for line in excerpt(Path(log.name).read_text(errors="replace")))
            + "\n  Run it again if the package index was out of reach; after a change of a .in file,"
            "\n  write its lock anew (venvs/compile); for another Python, give --python. Without a network"
            "\n  the wheelhouse must hold it for this Python and machine: `make wheelhouse` on one like it."
        )


def pip_install(venv: Path) -> list[str]:
    """Return the command that installs into a venv what it is told, and nothing that this depends on."""
    return [str(venv / "bin" / "python"), "-m", "pip", "install", "--no-deps"]


def excerpt(log: str) -> list[str]:
    """Return what matters of a failed build's log: from pip's first error on, without the middle."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    first = next((i for i, line in enumerate(lines) if line.startswith("ERROR")), max(0, len(lines) - SHOWN_LINES))
    lines = lines[first:]
    if len(lines) <= 2 * SHOWN_LINES:
        return lines
    return [*lines[:SHOWN_LINES], "...", *lines[-SHOWN_LINES:]]


def build(names: list[str], builder: Builder) -> bool:
    """Build several venvs, a few at once; print a line for each; return whether all are ready."""
    ready = True
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pending = {name: pool.submit(builder.ensure, name) for name in names}
        try:
            for name, future in pending.items():
                try:
                    print(future.result(), flush=True)
                except (BuildError, OSError) as err:
                    ready = False
                    print(f"{name}: FAILED: {err}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            print("interrupted: unfinished venvs are built anew next time; pip's cache and the wheelhouse keep"
                  " what was downloaded", file=sys.stderr)  # fmt: skip
            return False
    return ready


def main() -> int:
    """Parse the arguments, keep other builds out, build."""
    parser = argparse.ArgumentParser(description="Build .venvs/NAME from venvs/NAME.lock.")
    parser.add_argument("names", nargs="+", metavar="NAME", choices=sorted(OWN), help=", ".join(sorted(OWN)))
    parser.add_argument("--python", help=f"Python to build with (default: {PREFERRED}, else this one)")
    parser.add_argument("--check", action="store_true", help="build nothing; say whether they are up to date")
    parser.add_argument("--report", action="store_true", help="build nothing; a table of size and build time")
    parser.add_argument("--offline", action="store_true", help="ask no index: all comes from the wheelhouse")
    args = parser.parse_args()
    if args.check:
        return 0 if check(args.names, args.python) else 1
    if args.report:
        report(args.names, args.python)
        return 0
    try:
        python, sources = choose_interpreter(args.python), pip_sources(args.offline)
    except BuildError as err:
        print(f"venvs/build.py: {err}", file=sys.stderr)
        return 1
    VENVS.mkdir(exist_ok=True)
    with (VENVS / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another build of .venvs", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        return 0 if build(list(dict.fromkeys(args.names)), Builder(python, lock.fileno(), sources)) else 1


if __name__ == "__main__":
    sys.exit(main())

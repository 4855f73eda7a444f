#!/usr/bin/env python3
"""Build virtual environments from hashed locks: `venvs/build.py NAME...` makes `.venvs/NAME`.

`--check` builds nothing: it says of each whether it is up to date.

Standard library only, since it runs before anything is installed. A venv is the packages of
`venvs/NAME.lock`, checked by hash, and our own distributions, editable. It is built again only when one
of its inputs changed: their fingerprint is written into the venv as the last step, so that an interrupted
build is never taken for a finished one.

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
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / ".venvs"

PROTOCOL, PLATFORM, FACEMOMENT = "protocol", "daemons", "daemons/plugins/facemoment"
OWN = {  # venv: our distributions in it, in order of dependency
    "core": [PROTOCOL, PLATFORM],
    "light": [PROTOCOL, PLATFORM, FACEMOMENT],
    "face": [PROTOCOL, PLATFORM, FACEMOMENT],
    "dev": [PROTOCOL, PLATFORM, FACEMOMENT],
    "sample": [],
}

OLDEST, NEWEST = (3, 10), (3, 12)  # MediaPipe 0.10.21 has no wheels past 3.12
PREFERRED = "/usr/bin/python3"  # stays where it is on a deployed machine, unlike a developer's own
PROBE = """
import ensurepip, json, os, sys, venv
print(json.dumps([os.path.realpath(sys._base_executable), sys.version_info[:3]]))
"""

MARK = "fingerprint"
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


def fingerprint(name: str, python: Interpreter) -> str:
    """Return the hash of all that a venv is made from, and of where it lies (venvs do not move)."""
    inputs = [ROOT / "venvs" / f"{name}.lock", *(ROOT / own / "pyproject.toml" for own in OWN[name])]
    digest = hashlib.sha256(f"{VENVS / name}\n{python.path}\n{python.version}\n".encode())
    for path in inputs:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def recorded(name: str) -> str:
    """Return the fingerprint that a venv was built with; "" if it is not there or was never finished."""
    mark = VENVS / name / MARK
    return mark.read_text() if mark.is_file() else ""


def check(names: list[str], python: str | None) -> bool:
    """Print of each venv whether it is up to date for the Python asked for, else for its own."""
    ready = True
    for name in names:
        try:
            current = recorded(name) and fingerprint(name, probe(python or str(VENVS / name / "bin" / "python")))
        except BuildError as err:
            state = f"broken: {err}"
        else:
            state = "not built" if not current else "up to date" if current == recorded(name) else "stale"
        ready &= state == "up to date"
        print(f"{name}: {state}")
    return ready


class Builder:
    """Builds venvs for one interpreter.

    Args:
        python: what the venvs are made with.
        lock_fd: the lock file; pip inherits it, so that an orphaned pip still keeps others out.
    """

    def __init__(self, python: Interpreter, lock_fd: int) -> None:
        self.python = python
        self.lock_fd = lock_fd
        self.own_lock = threading.Lock()  # editable builds write into our source folders

    def ensure(self, name: str) -> str:
        """Build one venv unless it is up to date.

        Returns:
            The line to print.

        Raises:
            BuildError: it could not be built.
        """
        venv = VENVS / name
        wanted = fingerprint(name, self.python)
        if recorded(name) == wanted and (venv / "bin" / "python").exists():  # it may be a link to one that is gone
            return f"{name}: up to date"
        started = time.monotonic()
        shutil.rmtree(venv, ignore_errors=True)
        with (VENVS / f"{name}.log").open("w") as log:
            self._build(name, venv, log)
        (venv / MARK).write_text(wanted)
        return f"{name}: built in {time.monotonic() - started:.0f} s"

    def _build(self, name: str, venv: Path, log: IO[str]) -> None:
        pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--no-deps"]
        lock = str(ROOT / "venvs" / f"{name}.lock")
        self._run([self.python.path, "-m", "venv", str(venv)], log)
        self._run([*pip, "--require-hashes", "-r", lock], log)
        if own := [arg for path in OWN[name] for arg in ("-e", str(ROOT / path))]:
            with self.own_lock:
                self._run([*pip, "--no-build-isolation", *own], log)

    def _run(self, command: list[str], log: IO[str]) -> None:
        print("+", *command, file=log, flush=True)
        done = subprocess.run(command, stdout=log, stderr=log, env=clean_environ(), cwd=ROOT, pass_fds=[self.lock_fd])
        if done.returncode == 0:
            return
        raise BuildError(
            f"exit status {done.returncode}; from {log.name}:\n"
            + "\n".join(f"    {line}" for line in excerpt(Path(log.name).read_text(errors="replace")))
            + "\n  Run it again if the package index was out of reach; after a change of a .in file,"
            "\n  write its lock anew (venvs/compile); for another Python, give --python."
        )


def excerpt(log: str) -> list[str]:
    """Return what matters of a failed build's log: from pip's first error on, without the middle."""
    lines = [line.rstrip() for line in log.splitlines() if line.strip()]
    first = next((i for i, line in enumerate(lines) if line.startswith("ERROR")), max(0, len(lines) - SHOWN_LINES))
    lines = lines[first:]
    if len(lines) <= 2 * SHOWN_LINES:
        return lines
    return [*lines[:SHOWN_LINES], "...", *lines[-SHOWN_LINES:]]


def build(names: list[str], python: Interpreter, lock_fd: int) -> bool:
    """Build several venvs, a few at once; print a line for each; return whether all are ready."""
    builder = Builder(python, lock_fd)
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
            print("interrupted: unfinished venvs will be built from the start next time", file=sys.stderr)
            return False
    return ready


def main() -> int:
    """Parse the arguments, keep other builds out, build."""
    parser = argparse.ArgumentParser(description="Build .venvs/NAME from venvs/NAME.lock.")
    parser.add_argument("names", nargs="+", metavar="NAME", choices=sorted(OWN), help=", ".join(sorted(OWN)))
    parser.add_argument("--python", help=f"Python to build with (default: {PREFERRED}, else this one)")
    parser.add_argument("--check", action="store_true", help="build nothing; say whether they are up to date")
    args = parser.parse_args()
    if args.check:
        return 0 if check(args.names, args.python) else 1
    try:
        python = choose_interpreter(args.python)
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
        return 0 if build(list(dict.fromkeys(args.names)), python, lock.fileno()) else 1


if __name__ == "__main__":
    sys.exit(main())

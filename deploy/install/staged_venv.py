"""Virtual environments that lie in a stage and will run at their final place.

A venv is made whole beside the one that is there and then takes its place, so that a daemon that is started
meanwhile finds one or the other. Where only our own code changed, the rest is the same files, by hard links.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from build import OWN, ROOT, BuildError, Interpreter, clean_environ, excerpt
from wheelhouse import requirements

MARK = "fingerprint"
BUILT = shutil.ignore_patterns("__pycache__", "*.egg-info")
NOT_INSTALLED = ("build", "plugins")
"""In the folder of a distribution: what a build left, and distributions of their own."""


def recover(venvs: Path) -> None:
    """Tidy a folder of venvs after a run that was cut off: what was moved aside goes back, what is not whole goes."""
    for name in OWN:
        place, made, old = venvs / name, venvs / f".{name}.new", venvs / f".{name}.old"
        if old.exists() and not place.exists():
            old.rename(place)
        for left in (made, old):
            shutil.rmtree(left, ignore_errors=True)


@contextmanager
def own_sources(names: list[str]) -> Iterator[dict[str, Path]]:
    """Give a copy of each of our distributions in these venvs, by its path: to build writes into the sources."""
    with tempfile.TemporaryDirectory(prefix="visualpath-") as temporary:
        copies = {path: Path(temporary) / path.replace("/", "-") for name in names for path in OWN[name]}
        for path, copy in copies.items():
            shutil.copytree(ROOT / path, copy, ignore=BUILT)
            for name in NOT_INSTALLED:
                shutil.rmtree(copy / name, ignore_errors=True)
        yield copies


def digest(*trees: Path) -> str:
    """Return a hash of all names and contents below some folders."""
    found = hashlib.sha256()
    for tree in trees:
        for path in sorted(path for path in tree.rglob("*") if path.is_file()):
            data = path.read_bytes()
            found.update(f"{path.relative_to(tree)} {len(data)}\n".encode() + data)
    return found.hexdigest()


def run(*command: str | Path) -> None:
    """Run one step of a build; BuildError with what it said if it fails."""
    done = subprocess.run(
        command, env=clean_environ(), cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        said = "\n    ".join(excerpt(done.stdout))
        raise BuildError(
            f"exit status {done.returncode} of {' '.join(map(str, command))}:\n    {said}\n  Run it again if the"
            " package index was out of reach. Without a network bring a wheelhouse along: `make wheelhouse`."
        )


class Pip:
    """A pip of its own, in a venv that is thrown away: neither the system's Python nor the stage need have one.

    Args:
        folder: an empty one, for it.
        python: what venvs are made with.
        sources: its arguments that say where packages are found.
    """

    def __init__(self, folder: Path, python: Interpreter, sources: list[str]) -> None:
        self._python, self._sources = str(folder / "pip" / "bin" / "python"), sources
        self._wheels = folder / "wheels"
        run(python.path, "-m", "venv", folder / "pip")
        tools = folder / "tools.txt"
        lock = (ROOT / "venvs" / "core.lock").read_text()
        tools.write_text("\n".join(line for line in requirements(lock) if line.startswith("setuptools==")))
        self._pip("install", *sources, "--require-hashes", "-r", tools)

    def build(self, copies: dict[str, Path]) -> None:
        """Build the wheels of our own distributions."""
        self._pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "-w", self._wheels, *copies.values())

    def install_lock(self, venv: Path, lock: Path) -> None:
        """Install what a lock names, each file checked by its hash."""
        self._install(venv, *self._sources, "--require-hashes", "-r", lock)

    def install_own(self, venv: Path, own: list[str]) -> None:
        """Install our own distributions, given by their paths, from the wheels that were built."""
        names = [distribution(ROOT / path) for path in own]
        self._install(venv, "--no-index", "--find-links", self._wheels, "--force-reinstall", *names)

    def _install(self, venv: Path, *args: str | Path) -> None:
        self._pip("--python", venv / "bin" / "python", "install", "--no-deps", "--no-compile",
                  "--no-warn-script-location", *args)  # fmt: skip

    def _pip(self, *args: str | Path) -> None:
        run(self._python, "-m", "pip", *args)


def distribution(folder: Path) -> str:
    """Return the name of the distribution whose sources a folder holds."""
    lines = (folder / "pyproject.toml").read_text().splitlines()
    return next(line.split('"')[1] for line in lines if line.startswith("name ="))


@dataclass(frozen=True)
class StagedVenv:
    """One venv of a stage.

    Args:
        name: that of its lock, and of its folder.
        final: where it will lie.
        stage: the root that stands for `/` now.
        python: what it is made with.
    """

    name: str
    final: Path
    stage: Path
    python: Interpreter

    @property
    def folder(self) -> Path:
        """Where it lies now."""
        return self.stage / self.final.relative_to("/")

    def inputs(self, copies: dict[str, Path]) -> dict[str, str]:
        """Return all that it is made from: `lock` (with Python and place) and `own`, as hashes."""
        lock = (ROOT / "venvs" / f"{self.name}.lock").read_bytes()
        made_of = f"{self.final} {self.python.path} {self.python.version}".encode() + lock
        return {
            "lock": hashlib.sha256(made_of).hexdigest(),
            "own": digest(*(copies[path] for path in OWN[self.name])),
        }

    def recorded(self) -> dict[str, str]:
        """Return what that of the stage was made from; {} if there is none."""
        try:
            return dict(json.loads((self.folder / MARK).read_text()))
        except (OSError, ValueError):
            return {}

    def make(self, pip: Pip, inputs: dict[str, str]) -> None:
        """Make it anew from these inputs, and put it in the place of what is there."""
        made, old = (self.folder.with_name(f".{self.name}.{what}") for what in ("new", "old"))
        try:
            self._make(made, pip, inputs)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        if self.stage == Path("/"):
            os.sync()  # a power cut is not to leave one in place of which half is on the disk
        if self.folder.exists():
            self.folder.rename(old)
        made.rename(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def _make(self, made: Path, pip: Pip, inputs: dict[str, str]) -> None:
        if self.recorded().get("lock") == inputs["lock"]:
            shutil.copytree(self.folder, made, symlinks=True, copy_function=os.link)
            (made / MARK).unlink()
        else:
            run(self.python.path, "-m", "venv", "--without-pip", made)
            pip.install_lock(made, ROOT / "venvs" / f"{self.name}.lock")
        pip.install_own(made, OWN[self.name])
        self._move_paths(made)
        run(self.python.path, "-m", "compileall", "-q", "-s", made, "-p", self.final, made / "lib")
        (made / MARK).write_text(json.dumps(inputs))

    def _move_paths(self, made: Path) -> None:
        """Write the final place into scripts and settings. Each becomes a new file: the old one may be a hard link."""
        for path in (made / "pyvenv.cfg", *(made / "bin").iterdir()):
            if path.is_symlink() or str(made).encode() not in (data := path.read_bytes()):
                continue
            mode = path.stat().st_mode
            path.unlink()
            path.write_bytes(data.replace(str(made).encode(), str(self.final).encode()))
            path.chmod(mode)

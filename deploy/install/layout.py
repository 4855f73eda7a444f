"""What `make install` has put below a root: files, folders and venvs, and the record of them."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from files import File


class InstallError(Exception):
    """It cannot be installed or removed; the message says why and what to do."""


class Layout:
    """What is installed below one root, and the record of it.

    Args:
        stage: the root, `/` for this machine.
        prefix: where programs and documents go, below the root.
    """

    def __init__(self, stage: Path, prefix: Path) -> None:
        self.stage, self.prefix = stage, prefix
        self._record_path = self.real(prefix / "share" / "installed.json")
        record = self._read()
        self.trees: list[str] = record.get("trees", [])
        self.folders: list[str] = record.get("folders", [])
        self.configuration: dict[str, str] = record.get("configuration", {})
        self._before: list[str] = record.get("files", [])
        self.files: list[str] = []
        self.changes = 0

    def _read(self) -> dict[str, Any]:
        try:
            return dict(json.loads(self._record_path.read_text()))
        except FileNotFoundError:
            return {}
        except ValueError as err:
            raise InstallError(f"{self._record_path} is damaged ({err}): delete it, then install once more") from err

    @property
    def installed(self) -> bool:
        """Whether an earlier run installed something here."""
        return bool(self._before)

    def real(self, path: Path | str) -> Path:
        """Where a final path lies now."""
        return self.stage / Path(path).relative_to("/")

    def venvs(self) -> list[str]:
        """Return the names of those that an earlier run installed."""
        return [Path(tree).name for tree in self.trees if Path(tree).parent == self.prefix / "venvs"]

    def drop_venvs(self, wanted: list[str]) -> None:
        """Remove those of an earlier run that are not wanted."""
        for name in set(self.venvs()) - set(wanted):
            tree = str(self.prefix / "venvs" / name)
            shutil.rmtree(self.real(tree))
            self.trees.remove(tree)
            self.change(f"{tree}: removed")

    def folder(self, path: Path) -> None:
        """Make a folder and those above it, and remember which of them were not there."""
        self.stage.mkdir(parents=True, exist_ok=True)
        for each in (*reversed(path.parents), path):
            if each != Path("/") and not self.real(each).is_dir():
                self.real(each).mkdir(mode=0o755)
                self.folders.append(str(each))

    def put(self, file: File) -> None:
        """Install a file, unless it is there already, or an operator's edit of it is."""
        real, path = self.real(file.path), str(file.path)
        there = real.read_bytes() if real.exists() and not real.is_symlink() else None
        if file.configuration:
            if there is not None and _hash(there) != self.configuration.get(path, _hash(file.data)):
                print(f"{path}: kept as it was edited; {self.prefix}/share has the defaults")
                return
            self.configuration[path] = _hash(file.data)
        else:
            self.files.append(path)
        if there == file.data:
            return
        self.folder(file.path.parent)
        _write(real, file.data, file.mode)
        self.change(path)

    def link(self, path: Path, target: Path) -> None:
        """Install a symbolic link."""
        self.files.append(str(path))
        real = self.real(path)
        if real.is_symlink() and real.readlink() == target:
            return
        self.folder(path.parent)
        real.unlink(missing_ok=True)
        real.symlink_to(target)
        self.change(str(path))

    def change(self, what: str) -> None:
        """Say what changed, and count it."""
        self.changes += 1
        print(what)

    def finish(self) -> None:
        """Remove what an earlier version had and this has not, and write the record."""
        for path in set(self._before) - set(self.files):
            self.real(path).unlink(missing_ok=True)
            self.change(f"{path}: removed, no longer part of visualpath")
        record = {key: getattr(self, key) for key in ("trees", "folders", "configuration", "files")}
        self.folder(self.prefix / "share")
        _write(self._record_path, json.dumps(record, indent=1).encode(), 0o644)

    def remove(self) -> None:
        """Take away all that was installed, but what an operator edited."""
        for path, installed in self.configuration.items():
            real = self.real(path)
            if real.exists() and _hash(real.read_bytes()) != installed:
                print(f"{path}: kept, it was edited")
            else:
                real.unlink(missing_ok=True)
        for tree in self.trees:
            shutil.rmtree(self.real(tree), ignore_errors=True)
        for path in self._before:
            self.real(path).unlink(missing_ok=True)
        self._record_path.unlink()
        for folder in sorted(self.folders, reverse=True):
            real = self.real(folder)
            if real.is_dir() and not any(real.iterdir()):
                real.rmdir()


def _write(path: Path, data: bytes, mode: int) -> None:
    """Put a whole file in the place of what is there."""
    beside = path.with_name(f".{path.name}.new")
    beside.touch(mode=0o600)
    beside.write_bytes(data)
    beside.chmod(mode)
    beside.rename(path)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()

"""What `make install` has put below a root: files, folders and venvs, and the record of them.

The record names each path before anything is put there, with the hashes of what may lie there. A run that was cut off
can so be repeated or taken back, and whatever else lies at such a path is somebody else's, and is never touched.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from files import File, hash_of
from staged_venv import MARK, recover

OURS = ("visualpath", "vpctl")
"""One of these is in the path of each file that lies outside of the prefix."""


class InstallError(Exception):
    """It cannot be installed or removed; the message says why and what to do."""


class Layout:
    """What is installed below one root, and the record of it.

    Args:
        stage: the root, `/` for this machine; no link leads to it.
        prefix: where programs and documents go, below the root.
    """

    def __init__(self, stage: Path, prefix: Path) -> None:
        self.stage, self.prefix = stage, prefix
        self._record_path = self.real(prefix / "share" / "installed.json")
        record = self._read()
        self._files: dict[str, list[str]] = record["files"]
        self._trees: list[str] = record["trees"]
        self._folders: list[str] = record["folders"]
        self._wanted: set[str] = set()
        self.installed = bool(self._files)
        self.interrupted = self.installed and not record["finished"]
        self.changes = 0

    def _read(self) -> dict[str, Any]:
        record: dict[str, Any] = {"files": {}, "trees": [], "folders": [], "finished": False}
        try:
            record |= json.loads(self._record_path.read_text())
            record["files"] = {path: list(known) for path, known in dict(record["files"]).items()}
            self._check([*record["files"]], record["trees"], record["folders"])
        except FileNotFoundError:
            pass
        except (ValueError, TypeError) as err:
            raise InstallError(
                f"{self._record_path} is damaged ({err}): move it away, then install the same version once more"
            ) from err
        return record

    def _check(self, files: list[str], trees: list[str], folders: list[str]) -> None:
        """Raise ValueError for a path that no version would have put there: a damaged record is not to lead to it."""
        inside = f"{self.prefix}/"
        strange = [path for path in files if not path.startswith(inside) and not any(name in path for name in OURS)]
        strange += [path for path in trees if Path(path).parent != self.prefix / "venvs"]
        strange += [path for path in (*files, *trees, *folders) if path[:1] != "/" or ".." in Path(path).parts]
        if strange:
            raise ValueError(f"{strange[0]!r} is nothing that was installed")

    def real(self, path: Path | str) -> Path:
        """Return where a final path lies now; InstallError if a link leads it out of the root."""
        real = self.stage / Path(path).relative_to("/")
        if not real.parent.resolve().is_relative_to(self.stage):
            raise InstallError(f"{real}: a link leads out of {self.stage}")
        return real

    def venvs(self) -> list[str]:
        """Return the names of those that an earlier run installed."""
        return [Path(tree).name for tree in self._trees]

    def claim(self, files: Iterable[File], trees: Iterable[Path] = (), folders: Iterable[Path] = ()) -> None:
        """Note what will be put where, before it is; InstallError if somebody else's is there."""
        foreign = [str(file.path) for file in files if not file.configuration and self._is_foreign(file)]
        foreign += [str(tree) for tree in trees if self._is_foreign_tree(tree)]
        if foreign:
            raise InstallError(
                "these are not visualpath's, or not from this PREFIX, or were changed since; move them away"
                f" (changes of a unit belong into a drop-in: systemctl edit): {' '.join(foreign)}"
            )
        for file in files:
            self._wanted.add(path := str(file.path))
            self._files[path] = [*(set(self._files.get(path, [])) - {file.hash}), file.hash]
        self._trees = sorted({*self._trees, *map(str, trees)})
        for path in (self._record_path_final, *(file.path for file in files), *trees, *(f / "x" for f in folders)):
            above = (str(each) for each in path.parents if each != Path("/") and not self.real(each).is_dir())
            self._folders = sorted({*self._folders, *above})
        self._save(finished=False)

    @property
    def _record_path_final(self) -> Path:
        return self.prefix / "share" / self._record_path.name

    def _is_foreign(self, file: File) -> bool:
        there = _content(self.real(file.path))
        return there not in (None, file.content) and not self._is_known(str(file.path), there)

    def _is_known(self, path: str, content: tuple[bool, bytes] | None) -> bool:
        return content is not None and hash_of(content) in self._files.get(path, [])

    def _is_foreign_tree(self, tree: Path) -> bool:
        real = self.real(tree)
        ours = str(tree) in self._trees or (real / MARK).is_file()
        return real.is_symlink() or (real.exists() and not ours)

    def drop_venvs(self, wanted: list[str]) -> None:
        """Remove those of an earlier run that are not wanted."""
        for name in set(self.venvs()) - set(wanted):
            tree = str(self.prefix / "venvs" / name)
            _remove_tree(self.real(tree))
            self._trees.remove(tree)
            self.change(f"{tree}: removed")

    def folder(self, path: Path) -> Path:
        """Make a folder that was claimed, unless it is there; return where it lies now."""
        real = self.real(path)
        real.mkdir(parents=True, exist_ok=True)
        return real

    def put(self, file: File) -> None:
        """Install a file that was claimed, unless it is there already, or an operator's edit of it is."""
        real = self.folder(file.path.parent) / file.path.name
        there = _content(real)
        if there == file.content:
            return
        if there is not None and not self._is_known(str(file.path), there):
            print(f"{file.path}: kept as it was edited; {self.prefix}/share has the defaults")
            return
        self._write(real, file)
        self.change(str(file.path))

    def _write(self, real: Path, file: File) -> None:
        """Put a whole file in the place of what is there; owner and mode of a configuration stay as they are."""
        beside = _beside(real)
        beside.unlink(missing_ok=True)
        try:
            if file.link:
                beside.symlink_to(os.fsdecode(file.data))
            else:
                with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as new:
                    new.write(file.data)
                    new.flush()
                    os.fchmod(new.fileno(), file.mode)
                    if file.configuration and real.exists():
                        before = real.stat()
                        os.fchown(new.fileno(), before.st_uid, before.st_gid)
                        os.fchmod(new.fileno(), stat.S_IMODE(before.st_mode))
                    if self.stage == Path("/"):
                        os.fsync(new.fileno())
            beside.replace(real)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    def change(self, what: str) -> None:
        """Say what changed, and count it."""
        self.changes += 1
        print(what)

    def drop_files(self) -> None:
        """Remove what an earlier version had and this has not."""
        for path in self._files.keys() - self._wanted:
            if self._take_away(path):
                self.change(f"{path}: removed, no longer part of visualpath")
            del self._files[path]

    def finish(self) -> None:
        """Note that all is as it should be."""
        self._files = {path: known[-1:] for path, known in self._files.items()}
        self._save(finished=True)

    def _save(self, *, finished: bool) -> None:
        record = {"files": self._files, "trees": self._trees, "folders": self._folders, "finished": finished}
        self.folder(self._record_path_final.parent)
        self._write(self._record_path, File(self._record_path_final, json.dumps(record, indent=1).encode()))

    def remove(self) -> None:
        """Take away all that was installed, but what somebody changed since."""
        for path in self._files:
            self._take_away(path)
        recover(self.real(self.prefix / "venvs"))
        for tree in self._trees:
            _remove_tree(self.real(tree))
        self._record_path.unlink()
        for folder in sorted(self._folders, reverse=True):
            real = self.real(folder)
            if real.is_dir() and not any(real.iterdir()):
                real.rmdir()

    def _take_away(self, path: str) -> bool:
        """Remove a file, unless it is another than was installed; return whether it is gone now."""
        real = self.real(path)
        there = _content(real)
        _beside(real).unlink(missing_ok=True)
        if there is not None and not self._is_known(path, there):
            print(f"{path}: kept, it was edited")
            return False
        real.unlink(missing_ok=True)
        return there is not None


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _content(path: Path) -> tuple[bool, bytes] | None:
    """Return what is there, as `File.content`; None if nothing is."""
    if path.is_symlink():
        return True, os.fsencode(path.readlink())
    return (False, path.read_bytes()) if path.exists() else None


def _remove_tree(path: Path) -> None:
    if path.exists() and not path.is_symlink():
        shutil.rmtree(path)

"""Where models lie: a folder for each in `models_dir`; what is there is what its manifest says, or is not used.

models_dir/buffalo_l/det_10g.onnx ...      a pack: its path is the folder
models_dir/yolo11n-pose/yolo11n-pose.onnx  a single file: its path is the file
models_dir/.state/NAME.*                   what is remembered of it, a download that is not whole, a lock
"""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from visualpath.core.errors import ModelError, ModelMissingError
from visualpath.models.manifest import Model
from visualpath.models.record import Record, Seen, read_record, write_record

log = logging.getLogger(__name__)

State = Literal["there", "pinned", "missing", "damaged", "unknown"]
"""there: as the manifest says; pinned: as it was when it was first taken; unknown: neither says what it must be."""

USABLE: tuple[State, ...] = ("there", "pinned")
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Checked:
    """What was found; `why` is what is wrong, with the file, "" if nothing is."""

    state: State
    why: str = ""


class ModelStore:
    """The models under one folder, which need not exist yet.

    Args:
        folder: `models_dir` of visualpath.yaml.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, model: Model) -> Path:
        """What an extractor opens: the folder of a pack, else the file."""
        return self.home(model) if model.members else self.home(model) / model.file

    def home(self, model: Model) -> Path:
        """The folder of its files."""
        return self.folder / model.name

    def state_file(self, model: Model, kind: str) -> Path:
        """A file of the store itself about a model."""
        return self.folder / ".state" / f"{model.name}.{kind}"

    def record(self, model: Model) -> Record:
        """What is remembered of a model."""
        return read_record(self.state_file(model, "json"))

    def require(self, model: Model) -> Path:
        """Its path, once its files are known to be right.

        Raises:
            ModelMissingError: it is not there or not right; one line, with the command that mends it.
        """
        checked = self.check(model)
        if checked.state in USABLE:
            return self.path(model)
        hint = f"run `{model.command}`"
        if checked.state == "missing":
            made = f", after `{model.how}`" if not model.urls else ""
            raise ModelMissingError(f"model {model.name!r} is not in {self.folder}: {hint}{made}")
        if checked.state == "unknown":
            hint = f"if it is yours, run `vpctl models add {self.path(model)} {model.name}`"
        raise ModelMissingError(f"model {model.name!r} cannot be used: {checked.why}: {hint}")

    def check(self, model: Model, *, thorough: bool = False) -> Checked:
        """Compare its files with the manifest, or with the pins.

        Args:
            thorough: hash every file; else only those that were written since they were hashed last.
        """
        home = self.home(model)
        try:
            there = {path.name for path in home.iterdir()}
        except FileNotFoundError:
            return Checked("missing", f"{home} is not there")
        except OSError as error:
            return Checked("damaged", f"{home}: {error.strerror}")
        if not there:
            return Checked("missing", f"{home} is empty")
        kinds = {Path(name).suffix for name in model.files}
        strangers = sorted(name for name in there - set(model.files) if Path(name).suffix in kinds)
        if strangers:  # libraries load every model in a pack's folder
            return Checked("damaged", f"{home / strangers[0]} does not belong there")
        return self._check_files(model, thorough)

    def _check_files(self, model: Model, thorough: bool) -> Checked:
        record = self.record(model)
        seen = {} if thorough else dict(record.seen)
        for name, expected in model.files.items():
            path = self.home(model) / name
            wanted = expected.sha256 or record.pins.get(name)
            try:
                size_bytes = path.stat().st_size
                if expected.size_bytes not in (None, size_bytes):
                    return Checked("damaged", f"{path} has {size_bytes} bytes, not {expected.size_bytes}")
                if wanted is None:
                    return Checked("unknown", f"of {path} no checksum is known, and none was pinned")
                if seen.get(name) != Seen.of(path, wanted):
                    found = sha256_of(path)
                    if found != wanted:
                        self._remember(model, {each: seen[each] for each in seen if each != name})
                        return Checked("damaged", f"{path} has the sha256 {found[:12]}..., not {wanted[:12]}...")
                    seen[name] = Seen.of(path, found)
            except OSError as error:
                return Checked("damaged", f"{path}: {error.strerror}")
        if seen != record.seen:
            self._remember(model, seen)
        return Checked("there" if model.checksummed else "pinned")

    def _remember(self, model: Model, seen: dict[str, Seen]) -> None:
        record = self.record(model)  # hashing takes seconds, in which another process may have pinned something
        if record.seen == seen:
            return
        record.seen = seen
        try:
            write_record(self.state_file(model, "json"), record)
        except OSError as error:  # an extractor that may not write there, as under systemd
            log.info("model %r is hashed at each start (%s: %s)", model.name, error.filename, error.strerror)

    @contextmanager
    def lock(self, model: Model) -> Iterator[None]:
        """Be the only one who changes a model; the kernel frees it when a process dies.

        Raises:
            ModelError: another process is at work on it.
            OSError: the folder cannot be made or written.
        """
        path = self.state_file(model, "lock")
        path.parent.mkdir(parents=True, exist_ok=True)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(fd, 32, 0).decode(errors="replace").strip()
                raise ModelError(f"{model.name}: another vpctl is at work on it (pid {holder or 'unknown'})") from None
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(fd)


def sha256_of(path: Path) -> str:
    """The hash of a file's content, in hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()

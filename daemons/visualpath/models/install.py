"""Putting a model into its store: from a download, a file, an archive or a folder; all or nothing."""

from __future__ import annotations

import errno
import hashlib
import lzma
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from visualpath.core.errors import ModelError
from visualpath.models.manifest import Expected, Model
from visualpath.models.record import Record, Seen, write_record
from visualpath.models.store import BLOCK_BYTES, ModelStore
from visualpath.runtime.files import sync_dir

Open = Callable[[str], BinaryIO]
"""Opens one of a model's files by its name."""
SPOILT = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)
"""What zipfile raises of an archive that is damaged, encrypted (RuntimeError) or packed in a way that it lacks."""


def install(store: ModelStore, model: Model, source: Path, origin: str) -> dict[str, str]:
    """Copy a model's files into the store, each checked on its way; whoever calls holds the model's lock.

    What was there before is replaced, but only by what is right. Files of which the manifest has no checksum are
    pinned: from now on they must be what they are.

    Args:
        source: the file; of a pack its archive, or a folder with its members.
        origin: where it came from, for the record.

    Returns:
        The sha256 of the files that were pinned, by name.

    Raises:
        ModelError: the source is not this model.
        OSError: the disk refuses.
    """
    staged = store.state_file(model, "new")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    try:
        with _opened(model, source) as open_file:
            hashes = {name: _copy(open_file, staged / name, expected) for name, expected in model.files.items()}
        sync_dir(staged)
        _give_place(staged, store.home(model), store.state_file(model, "old"))
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    pins = {name: hashes[name] for name, expected in model.files.items() if expected.sha256 is None}
    seen = {name: Seen.of(store.home(model) / name, sha256) for name, sha256 in hashes.items()}
    write_record(store.state_file(model, "json"), Record(origin=origin, pins=pins, seen=seen))
    return pins


@contextmanager
def _opened(model: Model, source: Path) -> Iterator[Open]:
    if source.is_dir():
        yield lambda name: (source / name).open("rb")
    elif model.members:
        try:
            with zipfile.ZipFile(source) as archive:
                yield lambda name: _open_member(archive, source, name)
        except SPOILT as error:
            raise ModelError(f"{source} cannot be unpacked: {error}") from error
        except OSError as error:
            if error.errno not in (None, errno.EINVAL):  # bz2 has none of its own; the other is an offset below 0
                raise
            raise ModelError(f"{source} cannot be unpacked: {error.strerror or error}") from error
    else:
        yield lambda _name: source.open("rb")


def _open_member(archive: zipfile.ZipFile, source: Path, name: str) -> BinaryIO:
    """By its last name: some packs come in a folder, some do not."""
    found = [info for info in archive.infolist() if info.filename.rpartition("/")[2] == name]
    if len(found) != 1:
        raise ModelError(f"{source} has {name} {len(found)} times" if found else f"{source} has no {name}")
    opened: BinaryIO = archive.open(found[0])  # type: ignore[assignment]
    return opened


def _copy(open_file: Open, target: Path, expected: Expected) -> str:
    """Copy one file, synced; returns its sha256."""
    digest, size_bytes = hashlib.sha256(), 0
    with open_file(target.name) as source, target.open("wb") as out:
        while block := source.read(BLOCK_BYTES):
            size_bytes += len(block)
            if expected.size_bytes is not None and size_bytes > expected.size_bytes:
                break  # an archive may unpack to any size
            digest.update(block)
            out.write(block)
        out.flush()
        os.fsync(out.fileno())
    if expected.size_bytes not in (None, size_bytes):
        raise ModelError(f"{target.name} is not of {expected.size_bytes} bytes: not the file that the manifest means")
    found = digest.hexdigest()
    if expected.sha256 not in (None, found):
        raise ModelError(f"{target.name} has the sha256 {found}, not {expected.sha256}: not what the manifest means")
    return found


def _give_place(staged: Path, final: Path, old: Path) -> None:
    """Rename; the moment between two renames leaves no model, never half of one."""
    shutil.rmtree(old, ignore_errors=True)
    if final.exists():
        final.rename(old)
    staged.rename(final)
    sync_dir(final.parent)
    shutil.rmtree(old, ignore_errors=True)

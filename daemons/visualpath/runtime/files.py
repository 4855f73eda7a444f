"""Files that must survive a power cut."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def sync_dir(folder: Path) -> None:
    """Make a rename or a new name in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def publish(temporary: Path, final: Path) -> None:
    """Give a finished file its name: synced first, then renamed, then the name synced. All or nothing."""
    fd = os.open(temporary, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(final)
    sync_dir(final.parent)


def overwrite_durably(path: Path, data: bytes) -> None:
    """Replace the content of a small file where it lies: on a full disk there is no room for another beside it."""
    with path.open("r+b", buffering=0) as file:
        file.write(data)
        file.truncate()
        os.fsync(file.fileno())


def write_durably(path: Path, data: bytes) -> None:
    """Replace the content of `path`, all or nothing."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(data)
        publish(temporary, path)
    except OSError:
        with suppress(OSError):  # a full disk is not to be filled with halves
            temporary.unlink()
        raise

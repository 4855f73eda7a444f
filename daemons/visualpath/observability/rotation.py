"""A file of lines that makes way for the next when it is full.

It is opened for each append: whoever deletes or moves it has what he wanted, and nothing is held open while nothing
is written.
"""

from __future__ import annotations

import glob
import os
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

FOLDER_MODE = 0o1770
"""Daemons of several users may share the folder; each renames only what is its own."""


class RotatingFile:
    """Appends whole lines.

    Args:
        path: the file; older ones are `path.1` (the youngest), `path.2`, ... `path.<keep>`.
        max_bytes: how large it becomes; a line that is larger by itself has a file of its own.
        keep: how many older files there are.
    """

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep

    def append(self, lines: list[bytes]) -> int:
        """Write as many of the lines as one file takes, and return how many: at least one.

        Raises:
            OSError: the disk refuses; none of them is written.
        """
        self._make_folder()
        if self._is_full(len(lines[0])):
            self._rotate()
        with self._path.open("ab", buffering=0) as file:
            size = file.tell()
            count = 1
            total = len(lines[0])
            while count < len(lines) and size + total + len(lines[count]) <= self._max_bytes:
                total += len(lines[count])
                count += 1
            write_whole(file, b"".join(lines[:count]))
        return count

    def _make_folder(self) -> None:
        folder = self._path.parent
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(FOLDER_MODE)

    def _is_full(self, more_bytes: int) -> bool:
        """Whether the next line belongs into another file; so it is when a crash has left half a line in this one."""
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                if not size:
                    return False
                file.seek(-1, os.SEEK_END)
                return size + more_bytes > self._max_bytes or file.read(1) != b"\n"
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        """Move each file one place on; the oldest falls off, and what is left of a time when more were kept."""
        names = [self._path, *(self._path.with_name(f"{self._path.name}.{n}") for n in range(1, self._keep + 1))]
        for younger, older in reversed(list(pairwise(names))):
            with suppress(FileNotFoundError):
                younger.replace(older)
        with suppress(FileNotFoundError):  # with none kept it is still there
            self._path.unlink()
        for path in self._path.parent.glob(f"{glob.escape(self._path.name)}.*"):
            number = path.name.removeprefix(f"{self._path.name}.")
            if number.isdecimal() and int(number) > self._keep:
                with suppress(OSError):  # it may belong to another user
                    path.unlink()


def write_whole(file: BinaryIO, data: bytes) -> None:
    """Write at the end of an unbuffered file, all or nothing: what a full disk has cut off is taken back.

    Raises:
        OSError: the disk refuses.
    """
    size = file.tell()
    try:
        written = 0
        while written < len(data):
            written += file.write(data[written:])
    except OSError:
        with suppress(OSError):
            file.truncate(size)
        raise

"""Reading the trace files of daemons that may be writing them at the moment."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO


def trace_files(folder: Path, daemon: str) -> list[Path]:
    """The daemon's trace, oldest file first."""
    rotated = (path for path in folder.glob(f"{daemon}.jsonl.*") if path.suffix[1:].isdigit())
    older = sorted(rotated, key=lambda path: int(path.suffix[1:]), reverse=True)
    present = folder / f"{daemon}.jsonl"
    return [*older, *([present] if present.exists() else [])]


def open_files(folder: Path, daemon: str) -> Iterator[BinaryIO]:
    """The daemon's trace, youngest file first, each of them once although it may rotate meanwhile: names only rise.

    Each is closed when the next is asked for.
    """
    path = folder / f"{daemon}.jsonl"
    highest = max((int(each.suffix[1:]) for each in trace_files(folder, daemon) if each != path), default=0)
    seen: set[tuple[int, int]] = set()
    for number in range(highest + 2):  # one more may come while these are opened
        try:
            file = (path.with_name(f"{path.name}.{number}") if number else path).open("rb")
        except FileNotFoundError:
            continue
        with file:
            if _identity(file) not in seen:
                seen.add(_identity(file))
                yield file


class TraceReader:
    """Reads one daemon's trace: the last lines, then what is added, also when the file rotates.

    Args:
        wanted: which lines are returned.

    Attributes:
        gaps: how often a file was gone before all that follows it was found; lines may be missing there.
    """

    def __init__(self, folder: Path, daemon: str, wanted: Callable[[bytes], bool]) -> None:
        self.daemon = daemon
        self.gaps = 0
        self._folder = folder
        self._path = folder / f"{daemon}.jsonl"
        self._wanted = wanted
        self._file: BinaryIO | None = None

    def last(self, count: int) -> list[bytes]:
        """The last lines, at most `count`; `added` goes on behind them."""
        found: deque[bytes] = deque(maxlen=count)
        for file in open_files(self._folder, self.daemon):
            if self._file is None:
                self._file = _again(file)
                found.extend(filter(self._wanted, _whole_lines(self._file)))
            elif len(found) < count:
                older = deque(filter(self._wanted, file), maxlen=count - len(found))
                found.extendleft(reversed(older))
            else:
                break
        return list(found)

    def added(self) -> Iterator[bytes]:
        """What has been written since the last call."""
        while True:
            if self._file is None and not self._open_present():
                return
            assert self._file is not None
            current = self._is_current(self._file)  # asked first: nothing is added to a file that has lost its name
            yield from filter(self._wanted, _whole_lines(self._file))
            if current or not self._open_following(self._file):
                return

    def _open_present(self) -> bool:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:
            return False
        self.close()
        self._file = file
        return True

    def _open_following(self, file: BinaryIO) -> bool:
        """Go on with the file after this one; if this one is gone, with the present."""
        following: BinaryIO | None = None
        for each in open_files(self._folder, self.daemon):
            if _identity(each) == _identity(file):
                break
            if following is not None:
                following.close()
            following = _again(each)
        else:
            if following is not None:
                following.close()
            gone = self._open_present()
            self.gaps += gone
            return gone
        if following is None:
            return False
        self.close()
        self._file = following
        return True

    def close(self) -> None:
        """Give the file back."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _is_current(self, file: BinaryIO) -> bool:
        """Whether the file still has the name under which the daemon writes."""
        try:
            return os.path.samestat(self._path.stat(), os.fstat(file.fileno()))
        except FileNotFoundError:
            return False


def _identity(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino


def _again(file: BinaryIO) -> BinaryIO:
    """The same file, of which nothing has been read, for its user to close."""
    return os.fdopen(os.dup(file.fileno()), "rb")


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline():
        if not line.endswith(b"\n"):  # it is being written: next time
            file.seek(-len(line), 1)
            return
        yield line

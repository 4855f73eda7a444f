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


class TraceReader:
    """Reads one daemon's trace: the last lines, then what is added, also when the file rotates.

    Args:
        wanted: which lines are returned.
    """

    def __init__(self, folder: Path, daemon: str, wanted: Callable[[bytes], bool]) -> None:
        self._folder = folder
        self._daemon = daemon
        self._path = folder / f"{daemon}.jsonl"
        self._wanted = wanted
        self._file: BinaryIO | None = None

    def last(self, count: int) -> list[bytes]:
        """The last lines, at most `count`; `added` goes on behind them."""
        found = deque(self.added(), maxlen=count)
        for path in reversed(trace_files(self._folder, self._daemon)):
            if len(found) >= count:
                break
            if path != self._path:
                with path.open("rb") as file:
                    older = deque(filter(self._wanted, file), maxlen=count - len(found))
                found.extendleft(reversed(older))
        return list(found)

    def added(self) -> Iterator[bytes]:
        """What has been written since the last call."""
        while True:
            if self._file is None:
                try:
                    self._file = self._path.open("rb")
                except FileNotFoundError:
                    return
            current = self._is_current(self._file)  # asked first: nothing is added to a file that has lost its name
            yield from filter(self._wanted, _whole_lines(self._file))
            if current:
                return
            self.close()

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


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline():
        if not line.endswith(b"\n"):  # it is being written: next time
            file.seek(-len(line), 1)
            return
        yield line

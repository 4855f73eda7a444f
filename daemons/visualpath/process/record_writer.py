"""Writes the record's files in a thread: frames in the order in which they are given, and a file where one is to begin.

A file is an eighth of the record, and the oldest make room for a new one; on a full disk, for what follows in any.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from visualpath.observability.rotation import write_whole
from visualpath.process.record import Head, file_name, head_body, next_run_number, pack, runs_in
from visualpath_protocol.errors import ProtocolError

QUEUE_MAX_BYTES = 16 << 20
WRITE_EVERY_S = 0.15
"""With the time to write: a kill loses at most the last 0.2 s."""
CLOSE_S = 2.0
FILES = 8
"""So many files make a full record."""


@dataclass(frozen=True, slots=True)
class Begin:
    """A file begins."""

    head: Head


class RecordWriter(threading.Thread):
    """Appends frames to files. `put` and `has_room` are for the loop's thread.

    Attributes:
        broken: the last file ended before its time; the loop is to begin another.
        lost: frames that the disk did not take.
        why: its last refusal.
        failure: a defect of our own that has ended the thread, for the loop to raise.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        super().__init__(name="record", daemon=True)
        self.broken = False
        self.lost = 0
        self.why = ""
        self.failure: BaseException | None = None
        self._folder = folder
        self._max_bytes = max_bytes
        self._queue: deque[bytes | Begin] = deque()
        self._put_bytes = 0  # each written by one thread only
        self._taken_bytes = 0
        self._run_number: int | None = None
        self._untold = 0  # inputs that are missing, and no file that is kept says so
        self._path = folder
        self._file: BinaryIO | None = None
        self._has_frames = False
        self._closing = threading.Event()

    def has_room(self, size_bytes: int) -> bool:
        """Whether so many bytes more may wait."""
        return self._put_bytes - self._taken_bytes + size_bytes <= QUEUE_MAX_BYTES

    def put(self, what: bytes | Begin, size_bytes: int) -> None:
        """Have it written."""
        self._put_bytes += size_bytes
        self._queue.append(what)

    def close(self) -> None:
        """End when all is written; wait for that, but not for a disk that hangs."""
        self._closing.set()
        self.join(CLOSE_S)

    def run(self) -> None:
        """Thread body."""
        closing = False
        try:
            while not closing:
                closing = self._closing.wait(WRITE_EVERY_S)
                self._write_queued()
        except BaseException as error:  # raised again in the fusion loop's thread
            self.failure, self.broken = error, True
        self._end_file()

    def _write_queued(self) -> None:
        frames: list[bytes] = []
        for _ in range(len(self._queue)):
            what = self._queue.popleft()
            if isinstance(what, Begin):
                self._append(frames)
                frames = []
                self._begin(what.head)
            else:
                frames.append(what)
        self._append(frames)

    def _append(self, frames: list[bytes]) -> None:
        if not frames:
            return
        data = b"".join(frames)
        try:
            if self._file is not None:
                self._write(self._file, data)
                self._has_frames = True
            else:
                self._lose(frames)
        except OSError as error:
            self._fail(error)
            self._lose(frames)
        self._taken_bytes += len(data)

    def _lose(self, frames: list[bytes]) -> None:
        self.lost += len(frames)
        self._untold += len(frames)

    def _write(self, file: BinaryIO, data: bytes) -> None:
        """Write into a file that is still there; on a full disk the oldest of the record give way."""
        if os.fstat(file.fileno()).st_nlink == 0:
            raise FileNotFoundError(errno.ENOENT, "it was removed while it was written", str(self._path))
        while True:
            try:
                return write_whole(file, data)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not self._delete_oldest():
                    raise

    def _begin(self, head: Head) -> None:
        self._end_file()
        self._untold += head.lost
        try:
            self._make_room()
            self._begin_file(msgspec.structs.replace(head, run=self._run(head), lost=self._untold))
        except (OSError, TypeError, ProtocolError) as error:  # a plug-in may have put anything into the firings
            self._fail(error)

    def _begin_file(self, head: Head) -> None:
        frame = pack(head.mono_ns, 0, head_body(head))
        self._path = self._folder / file_name(head.run, head.number)
        self._file = self._path.open("xb", buffering=0)
        self._has_frames = False
        self._write(self._file, frame)

    def _run(self, head: Head) -> str:
        """The name of the run: its number comes first, for a clock may be set back."""
        if self._run_number is None:
            self._run_number = next_run_number(self._folder)
        return f"{self._run_number:06}-{head.run}"

    def _make_room(self) -> None:
        """Delete the oldest files until there is room for another."""
        self._folder.mkdir(parents=True, exist_ok=True)
        used_bytes = sum(path.stat().st_size for path in self._files())
        for path in self._files():
            if used_bytes + self._max_bytes // FILES <= self._max_bytes:
                return
            used_bytes -= path.stat().st_size
            path.unlink()

    def _delete_oldest(self) -> bool:
        """Make room on the disk; False if there is only the present file."""
        older = [path for path in self._files() if path != self._path]
        if older:
            older[0].unlink()
        return bool(older)

    def _files(self) -> list[Path]:
        return [path for run in runs_in(self._folder).values() for path in run]

    def _fail(self, error: Exception) -> None:
        """End the file; one without any input is taken back."""
        self.why = str(error)
        if self._file is not None and not self._has_frames:
            self._file.close()
            self._file = None
            with suppress(OSError):
                self._path.unlink()
        self._end_file()
        self.broken = True

    def _end_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._untold = 0

"""Writes the record: the fusion loop hands over, a thread writes, and the disk holds nobody up.

Laws:
* All order and all state are the loop's: it decides when a file begins, and what its HEAD says, so that the HEAD is
  exact. The thread only writes what it is given.
* What cannot be recorded (the queue is full, the disk refuses) is counted, and the file ends there: the next one's HEAD
  says how many inputs are missing before it.
* A file is an eighth of the record, and the oldest make room for a new one; on a full disk, for what follows in any.
"""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

import msgspec

from visualpath.core.stream_fusion import Firings, Input, Outcome, SourceDown
from visualpath.process.decision import setup_of
from visualpath.process.record import (
    Head,
    StreamHead,
    builtins_of,
    file_name,
    head_body,
    next_run_number,
    pack,
    runs_in,
    trig_body,
)
from visualpath.runtime.config import Config
from visualpath.runtime.refusals import Refusals
from visualpath_protocol.clock import rfc3339, wall_ns
from visualpath_protocol.codec import encode
from visualpath_protocol.errors import ProtocolError
from visualpath_protocol.messages import Message, Ping, StreamState, Trig

QUEUE_MAX_BYTES = 16 << 20
WRITE_EVERY_S = 0.15
"""With the time to write: a kill loses at most the last 0.2 s."""
CLOSE_S = 2.0
FILES = 8
"""So many files make a full record."""


class Recorder:
    """Keeps what the fusion of each stream is fed. For the thread of the fusion loop; it never waits.

    Args:
        firings: the last firings of each stream, which its fusion keeps up to date.
        refusals: what is not recorded is counted there as `dropped.record`.
        now: monotonic ns, the same that the streams' fusions were made with.
    """

    def __init__(self, config: Config, firings: Mapping[str, Firings], refusals: Refusals, now: int) -> None:
        wall = wall_ns()
        self._head = Head(
            visualpath=version("visualpath"),
            run=rfc3339(wall).replace("-", "").replace(":", ""),
            mono_ns=now,
            wall_ns=wall,
            fusion=builtins_of(config.fusion),
            streams={name: StreamHead(setup=setup_of(config, name), firings={}) for name in config.streams},
        )
        self._numbers = {name: number for number, name in enumerate(config.streams)}
        self._firings = firings
        self._states: dict[str, StreamState] = {}
        self._up: dict[str, dict[str, Ping]] = {name: {} for name in config.streams}
        self._refusals = refusals
        self._dropped = 0  # since the last HEAD, for lack of room
        self._lost_told = 0
        self._file_max_bytes = config.record.max_bytes // FILES
        self._file_bytes = 0
        self._writer = _Writer(config.record_dir, config.record.max_bytes)
        self._begin_file(self._head)
        self._writer.start()

    def put(self, stream: str, message: Input, now: int, raw: bytes | None = None) -> None:
        """Record an input, before it is fed.

        Args:
            raw: the message as it came over the wire, if it did.
        """
        body = encode(message) if raw is None else raw
        if self._file_bytes + len(body) > self._file_max_bytes or self._dropped or self._writer.broken:
            self._begin_next_file(now)
        self._put(stream, now, body)
        if isinstance(message, (Ping, StreamState, SourceDown)):
            self._remember(stream, message)

    def put_trigs(self, stream: str, outcomes: Iterable[Outcome], now: int) -> None:
        """Record what was decided on the last input."""
        for outcome in outcomes:
            if isinstance(outcome, Trig) and (body := trig_body(outcome)) is not None:
                self._put(stream, now, body)

    def close(self) -> None:
        """Write what is left, if the disk takes it soon."""
        self._writer.close()
        self._tell_lost()

    def _put(self, stream: str, now: int, body: bytes) -> None:
        frame = pack(now, self._numbers[stream], body)
        if self._dropped or not self._writer.has_room(len(frame)):
            self._dropped += 1
            self._refusals.add("dropped.record", "the disk is slower than the inputs")
            return
        self._file_bytes += len(frame)
        self._writer.put(frame, len(frame))

    def _remember(self, stream: str, message: Message) -> None:
        """What a file that begins later has to say of the past."""
        if isinstance(message, StreamState):
            self._states[stream] = message
        elif isinstance(message, Ping):
            self._up[stream][message.source] = message
        elif isinstance(message, SourceDown):
            self._up[stream].pop(message.source, None)

    def _begin_next_file(self, now: int) -> None:
        if self._writer.failure is not None:
            raise self._writer.failure
        self._tell_lost()
        if not self._writer.has_room(min(self._file_max_bytes, QUEUE_MAX_BYTES // 2)):  # what waits comes first
            return
        self._head = msgspec.structs.replace(
            self._head, number=self._head.number + 1, lost=self._dropped, mono_ns=now, wall_ns=wall_ns()
        )
        self._begin_file(self._head)

    def _begin_file(self, head: Head) -> None:
        self._dropped = self._file_bytes = 0
        self._writer.broken = False
        streams = {
            name: StreamHead(
                setup=stream.setup,
                firings=dict(self._firings[name]),
                state=self._states.get(name),
                sources=list(self._up[name].values()),
            )
            for name, stream in head.streams.items()
        }
        self._writer.put(_Begin(msgspec.structs.replace(head, streams=streams)), 0)

    def _tell_lost(self) -> None:
        lost = self._writer.lost - self._lost_told
        self._lost_told += lost
        self._refusals.add("dropped.record", self._writer.why, lost)


@dataclass(frozen=True, slots=True)
class _Begin:
    """A file begins."""

    head: Head


class _Writer(threading.Thread):
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
        self._queue: deque[bytes | _Begin] = deque()
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

    def put(self, what: bytes | _Begin, size_bytes: int) -> None:
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
            if isinstance(what, _Begin):
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
                return _write_whole(file, data)
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


def _write_whole(file: BinaryIO, data: bytes) -> None:
    """All or nothing: what a full disk has cut off is taken back."""
    size = file.tell()
    try:
        written = 0
        while written < len(data):
            written += file.write(data[written:])
    except OSError:
        with suppress(OSError):
            file.truncate(size)
        raise

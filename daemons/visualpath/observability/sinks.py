"""Where records go: a file of JSON lines, or the console."""

from __future__ import annotations

import sys
import threading
from collections import deque
from pathlib import Path
from typing import Protocol

from visualpath.observability.lines import encode_line
from visualpath.observability.records import DroppedRecord, Stamped
from visualpath.observability.rotation import RotatingFile
from visualpath.observability.troubles import LoggedTroubles, Troubles

QUEUE_MAX = 10_000
"""Records that wait for the disk at most."""
BATCH_S = 0.1
"""So long records are collected, to be written together: half of the delay that is promised, 0.2 s."""
BATCH_MAX = 1000
RETRY_S = 1.0
CLOSE_S = 2.0
"""A disk that hangs holds up the end of a daemon no longer."""


class Sink(Protocol):
    """Takes what a hub keeps."""

    def write(self, stamped: Stamped) -> None:
        """Take one record, from any thread, without waiting; what it raises is counted by the hub."""

    def close(self) -> None:
        """Write what is left."""


class ConsoleSink:
    """One line on stderr for each record, for people."""

    def write(self, stamped: Stamped) -> None:
        """Show a record."""
        sys.stderr.write(f"{stamped}\n")

    def close(self) -> None:
        """Nothing is left."""


class FileSink:
    """A file of JSON lines that rotates, written by a thread of its own: a slow disk holds nobody up.

    The file is made with the first record. What the disk refuses is tried again every `RETRY_S`. While `QUEUE_MAX`
    records wait, further ones are dropped and counted; a record `dropped` then stands where they are missing.

    Args:
        path: the file; older ones are `path.1`, `path.2`, ...
        max_bytes: how large it becomes.
        keep: how many older ones there are.
        refusals: where troubles are told.

    Attributes:
        written: lines written so far.
    """

    def __init__(
        self, path: str | Path, max_bytes: int = 64 << 20, keep: int = 3, *, refusals: Troubles | None = None
    ) -> None:
        self.path = Path(path)
        self.written = 0
        self._file = RotatingFile(self.path, max_bytes, keep)
        self._refusals = refusals if refusals is not None else LoggedTroubles()
        self._queue: deque[Stamped] = deque()
        self._lines: list[bytes] = []
        self._dropped = 0
        self._some = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def write(self, stamped: Stamped) -> None:
        """Queue a record."""
        if len(self._queue) >= QUEUE_MAX:
            self._drop()
            return
        if self._dropped:
            self._tell_dropped(stamped)
        self._queue.append(stamped)
        if not self._some.is_set():
            self._wake()

    def close(self) -> None:
        """Write what is queued, if the disk takes it within `CLOSE_S`."""
        self._closing.set()
        self._some.set()
        if self._thread is not None:
            self._thread.join(CLOSE_S)
        left = len(self._lines) + len(self._queue)
        if left:
            self._refusals.add("dropped.trace", f"{self.path}: not written before the end", left)

    def _wake(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="trace", daemon=True)
                self._thread.start()
            self._some.set()

    def _drop(self) -> None:
        with self._lock:
            self._dropped += 1
            self._refusals.add("dropped.trace", f"{self.path}: the disk is slower than the trace")

    def _tell_dropped(self, following: Stamped) -> None:
        with self._lock:
            count, self._dropped = self._dropped, 0
            if count:
                missing = DroppedRecord(count, "queue_full")
                self._queue.append(Stamped(missing, following.mono_ns, following.wall_ns, following.daemon))

    # The thread that writes.

    def _run(self) -> None:
        closing = False
        while not closing:
            self._some.wait()
            closing = self._closing.wait(BATCH_S)
            self._some.clear()
            try:
                self._write_queued()
            except OSError as error:
                self._refusals.add("failed.trace", error)
                self._some.set()
                self._closing.wait(RETRY_S)

    def _write_queued(self) -> None:
        while self._lines or self._queue:
            if not self._lines:
                self._lines = self._encode_batch()
            while self._lines:
                count = self._file.append(self._lines)
                self.written += count
                del self._lines[:count]

    def _encode_batch(self) -> list[bytes]:
        lines: list[bytes] = []
        for _ in range(min(len(self._queue), BATCH_MAX)):
            stamped = self._queue.popleft()
            try:
                lines.append(encode_line(stamped))
            except Exception as error:  # a plug-in may have put anything into its signals
                self._refusals.add("failed.trace", f"{type(stamped.record).__name__}: {error}")
        return lines

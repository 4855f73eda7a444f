"""Triggers on their way to the clip daemon: at least once, whatever dies.

A thread of its own owns the database and the DEALER. Each trigger is on disk and synced before it is
sent for the first time, sent again with back-off until it is acknowledged, and sent anew after a restart.
What the disk refuses is sent all the same, and stored as soon as that can be.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from visualpath.core.errors import StorageError
from visualpath.core.stream_types import Firings
from visualpath.runtime.database import Database, is_damage
from visualpath.runtime.poll import Parts, PollLoop
from visualpath.runtime.service import Service
from visualpath_protocol.clock import NS_PER_MS, NS_PER_S
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.endpoints import CLIP, FUSION
from visualpath_protocol.errors import ProtocolError
from visualpath_protocol.messages import Ack, Trig
from visualpath_protocol.sockets import TRIGGERS

log = logging.getLogger(__name__)

BACKOFF_FIRST_NS = 250 * NS_PER_MS
BACKOFF_MAX_NS = 5_000 * NS_PER_MS
STORE_AGAIN_NS = NS_PER_S
MAX_PENDING = 10_000
IN_FLIGHT = 8
"""Sent at a time; below the socket's high-water mark."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    trig_id TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (trig_id, revision));
CREATE TABLE IF NOT EXISTS firings (
    stream TEXT NOT NULL, label TEXT NOT NULL, epoch INTEGER NOT NULL, t_end_ns INTEGER NOT NULL,
    PRIMARY KEY (stream, label));
"""

Key = tuple[str, int]


@dataclass
class _Pending:
    trig: Trig
    fired: bool = True
    stored: bool = True
    due_ns: int = 0
    backoff_ns: int = BACKOFF_FIRST_NS


def load_firings(path: Path, stream: str, counters: Counter[str] | None = None) -> Firings:
    """The last firing of each label of a stream, by (epoch, t_end_ns)."""
    with closing(Database(path, SCHEMA, counters)) as database:
        rows = database.execute("SELECT label, epoch, t_end_ns FROM firings WHERE stream = ?", (stream,))
        return {label: (epoch, t_end_ns) for label, epoch, t_end_ns in rows}


class Outbox(threading.Thread):
    """Keeps triggers until the clip daemon has them.

    Args:
        path: the database.
    """

    def __init__(self, path: Path, service: Service) -> None:
        super().__init__(name="outbox", daemon=True)
        self.failure: BaseException | None = None
        self._database = Database(path, SCHEMA, service.counters)
        self._path = path
        self._service = service
        self._counters: Counter[str] = service.counters
        self._codec = Codec(Ack, max_bytes=TRIGGERS.max_bytes)
        self._pending: dict[Key, _Pending] = {}
        self._undeleted: set[Key] = set()
        self._replaced = 0
        self._socket = service.connect(TRIGGERS, CLIP, identity=FUSION)
        self._loop = PollLoop()
        self._loop.watch(self._socket, self._on_parts)
        self._loop.on_tick(self._send_due, self._next_due)
        self._loop.every(STORE_AGAIN_NS, lambda _now: self._store_again())

    @property
    def pending(self) -> int:
        """How many triggers the clip daemon has not acknowledged."""
        return len(self._pending)

    def put(self, trig: Trig, *, fired: bool = True) -> None:
        """Take a trigger; one that was not `fired` by a decision leaves no cooldown. For the fusion loop's thread."""
        self._loop.call_soon(lambda: self._take(trig, fired))

    def stop(self) -> None:
        """Store what was put, then end. What is not acknowledged stays on disk."""
        self._loop.call_soon(self._loop.stop)
        if self.is_alive():
            self.join()
        self._loop.close()
        self._socket.close()  # its identity is free for the next outbox

    def run(self) -> None:
        """Thread body. A failure that is ours is kept in `failure` for the fusion loop to raise."""
        try:
            with closing(self._database):
                self._load()
                self._loop.run()
                self._store_again()
                self._tell_lost()
        except BaseException as error:  # raised again in the fusion loop's thread
            self.failure = error
            self._service.loop.wake()

    def _load(self) -> None:
        codec = Codec(Trig, max_bytes=TRIGGERS.max_bytes)
        try:
            rows = self._database.execute("SELECT * FROM outbox ORDER BY rowid")
        except sqlite3.Error as error:
            raise StorageError(f"cannot use {self._path}: {error}") from error
        for trig_id, revision, body in rows:
            try:
                self._pending[trig_id, revision] = _Pending(codec.decode(body), fired=False)
            except ProtocolError as error:
                self._counters["lost.trigger"] += 1
                log.error("stored trigger %s cannot be read and is lost: %s", trig_id, error)
                self._delete_row((trig_id, revision))
        if self._pending:
            log.info("%d triggers of an earlier run are still to be delivered", len(self._pending))

    def _take(self, trig: Trig, fired: bool) -> None:
        key = trig.trig_id, trig.revision
        if key in self._pending:
            return
        pending = _Pending(trig, fired, stored=False)
        error = self._store([pending])
        if error is not None and is_damage(error):
            error = self._store([pending])  # in a fresh file
        if error is None:
            log.info("%s: %s", trig, trig.reason)  # not before: what the log tells of survives a kill
        else:
            self._counters["outbox.not_stored"] += 1
            log.error("%s cannot be stored (%s): it is sent, but would not survive a crash", trig, error)
        self._pending[key] = pending
        if len(self._pending) > MAX_PENDING:
            self._forget_oldest()

    def _store(self, wanted: list[_Pending]) -> sqlite3.Error | None:
        """Commit triggers and, where a decision has fired them, the firings; returns why that cannot be."""
        try:
            with self._database:
                for pending in wanted:
                    self._write(pending)
        except sqlite3.Error as error:
            return error
        for pending in wanted:
            pending.stored = True
        return None

    def _write(self, pending: _Pending) -> None:
        trig = pending.trig
        row = trig.trig_id, trig.revision, encode(trig)
        self._database.execute("INSERT OR REPLACE INTO outbox VALUES (?, ?, ?)", row)
        if pending.fired:  # a later one may be stored already
            query = """INSERT INTO firings VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE
                SET epoch = excluded.epoch, t_end_ns = excluded.t_end_ns
                WHERE (excluded.epoch, excluded.t_end_ns) > (firings.epoch, firings.t_end_ns)"""
            self._database.execute(query, (trig.stream, trig.label, trig.epoch, trig.t_end_ns))

    def _store_again(self) -> None:
        """Try what the disk has refused; and all that waits, where a damaged file has been replaced."""
        with suppress(sqlite3.Error):  # a file that cannot be replaced yet is met again by what is stored
            self._database.look()
        if self._undeleted and self._remove(list(self._undeleted)) is not None:
            return
        if self._replaced != self._database.replaced:
            self._replaced = self._database.replaced
            for pending in self._pending.values():
                pending.stored = False
        missing = [pending for pending in self._pending.values() if not pending.stored]
        if missing and self._store(missing) is None:
            for pending in missing:
                log.info("%s is stored after all", pending.trig)

    def _tell_lost(self) -> None:
        """The end has come for what is only in memory."""
        for pending in self._pending.values():
            if not pending.stored:
                self._counters["lost.trigger"] += 1
                log.error("%s could not be stored, nor delivered before the end: it is lost", pending.trig)

    def _forget_oldest(self) -> None:
        oldest = next(iter(self._pending))
        self._counters["lost.trigger"] += 1
        log.error("outbox full: %s is lost", self._pending[oldest].trig)
        self._forget(oldest)

    def _forget(self, key: Key) -> None:
        if self._pending.pop(key).stored:
            self._delete_row(key)
        else:  # a disk that has refused it may have written it all the same
            self._delete_later(key)

    def _delete_row(self, key: Key) -> None:
        error = self._remove([key])
        if error is not None:
            self._delete_later(key)
            self._counters["outbox.not_deleted"] += 1
            log.error("%s cannot be deleted (%s): it would be sent once more after a restart", key[0], error)

    def _delete_later(self, key: Key) -> None:
        if len(self._undeleted) < MAX_PENDING:  # beyond that, what is left is sent again after a restart
            self._undeleted.add(key)

    def _remove(self, keys: list[Key]) -> sqlite3.Error | None:
        """Remove rows; returns why that cannot be."""
        try:
            with self._database:
                for key in keys:
                    self._database.execute("DELETE FROM outbox WHERE trig_id = ? AND revision = ?", key)
        except sqlite3.Error as error:
            return error
        self._undeleted.difference_update(keys)
        return None

    def _send_due(self, now: int) -> None:
        for pending in list(self._pending.values())[:IN_FLIGHT]:
            if pending.due_ns > now:
                continue
            if self._service.send(self._socket, pending.trig):
                self._counters["sent.trigger"] += 1
                pending.due_ns = now + pending.backoff_ns
                pending.backoff_ns = min(pending.backoff_ns * 2, BACKOFF_MAX_NS)
            else:  # nobody is there
                self._counters["waiting.trigger"] += 1
                pending.due_ns = now + BACKOFF_FIRST_NS

    def _next_due(self) -> int | None:
        return min((p.due_ns for p in list(self._pending.values())[:IN_FLIGHT]), default=None)

    def _on_parts(self, parts: Parts) -> None:
        ack = self._service.decode(self._codec, parts[-1], "ack")
        if ack is None or (ack.trig_id, ack.revision) not in self._pending:
            return
        self._counters[f"acked.{ack.result}"] += 1
        if ack.result in ("refused", "expired"):
            log.warning("%s", ack)
        self._forget((ack.trig_id, ack.revision))


def outbox_path(state_dir: Path) -> Path:
    """Where the outbox lies."""
    return state_dir / FUSION / "outbox.db"

"""What was asked and what became of it, in SQLite, durable at commit.

A trigger's row and what it asks of which clip are committed in one transaction, before its ACK. A clip is
`recording` until it is `saved` or `failed`; rows that a crash left `recording` are taken up again. A saved clip
whose files are or were deleted is `deleting` or `deleted`, and its row stays.

A clip's age is the time that the clip daemon has run since it was saved: the system's clock may be years off, and a
machine without a clock of its own begins each day in 1970.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from visualpath.clip.order import ClipOrder, root_of
from visualpath.runtime.database import Database
from visualpath_protocol.clock import NS_PER_S, mono_ns, wall_ns
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.errors import ProtocolError
from visualpath_protocol.messages import Trig
from visualpath_protocol.sockets import TRIGGERS

SCHEMA_VERSION = 3
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS clips (
    clip_id TEXT PRIMARY KEY, stream TEXT NOT NULL, epoch INTEGER NOT NULL, label TEXT NOT NULL,
    start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'recording',
    path TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '', sidecar TEXT NOT NULL DEFAULT '{{}}',
    size_bytes INTEGER NOT NULL DEFAULT 0, saved_ns INTEGER NOT NULL DEFAULT 0,
    h264 TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS clips_by_state ON clips (state, size_bytes);
CREATE INDEX IF NOT EXISTS clips_by_age ON clips (state, saved_ns);
CREATE INDEX IF NOT EXISTS clips_by_h264 ON clips (h264);
CREATE TABLE IF NOT EXISTS triggers (
    trig_id TEXT NOT NULL, revision INTEGER NOT NULL, clip_id TEXT NOT NULL, body BLOB NOT NULL,
    received_wall_ns INTEGER NOT NULL, PRIMARY KEY (trig_id, revision));
CREATE INDEX IF NOT EXISTS triggers_by_clip ON triggers (clip_id);
CREATE TABLE IF NOT EXISTS outcomes (seq INTEGER PRIMARY KEY, clip_id TEXT NOT NULL, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS clock (one INTEGER PRIMARY KEY, ran_ns INTEGER NOT NULL);
PRAGMA user_version = {SCHEMA_VERSION};
"""

log = logging.getLogger(__name__)

LedgerError = sqlite3.Error
"""What the methods raise when the disk says no."""

ORDER_COLUMNS = "clip_id, stream, epoch, label, start_ns, end_ns"
LONGEST_NS = 100 * 365 * 86_400 * NS_PER_S
"""No daemon has run for longer: a clock that says so was changed by the disk, and would make all clips old."""
CLIP_COLUMNS = ("clip_id", "stream", "epoch", "label", "state", "path", "why", "h264", "sidecar")


FoundClip = tuple[ClipOrder, str, dict[str, Any], int, str]
"""What was asked for, and as for `Ledger.saved`: path, sidecar, bytes, H.264."""


@dataclass(frozen=True)
class SavedClip:
    """A clip on disk: its path below the clips folder, its bytes, sidecar and poster included, and its `now_ns`."""

    clip_id: str
    path: str
    size_bytes: int
    saved_ns: int


class Ledger:
    """The clip daemon's memory.

    Args:
        path: the database.
        counters: see `Database`.

    Raises:
        LedgerError: it cannot be opened, or another version has made it.
    """

    def __init__(self, path: Path, counters: Counter[str] | None = None) -> None:
        self._database = Database(path, SCHEMA, counters, partial(_migrate, path))
        rows = self._database.execute("SELECT ran_ns FROM clock WHERE ran_ns BETWEEN 0 AND ?", (LONGEST_NS,))
        self._began_ns = mono_ns() - (rows[0][0] if rows else 0)
        self._codec = Codec(Trig, max_bytes=TRIGGERS.max_bytes)
        with self._database:  # a clock that was lost has begun anew: these would stay for years, or go at once
            query = "UPDATE clips SET saved_ns = :now WHERE state = 'saved' AND saved_ns NOT BETWEEN 0 AND :now"
            self._database.execute(query, {"now": self.now_ns()})

    @property
    def replaced(self) -> int:
        """How often the file was damaged, and what could be read of it saved over into a fresh one."""
        return self._database.replaced

    def look(self) -> None:
        """See `Database.look`."""
        self._database.look()

    def now_ns(self) -> int:
        """How long the clip daemon has run since the ledger was made, over all its restarts."""
        return mono_ns() - self._began_ns

    def keep_time(self) -> None:
        """Remember `now_ns` for the next run."""
        with self._database:
            self._keep_time(self.now_ns())

    def _keep_time(self, now_ns: int) -> None:
        self._database.execute("INSERT OR REPLACE INTO clock VALUES (1, ?)", (now_ns,))

    def knows(self, trig_id: str, revision: int) -> bool:
        """Whether this revision of this trigger was committed before."""
        query = "SELECT 1 FROM triggers WHERE trig_id = ? AND revision = ?"
        return bool(self._database.execute(query, (trig_id, revision)))

    def clip_of(self, trig_id: str) -> ClipOrder | None:
        """The clip of a trigger's newest revision."""
        query = f"""SELECT {ORDER_COLUMNS} FROM clips WHERE clip_id =
            (SELECT clip_id FROM triggers WHERE trig_id = ? ORDER BY revision DESC LIMIT 1)"""  # noqa: S608
        rows = self._database.execute(query, (trig_id,))
        return self._order(rows[0]) if rows else None

    def accept(self, trig: Trig, order: ClipOrder) -> bool:
        """Commit a trigger, and the clip it belongs to as that is asked for with it; True if it is the clip's first."""
        with self._database:
            self._database.execute("INSERT INTO triggers VALUES (?, ?, ?, ?, ?)", _trigger_row(trig, order.clip_id))
            return self._ask(order)

    def restore(self, order: ClipOrder) -> None:
        """A clip and its triggers that a damaged ledger may have lost; what it has stays as it is."""
        with self._database:
            self._restore(order)

    def _restore(self, order: ClipOrder) -> None:
        self._ask(order)
        query = "INSERT OR IGNORE INTO triggers VALUES (?, ?, ?, ?, ?)"
        for trig in order.triggers:
            self._database.execute(query, _trigger_row(trig, root_of(order.clip_id)))

    def has_clip(self, clip_id: str) -> bool:
        """Whether it was asked for, whatever became of it."""
        return bool(self._database.execute("SELECT 1 FROM clips WHERE clip_id = ?", (clip_id,)))

    def ask(self, rest: ClipOrder) -> bool:
        """A clip had to end early: `rest` follows it; False if that is known."""
        with self._database:
            return self._ask(rest)

    def _ask(self, order: ClipOrder) -> bool:
        """Only what is still recording grows."""
        query = "UPDATE clips SET start_ns = ?, end_ns = ? WHERE clip_id = ? AND state = 'recording'"
        self._database.execute(query, (*order.asked, order.clip_id))
        query = """INSERT OR IGNORE INTO clips (clip_id, stream, epoch, label, start_ns, end_ns)
            VALUES (?, ?, ?, ?, ?, ?) RETURNING clip_id"""
        row = order.clip_id, order.stream, order.epoch, order.label, *order.asked
        return bool(self._database.execute(query, row))

    def waiting(self, clip_id: str, why: str) -> None:
        """The clip cannot be made at present."""
        with self._database:
            query = "UPDATE clips SET why = ? WHERE clip_id = ? AND state = 'recording'"
            self._database.execute(query, (f"waiting: {why}", clip_id))

    def saved(self, order: ClipOrder, path: str, sidecar: dict[str, Any], size_bytes: int, h264: str) -> None:
        """The clip lies on disk under `path`; `h264`: `wanted`, `done`, `failed: why`, or nothing if not wanted."""
        with self._database:
            self._restore(order)
            self._note_outcome(order.clip_id, "saved")
            self._save(order.clip_id, path, sidecar, size_bytes, h264)

    def h264_done(self, clip_id: str, path: str, sidecar: dict[str, Any], size_bytes: int) -> None:
        """The clip on disk has become H.264."""
        with self._database:
            self._save(clip_id, path, sidecar, size_bytes, "done")

    def found(self, clips: Iterable[FoundClip]) -> None:
        """Clips that lie on disk, newest first: older than all that is known, and no outcome that anybody waits for."""
        query = """INSERT OR IGNORE INTO clips (rowid, clip_id, stream, epoch, label, start_ns, end_ns, state, path,
            sidecar, size_bytes, saved_ns, h264) SELECT coalesce(min(rowid), 1) - 1, ?, ?, ?, ?, ?, ?, 'saved', ?,
            ?, ?, ?, ? FROM clips"""
        trigger_query = """INSERT OR IGNORE INTO triggers (rowid, trig_id, revision, clip_id, body, received_wall_ns)
            SELECT coalesce(min(rowid), 1) - 1, ?, ?, ?, ?, ? FROM triggers"""
        with self._database:
            for order, path, sidecar, size_bytes, h264 in clips:
                asked = order.clip_id, order.stream, order.epoch, order.label, *order.asked
                row = *asked, path, json.dumps(sidecar), size_bytes, self.now_ns(), h264
                self._database.execute(query, row)
                for trig in reversed(order.triggers):
                    self._database.execute(trigger_query, _trigger_row(trig, root_of(order.clip_id)))

    def _save(self, clip_id: str, path: str, sidecar: dict[str, Any], size_bytes: int, h264: str) -> None:
        now_ns = self.now_ns()
        self._keep_time(now_ns)
        self._database.execute(
            "UPDATE clips SET state = 'saved', path = ?, why = '', sidecar = ?, size_bytes = ?, h264 = ?,"
            " saved_ns = CASE saved_ns WHEN 0 THEN ? ELSE saved_ns END WHERE clip_id = ?",
            (path, json.dumps(sidecar), size_bytes, h264, now_ns, clip_id),
        )

    def failed(self, order: ClipOrder, why: str) -> None:
        """There will be no clip."""
        with self._database:
            self._restore(order)
            self._fail(order.clip_id, why)

    def _fail(self, clip_id: str, why: str) -> None:
        self._note_outcome(clip_id, "failed")
        self._end(clip_id, "failed", why)

    def _note_outcome(self, clip_id: str, state: str) -> None:
        """The first outcome of a clip has a number above all before it: the time, so that a fresh ledger goes on."""
        query = """INSERT INTO outcomes SELECT max(?, 1 + (SELECT coalesce(max(seq), 0) FROM outcomes)), clip_id, ?
            FROM clips WHERE clip_id = ? AND state = 'recording'"""
        self._database.execute(query, (wall_ns(), state, clip_id))

    def deleting(self, clip_id: str, why: str) -> None:
        """The clip's files are about to be deleted."""
        self._end(clip_id, "deleting", why)

    def deleted(self, clip_id: str, why: str) -> None:
        """The clip's files are gone."""
        self._end(clip_id, "deleted", why)

    def kept(self, clip_id: str) -> None:
        """The clip's files could not be deleted."""
        with self._database:
            query = "UPDATE clips SET state = 'saved', why = '' WHERE clip_id = ? AND state = 'deleting'"
            self._database.execute(query, (clip_id,))

    def h264_failed(self, clip_id: str, why: str) -> None:
        """The clip stays what it is."""
        with self._database:
            query = "UPDATE clips SET h264 = ? WHERE clip_id = ?"
            self._database.execute(query, (f"failed: {why}", clip_id))

    def _end(self, clip_id: str, state: str, why: str) -> None:
        with self._database:
            query = "UPDATE clips SET state = ?, why = ?, h264 = '' WHERE clip_id = ?"
            self._database.execute(query, (state, why, clip_id))

    def unfinished(self) -> list[ClipOrder]:
        """The clips that a crash interrupted, in the order they began; rows that cannot be read fail."""
        query = f"SELECT {ORDER_COLUMNS} FROM clips WHERE state = 'recording' ORDER BY rowid"  # noqa: S608
        orders = (self._order(row) for row in self._database.execute(query))
        return [order for order in orders if order is not None]

    def next_for_h264(self) -> SavedClip | None:
        """The oldest clip that is to become H.264."""
        return next(iter(self._saved("h264 = 'wanted'", 1)), None)

    def oldest_saved(self, limit: int) -> list[SavedClip]:
        """The clips on disk, in the order they were asked for."""
        return self._saved("state = 'saved'", limit)

    def saved_before(self, then_ns: int, limit: int) -> list[SavedClip]:
        """The clips on disk that are older than that."""
        query = """SELECT clip_id, path, size_bytes, saved_ns FROM clips
            WHERE state = 'saved' AND saved_ns < ? ORDER BY saved_ns LIMIT ?"""
        return [SavedClip(*row) for row in self._database.execute(query, (then_ns, limit))]

    def interrupted_deletions(self) -> list[tuple[SavedClip, str]]:
        """The clips that were being deleted, and why."""
        query = "SELECT clip_id, path, size_bytes, saved_ns, why FROM clips WHERE state = 'deleting'"
        return [(SavedClip(*row[:-1]), row[-1]) for row in self._database.execute(query)]

    def saved_bytes(self) -> int:
        """All clips on disk together."""
        query = "SELECT coalesce(sum(size_bytes), 0) FROM clips WHERE state = 'saved'"
        return int(self._database.execute(query)[0][0])

    def triggers(self, limit: int) -> list[Trig]:
        """The newest triggers, newest revision of each, in the order they came."""
        query = """SELECT body FROM triggers AS this WHERE NOT EXISTS
            (SELECT 1 FROM triggers WHERE trig_id = this.trig_id AND revision > this.revision)
            ORDER BY rowid DESC LIMIT ?"""
        rows = self._database.execute(query, (limit,))
        return [trig for (body,) in reversed(rows) if (trig := self._readable(body)) is not None]

    def last_outcome(self) -> int:
        """The number of the newest outcome of a clip; 0 if there is none."""
        return int(self._database.execute("SELECT coalesce(max(seq), 0) FROM outcomes")[0][0])

    def outcomes_after(self, seq: int, limit: int) -> list[dict[str, Any]]:
        """What became of clips after the outcome `seq`, in the order it did."""
        query = """SELECT seq, outcomes.state, clip_id, stream, epoch, label, path, why FROM outcomes
            JOIN clips USING (clip_id) WHERE seq > ? ORDER BY seq LIMIT ?"""
        names = ("seq", "state", "clip_id", "stream", "epoch", "label", "path", "why")
        return [dict(zip(names, row, strict=True)) for row in self._database.execute(query, (seq, limit))]

    def clips(self, limit: int, wanted: str = "") -> list[dict[str, Any]]:
        """The newest clips, oldest first: CLIP_COLUMNS, `trig_ids`, `asked`, and the sidecar's content.

        Args:
            limit: how many, at most.
            wanted: beginning of the id of a clip or of one of its triggers.
        """
        query = f"""
            SELECT {", ".join(CLIP_COLUMNS)}, start_ns, end_ns FROM clips
            WHERE substr(clip_id, 1, ?) = ? OR clip_id IN (SELECT clip_id FROM triggers WHERE substr(trig_id, 1, ?) = ?)
            ORDER BY rowid DESC LIMIT ?"""  # noqa: S608
        size = len(wanted)
        rows = self._database.execute(query, (size, wanted, size, wanted, limit))
        return [self._clip(row) for row in reversed(rows)]

    def close(self) -> None:
        """Give the database back."""
        with suppress(LedgerError):  # the next run takes the clips for younger
            self.keep_time()
        self._database.close()

    def _clip(self, row: tuple[Any, ...]) -> dict[str, Any]:
        clip = dict(zip(CLIP_COLUMNS, row, strict=False))
        trig_ids = [trig_id for trig_id, _, _ in self._triggers_of(clip["clip_id"])]
        return {**clip, "trig_ids": trig_ids, "asked": list(row[-2:]), "sidecar": _content(clip["sidecar"])}

    def _readable(self, body: bytes) -> Trig | None:
        """The TRIG of a row that a bad disk may have changed."""
        try:
            return self._codec.decode(body)
        except ProtocolError as error:
            log.warning("a trigger in the ledger cannot be read: %s", error)
            return None

    def _saved(self, condition: str, limit: int) -> list[SavedClip]:
        query = f"""SELECT clip_id, path, size_bytes, saved_ns FROM clips
            WHERE {condition} ORDER BY rowid LIMIT ?"""  # noqa: S608
        return [SavedClip(*row) for row in self._database.execute(query, (limit,))]

    def _order(self, row: tuple[Any, ...]) -> ClipOrder | None:
        clip_id, stream, epoch, label, start_ns, end_ns = row
        readable = (self._readable(body) for _, body, _ in self._triggers_of(clip_id))
        triggers = tuple(trig for trig in readable if trig is not None)
        if not triggers:  # what is to be recorded is known all the same
            stand_in = Trig(
                trig_id=clip_id[:16], stream=stream, epoch=epoch, label=label, reason="lost in the ledger",
                score=0.0, frame_id=0, t_start_ns=max(0, start_ns), t_end_ns=end_ns,
            )  # fmt: skip
            try:
                triggers = (self._codec.decode(encode(stand_in)),)
            except ProtocolError as error:
                with self._database:
                    self._fail(clip_id, f"its row in the ledger cannot be read: {error}")
                return None
        return ClipOrder(clip_id=clip_id, stream=stream, epoch=epoch, asked=(start_ns, end_ns), triggers=triggers)

    def _triggers_of(self, clip_id: str) -> list[tuple[str, bytes, int]]:
        """The id and newest revision of each trigger, in the order they came; of a rest, those of what it goes on from.

        Those are its root and the root's rests up to its own frame.
        """
        query = """SELECT trig_id, body, max(revision) FROM triggers WHERE clip_id = :root
            OR (clip_id BETWEEN :root || '-f0' AND :root || '-f9:'
                AND CAST(substr(clip_id, :at) AS INTEGER) <= CAST(substr(:own, :at) AS INTEGER))
            GROUP BY trig_id ORDER BY min(rowid)"""
        root = root_of(clip_id)
        return self._database.execute(query, {"root": root, "own": clip_id, "at": len(root) + 3})


def _content(sidecar: str) -> Any:
    try:
        return json.loads(sidecar)
    except ValueError:  # the file beside the clip is what counts
        return {}


def _trigger_row(trig: Trig, clip_id: str) -> tuple[str, int, str, bytes, int]:
    return trig.trig_id, trig.revision, clip_id, encode(trig), wall_ns()


def _migrate(path: Path, database: sqlite3.Connection) -> None:
    """Take over the ledger of version 2, whose clips have the time of the system's clock: their age begins anew.

    Raises:
        LedgerError: it is of another version, or cannot be read.
    """
    [(version,)] = database.execute("PRAGMA user_version").fetchall()
    if version == SCHEMA_VERSION or database.execute("SELECT 1 FROM sqlite_master").fetchone() is None:
        return
    if version != 2:
        raise LedgerError(f"{path} was made by another version of visualpath: move it away; the clips stay")
    with database:
        database.execute("BEGIN")  # Python would begin at the UPDATE
        database.execute("ALTER TABLE clips RENAME COLUMN saved_wall_ns TO saved_ns")
        database.execute("UPDATE clips SET saved_ns = 1 WHERE saved_ns > 0")
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

"""What was asked and what became of it, in SQLite, durable at commit.

A trigger's row and what it asks of which clip are committed in one transaction, before its ACK. A clip is
`recording` until it is `saved` or `failed`; rows that a crash left `recording` are taken up again. A saved clip
whose files are or were deleted is `deleting` or `deleted`, and its row stays.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visualpath.clip.order import ClipOrder, root_of
from visualpath.runtime.database import open_database
from visualpath_protocol.clock import wall_ns
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.errors import ProtocolError
from visualpath_protocol.messages import Trig
from visualpath_protocol.sockets import TRIGGERS

SCHEMA_VERSION = 2
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS clips (
    clip_id TEXT PRIMARY KEY, stream TEXT NOT NULL, epoch INTEGER NOT NULL, label TEXT NOT NULL,
    start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'recording',
    path TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '', sidecar TEXT NOT NULL DEFAULT '{{}}',
    size_bytes INTEGER NOT NULL DEFAULT 0, saved_wall_ns INTEGER NOT NULL DEFAULT 0,
    h264 TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS clips_by_state ON clips (state, size_bytes);
CREATE INDEX IF NOT EXISTS clips_by_age ON clips (state, saved_wall_ns);
CREATE INDEX IF NOT EXISTS clips_by_h264 ON clips (h264);
CREATE TABLE IF NOT EXISTS triggers (
    trig_id TEXT NOT NULL, revision INTEGER NOT NULL, clip_id TEXT NOT NULL, body BLOB NOT NULL,
    received_wall_ns INTEGER NOT NULL, PRIMARY KEY (trig_id, revision));
CREATE INDEX IF NOT EXISTS triggers_by_clip ON triggers (clip_id);
PRAGMA user_version = {SCHEMA_VERSION};
"""

LedgerError = sqlite3.Error
"""What the methods raise when the disk says no."""

ORDER_COLUMNS = "clip_id, stream, epoch, start_ns, end_ns"
CLIP_COLUMNS = ("clip_id", "stream", "epoch", "label", "state", "path", "why", "h264", "sidecar")


@dataclass(frozen=True)
class SavedClip:
    """A clip on disk: its path below the clips folder, its bytes, sidecar and poster included."""

    clip_id: str
    path: str
    size_bytes: int
    saved_wall_ns: int


class Ledger:
    """The clip daemon's memory.

    Raises:
        LedgerError: it cannot be opened, or another version has made it.
    """

    def __init__(self, path: Path) -> None:
        self._database = open_database(path, "")
        (version,) = self._database.execute("PRAGMA user_version").fetchone()
        made = self._database.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
        if made and version != SCHEMA_VERSION:
            self._database.close()
            raise LedgerError(f"{path} was made by another version of visualpath: move it away; the clips stay")
        self._database.executescript(SCHEMA)
        self._codec = Codec(Trig, max_bytes=TRIGGERS.max_bytes)

    def knows(self, trig_id: str, revision: int) -> bool:
        """Whether this revision of this trigger was committed before."""
        query = "SELECT 1 FROM triggers WHERE trig_id = ? AND revision = ?"
        return self._database.execute(query, (trig_id, revision)).fetchone() is not None

    def clip_of(self, trig_id: str) -> ClipOrder | None:
        """The clip of a trigger's newest revision."""
        query = f"""SELECT {ORDER_COLUMNS} FROM clips WHERE clip_id =
            (SELECT clip_id FROM triggers WHERE trig_id = ? ORDER BY revision DESC LIMIT 1)"""  # noqa: S608
        row = self._database.execute(query, (trig_id,)).fetchone()
        return None if row is None else self._order(row)

    def accept(self, trig: Trig, order: ClipOrder) -> bool:
        """Commit a trigger, and the clip it belongs to as that is asked for with it; True if it is the clip's first."""
        with self._database:
            row = trig.trig_id, trig.revision, order.clip_id, encode(trig), wall_ns()
            self._database.execute("INSERT INTO triggers VALUES (?, ?, ?, ?, ?)", row)
            return self._ask(order)

    def ask(self, rest: ClipOrder) -> bool:
        """A clip had to end early: `rest` follows it; False if that is known."""
        with self._database:
            return self._ask(rest)

    def _ask(self, order: ClipOrder) -> bool:
        """Only what is still recording grows."""
        query = "UPDATE clips SET start_ns = ?, end_ns = ? WHERE clip_id = ? AND state = 'recording'"
        self._database.execute(query, (*order.asked, order.clip_id))
        query = """INSERT OR IGNORE INTO clips (clip_id, stream, epoch, label, start_ns, end_ns)
            VALUES (?, ?, ?, ?, ?, ?)"""
        row = order.clip_id, order.stream, order.epoch, order.label, *order.asked
        return self._database.execute(query, row).rowcount == 1

    def waiting(self, clip_id: str, why: str) -> None:
        """The clip cannot be made at present."""
        with self._database:
            query = "UPDATE clips SET why = ? WHERE clip_id = ? AND state = 'recording'"
            self._database.execute(query, (f"waiting: {why}", clip_id))

    def saved(self, clip_id: str, path: str, sidecar: dict[str, Any], size_bytes: int, h264: str) -> None:
        """The clip lies on disk under `path`; `h264`: `wanted`, `done`, `failed: why`, or nothing if not wanted."""
        with self._database:
            self._database.execute(
                "UPDATE clips SET state = 'saved', path = ?, why = '', sidecar = ?, size_bytes = ?, h264 = ?,"
                " saved_wall_ns = CASE saved_wall_ns WHEN 0 THEN ? ELSE saved_wall_ns END WHERE clip_id = ?",
                (path, json.dumps(sidecar), size_bytes, h264, wall_ns(), clip_id),
            )

    def failed(self, clip_id: str, why: str) -> None:
        """There will be no clip."""
        self._end(clip_id, "failed", why)

    def deleting(self, clip_id: str, why: str) -> None:
        """The clip's files are about to be deleted."""
        self._end(clip_id, "deleting", why)

    def deleted(self, clip_id: str, why: str) -> None:
        """The clip's files are gone."""
        self._end(clip_id, "deleted", why)

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
        orders = (self._order(row) for row in self._database.execute(query).fetchall())
        return [order for order in orders if order is not None]

    def next_for_h264(self) -> SavedClip | None:
        """The oldest clip that is to become H.264."""
        return next(iter(self._saved("h264 = 'wanted'", 1)), None)

    def oldest_saved(self, limit: int) -> list[SavedClip]:
        """The clips on disk, in the order they were asked for."""
        return self._saved("state = 'saved'", limit)

    def saved_before(self, wall_ns: int, limit: int) -> list[SavedClip]:
        """The clips on disk that are older than that, whatever a clock that stood wrong has written into others."""
        query = """SELECT clip_id, path, size_bytes, saved_wall_ns FROM clips
            WHERE state = 'saved' AND saved_wall_ns < ? ORDER BY saved_wall_ns LIMIT ?"""
        return [SavedClip(*row) for row in self._database.execute(query, (wall_ns, limit))]

    def interrupted_deletions(self) -> list[tuple[SavedClip, str]]:
        """The clips that were being deleted, and why."""
        query = "SELECT clip_id, path, size_bytes, saved_wall_ns, why FROM clips WHERE state = 'deleting'"
        return [(SavedClip(*row[:-1]), row[-1]) for row in self._database.execute(query).fetchall()]

    def saved_bytes(self) -> int:
        """All clips on disk together."""
        query = "SELECT coalesce(sum(size_bytes), 0) FROM clips WHERE state = 'saved'"
        return int(self._database.execute(query).fetchone()[0])

    def triggers(self, limit: int) -> list[Trig]:
        """The newest triggers, newest revision of each, in the order they came."""
        query = """SELECT body FROM triggers AS this WHERE NOT EXISTS
            (SELECT 1 FROM triggers WHERE trig_id = this.trig_id AND revision > this.revision)
            ORDER BY rowid DESC LIMIT ?"""
        rows = self._database.execute(query, (limit,)).fetchall()
        return [self._codec.decode(body) for (body,) in reversed(rows)]

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
        rows = self._database.execute(query, (size, wanted, size, wanted, limit)).fetchall()
        return [self._clip(row) for row in reversed(rows)]

    def close(self) -> None:
        """Give the database back."""
        self._database.close()

    def _clip(self, row: tuple[Any, ...]) -> dict[str, Any]:
        clip = dict(zip(CLIP_COLUMNS, row, strict=False))
        trig_ids = [trig_id for trig_id, _, _ in self._triggers_of(clip["clip_id"])]
        return {**clip, "trig_ids": trig_ids, "asked": list(row[-2:]), "sidecar": json.loads(clip["sidecar"])}

    def _saved(self, condition: str, limit: int) -> list[SavedClip]:
        query = f"""SELECT clip_id, path, size_bytes, saved_wall_ns FROM clips
            WHERE {condition} ORDER BY rowid LIMIT ?"""  # noqa: S608
        return [SavedClip(*row) for row in self._database.execute(query, (limit,))]

    def _order(self, row: tuple[Any, ...]) -> ClipOrder | None:
        clip_id, stream, epoch, start_ns, end_ns = row
        try:
            triggers = tuple(self._codec.decode(body) for _, body, _ in self._triggers_of(clip_id))
        except ProtocolError as error:
            self.failed(clip_id, f"its row in the ledger cannot be read: {error}")
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
        return self._database.execute(query, {"root": root, "own": clip_id, "at": len(root) + 3}).fetchall()

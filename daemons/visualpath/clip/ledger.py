"""What was asked and what became of it, in SQLite, durable at commit.

A trigger's row (trig_id, revision) is committed before its ACK. A clip is `recording` until it is
`saved` or `failed`; rows that a crash left `recording` are taken up again.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

from visualpath.runtime.database import open_database
from visualpath_protocol.clock import wall_ns
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.errors import ProtocolError
from visualpath_protocol.messages import Trig
from visualpath_protocol.sockets import TRIGGERS

SCHEMA = """
CREATE TABLE IF NOT EXISTS triggers (
    trig_id TEXT NOT NULL, revision INTEGER NOT NULL, body BLOB NOT NULL, received_wall_ns INTEGER NOT NULL,
    PRIMARY KEY (trig_id, revision));
CREATE TABLE IF NOT EXISTS clips (
    trig_id TEXT PRIMARY KEY, stream TEXT NOT NULL, label TEXT NOT NULL, state TEXT NOT NULL,
    path TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '', sidecar TEXT NOT NULL DEFAULT '{}');
CREATE INDEX IF NOT EXISTS clips_by_state ON clips (state);
"""


class Ledger:
    """The clip daemon's memory."""

    def __init__(self, path: Path) -> None:
        self._database = open_database(path, SCHEMA)
        self._codec = Codec(Trig, max_bytes=TRIGGERS.max_bytes)

    def knows(self, trig_id: str, revision: int) -> bool:
        """Whether this revision of this trigger was committed before."""
        query = "SELECT 1 FROM triggers WHERE trig_id = ? AND revision = ?"
        return self._database.execute(query, (trig_id, revision)).fetchone() is not None

    def accept(self, trig: Trig) -> bool:
        """Commit a trigger; True if it is the first of its id, so that a clip must be made."""
        with self._database:
            row = trig.trig_id, trig.revision, encode(trig), wall_ns()
            self._database.execute("INSERT INTO triggers VALUES (?, ?, ?, ?)", row)
            query = "INSERT OR IGNORE INTO clips (trig_id, stream, label, state) VALUES (?, ?, ?, 'recording')"
            return self._database.execute(query, (trig.trig_id, trig.stream, trig.label)).rowcount == 1

    def saved(self, trig_id: str, path: str, sidecar: dict[str, Any]) -> None:
        """The clip lies on disk under `path`."""
        self._finish("saved", path, "", sidecar, trig_id)

    def failed(self, trig_id: str, why: str) -> None:
        """There will be no clip."""
        self._finish("failed", "", why, {}, trig_id)

    def _finish(self, state: str, path: str, why: str, sidecar: dict[str, Any], trig_id: str) -> None:
        with self._database:
            self._database.execute(
                "UPDATE clips SET state = ?, path = ?, why = ?, sidecar = ? WHERE trig_id = ?",
                (state, path, why, json.dumps(sidecar), trig_id),
            )

    def unfinished(self) -> list[Trig]:
        """The newest revision of each trigger whose clip a crash interrupted; rows that cannot be read fail."""
        query = """
            SELECT trig_id, body, max(revision) FROM triggers JOIN clips USING (trig_id)
            WHERE state = 'recording' GROUP BY trig_id ORDER BY received_wall_ns"""
        found: list[Trig] = []
        for trig_id, body, _ in self._database.execute(query).fetchall():
            try:
                found.append(self._codec.decode(body))
            except ProtocolError as error:
                self.failed(trig_id, f"its row in the ledger cannot be read: {error}")
        return found

    def triggers(self, limit: int) -> list[Trig]:
        """The newest triggers, newest revision of each, in the order they came."""
        query = "SELECT body, max(revision) FROM triggers GROUP BY trig_id ORDER BY max(rowid) DESC LIMIT ?"
        rows = self._database.execute(query, (limit,)).fetchall()
        return [self._codec.decode(body) for body, _ in reversed(rows)]

    def clips(self, limit: int) -> list[dict[str, Any]]:
        """The newest clips, oldest first: trig_id, stream, label, state, path, why, and the sidecar's content."""
        query = "SELECT trig_id, stream, label, state, path, why, sidecar FROM clips ORDER BY rowid DESC LIMIT ?"
        names = ("trig_id", "stream", "label", "state", "path", "why", "sidecar")
        rows = [dict(zip(names, row, strict=True)) for row in self._database.execute(query, (limit,))]
        return [{**row, "sidecar": json.loads(row["sidecar"])} for row in reversed(rows)]

    def close(self) -> None:
        """Give the database back."""
        self._database.close()


LedgerError = sqlite3.Error
"""What the methods raise when the disk says no."""

"""SQLite as the daemons use it: durable at commit."""

from __future__ import annotations

import sqlite3
from pathlib import Path

CACHE_KIB = 256
"""Of pages kept in memory. SQLite's own 2 MiB fill within some thousand rows, which looks like a leak."""


def open_database(path: Path, schema: str) -> sqlite3.Connection:
    """Open (or make) a database whose commits survive a power cut. `schema` is run each time: CREATE IF NOT EXISTS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=10.0)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    connection.executescript(schema)
    return connection

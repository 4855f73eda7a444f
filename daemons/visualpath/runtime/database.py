"""SQLite as the daemons use it: durable at commit, opened again after a failure, replaced when it is damaged."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from visualpath.runtime.files import sync_dir
from visualpath_protocol.clock import NS_PER_S, mono_ns, rfc3339, wall_ns

log = logging.getLogger(__name__)

CACHE_KIB = 256
"""Of pages kept in memory. SQLite's own 2 MiB fill within some thousand rows, which looks like a leak."""
DAMAGED_KEPT = 3
"""Damaged files that are kept, the newest; a dying disk is not to be filled with them."""
FULL = "database or disk is full"
BUSY_S = 1.0
"""For a lock that somebody else holds, who has no business here: the loop stands still for so long."""
REPLACE_AGAIN_NS = 5 * NS_PER_S
"""After a damaged file could not be replaced: all of it is read for that, and the loop stands still."""
MAGIC = b"SQLite format 3\0"
"""How each file begins."""
BESIDE = ("-wal", "-shm")
"""What SQLite keeps beside a database; it would take that of an older file for the newer one's."""

Row = tuple[Any, ...]


class Database:
    """One file, for one thread. Every method may raise sqlite3.Error: the disk refuses.

    A connection that has failed is not used again, but for a full disk: the next statement opens another, so that a
    disk that comes back is taken. A file that turns out to be damaged is moved aside first, and a fresh one takes its
    place with the rows that can be read.

    Args:
        path: the file.
        schema: run at each opening, so CREATE IF NOT EXISTS; a row is saved over if it has the types that it names.
        counters: `damaged.<name of the file>` counts there.
        migrate: run before the schema; what it raises refuses the file.

    Attributes:
        replaced: how often the file was damaged.
    """

    def __init__(
        self,
        path: Path,
        schema: str,
        counters: Counter[str] | None = None,
        migrate: Callable[[sqlite3.Connection], None] = lambda _connection: None,
    ) -> None:
        self.replaced = 0
        self._path = path
        self._fresh = path.with_name(f"{path.name}.fresh")
        self._schema = schema
        self._migrate = migrate
        self._counters: Counter[str] = Counter() if counters is None else counters
        self._connection: sqlite3.Connection | None = None
        self._damage = ""
        self._inode = 0
        self._replace_at_ns = 0

    def execute(self, query: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> list[Row]:
        """Run one statement; returns its rows. The first of a block that meets damage is done in the fresh file."""
        is_first = self._connection is None or not self._connection.in_transaction
        try:
            return self._run(query, parameters)
        except sqlite3.DatabaseError as error:
            if not (is_first and is_damage(error)):
                raise
        return self._run(query, parameters)

    def _run(self, query: str, parameters: Sequence[Any] | dict[str, Any]) -> list[Row]:
        if self._connection is None:
            self._connection = self._open()
        try:
            return self._connection.execute(query, parameters).fetchall()
        except sqlite3.Error as error:
            self._note(error)
            raise

    def __enter__(self) -> None:
        """What is written within the block is committed at its end, or not at all."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is None:  # it has failed within the block, and nothing of that is left
            return
        try:
            self._connection.__exit__(kind, error, trace)
        except sqlite3.Error as failure:
            self._note(failure)
            raise

    def look(self) -> None:
        """Notice a file that is gone or garbage, which SQLite itself does not while it finds all it needs in its cache.

        A crash would lose what was committed since. Call it now and then.
        """
        if self._connection is None or self._connection.in_transaction:
            return
        try:
            with self._path.open("rb") as file:
                inode, head = os.fstat(file.fileno()).st_ino, file.read(len(MAGIC))
        except FileNotFoundError:
            inode, head = 0, b""
        except OSError:  # the next statement meets it, too
            return
        if inode == self._inode and head == MAGIC:
            return
        self._damage = "it is gone" if not inode else "it is not what it was"
        self.close()
        self.execute("SELECT 1")

    def close(self) -> None:
        """Give the file back."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _note(self, error: sqlite3.Error) -> None:
        if is_damage(error):
            self._damage = str(error)
            self.close()
        elif isinstance(error, sqlite3.OperationalError) and str(error) != FULL:
            self.close()

    def _open(self) -> sqlite3.Connection:
        if not self._damage:
            try:
                return self._connect()
            except sqlite3.DatabaseError as error:
                if not is_damage(error):
                    raise
                self._damage = str(error)
        return self._replace()

    def _connect(self) -> sqlite3.Connection:
        """Open, or make, a database whose commits survive a power cut."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if not self._path.exists() and self._fresh.exists():  # a crash came when the damaged one was aside
                self._fresh.replace(self._path)
        except OSError as error:
            raise sqlite3.OperationalError(str(error)) from error
        connection = _bare(self._path)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            self._migrate(connection)
            connection.executescript(self._schema)
            self._inode = self._path.stat().st_ino
        except sqlite3.Error:
            connection.close()
            raise
        except OSError as error:
            connection.close()
            raise sqlite3.OperationalError(str(error)) from error
        return connection

    def _replace(self) -> sqlite3.Connection:
        """Put a fresh file in the place of the damaged one."""
        if mono_ns() < self._replace_at_ns:
            raise sqlite3.OperationalError(f"{self._path} is damaged ({self._damage}), and cannot be replaced yet")
        self._replace_at_ns = mono_ns() + REPLACE_AGAIN_NS
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _remove(self._fresh)
            with closing(_bare(self._fresh)) as connection:
                connection.execute("PRAGMA journal_mode=OFF")  # all is in this one file when it is committed
                connection.executescript(self._schema)
                saved = _save_over(self._path, connection)
            aside = _move_aside(self._path)
            self._fresh.replace(self._path)
            sync_dir(self._path.parent)
        except OSError as error:
            raise sqlite3.OperationalError(f"{self._path} cannot be replaced: {error}") from error
        log.error("%s is damaged (%s): it lies in %s, and %s are saved over", self._path, self._damage, aside, saved)
        self._damage, self._replace_at_ns = "", 0
        self.replaced += 1
        self._counters[f"damaged.{self._path.stem}"] += 1
        return self._connect()


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file is to blame; Python has a class of its own for what else may go wrong."""
    return type(error) is sqlite3.DatabaseError


def _bare(path: Path) -> sqlite3.Connection:
    """A connection that reads text which the disk has changed, too."""
    connection = sqlite3.connect(path, timeout=BUSY_S)
    connection.text_factory = lambda text: text.decode(errors="replace")
    return connection


def _save_over(damaged: Path, fresh: sqlite3.Connection) -> str:
    """Copy the rows that can be read, with their numbers, for they are in the order in which they came."""
    told = []
    tables = fresh.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall()
    with closing(_bare(damaged)) as source, fresh:
        for (table,) in tables:
            columns = fresh.execute(f"PRAGMA table_info({table})").fetchall()
            names = ", ".join(["rowid", *(name for _, name, *_ in columns)])
            query = f"INSERT OR IGNORE INTO {table} ({names}) VALUES (?{', ?' * len(columns)})"  # noqa: S608
            sound = " AND ".join(f"typeof({name}) = '{kind.lower()}'" for _, name, kind, *_ in columns)
            before = fresh.total_changes
            for order in "ASC", "DESC":  # from both ends up to the damage
                wanted = f"SELECT {names} FROM {table} WHERE {sound} ORDER BY rowid {order}"  # noqa: S608
                fresh.executemany(query, _readable(source, wanted))
            told.append(f"{fresh.total_changes - before} rows of {table}")
    return ", ".join(told)


def _readable(source: sqlite3.Connection, query: str) -> Iterator[Row]:
    """Rows until one that cannot be read."""
    with suppress(sqlite3.Error):
        yield from source.execute(query)


def _move_aside(path: Path) -> Path:
    """Rename a database and what lies beside it; returns its name then, which has the time."""
    when = rfc3339(wall_ns())[:19].replace("-", "").replace(":", "")
    aside = path.with_name(f"{path.name}.damaged-{when}Z")
    older = sorted(each for each in path.parent.glob(f"{path.name}.damaged-*Z") if each != aside)
    for each in older[: max(0, len(older) - DAMAGED_KEPT + 1)]:
        _remove(each)
    _remove(aside)
    for suffix in (*BESIDE, ""):  # never an older file's log beside the fresh one
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).replace(aside.with_name(aside.name + suffix))
    return aside


def _remove(path: Path) -> None:
    for suffix in ("", *BESIDE):
        path.with_name(path.name + suffix).unlink(missing_ok=True)

"""A database that is opened again after a failure, and replaced when it is damaged."""

import os
import shutil
import sqlite3
import subprocess
from collections import Counter
from contextlib import closing

import pytest

from visualpath.runtime import database as database_module
from visualpath.runtime.database import DAMAGED_KEPT, Database

SCHEMA = "CREATE TABLE IF NOT EXISTS things (name TEXT NOT NULL, size INTEGER PRIMARY KEY, weight INTEGER DEFAULT 1);"
ROWS = [(f"thing {number}" * 30, number) for number in range(200)]
PAGE = 4096


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fusion" / "store.db"


@pytest.fixture
def counters():
    return Counter()


@pytest.fixture
def database(path, counters):
    with closing(Database(path, SCHEMA, counters)) as database:
        yield database


def put(database, *rows):
    with database:
        for row in rows:
            database.execute("INSERT INTO things (name, size) VALUES (?, ?)", row)


def things(database):
    return database.execute("SELECT name, size FROM things ORDER BY rowid")


def damage(path, first_page, pages=1):
    """Garbage in the middle of the file, as a dying disk leaves it; nothing of it may be left in the log beside it."""
    with closing(sqlite3.connect(path)) as beside:
        beside.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(first_page * PAGE)
        file.write(b"\xa5" * PAGE * pages)


def test_what_was_committed_is_there_again(path, database):
    put(database, ("a", 1))
    database.close()
    assert things(Database(path, SCHEMA)) == [("a", 1)]


def test_a_block_that_raises_leaves_nothing(database):
    with pytest.raises(sqlite3.IntegrityError):
        put(database, ("a", 1), ("b", 1))
    assert things(database) == []


def test_what_is_no_database_is_moved_aside_with_the_time_in_its_name(path, database):
    path.parent.mkdir()
    path.write_bytes(b"garbage " * 1000)
    put(database, ("a", 1))
    [aside] = path.parent.glob("store.db.damaged-????????T??????Z")
    assert aside.read_bytes() == b"garbage " * 1000
    assert things(database) == [("a", 1)]


def test_damage_is_counted_and_told(path, database, counters, caplog):
    path.parent.mkdir()
    path.write_bytes(b"garbage " * 1000)
    things(database)
    assert (counters, database.replaced) == ({"damaged.store": 1}, 1)
    assert "is damaged (file is not a database)" in caplog.text


def test_of_a_damaged_file_the_rows_on_both_sides_of_the_damage_are_saved_over(path, database):
    put(database, *ROWS)
    database.close()
    damage(path, first_page=8)
    saved = things(database)
    assert 100 < len(saved) < 200
    assert set(saved) < set(ROWS)
    assert (saved[0], saved[-1]) == (ROWS[0], ROWS[-1])


def weigh(database):
    """A block that writes at the beginning of the file, then everywhere."""
    with database:
        database.execute("INSERT INTO things (name, size) VALUES ('first', -1)")
        database.execute("UPDATE things SET weight = 1000000")


def test_damage_that_is_met_within_a_block_costs_that_block_alone(path, database):
    put(database, *ROWS)
    database.close()
    damage(path, first_page=8)
    with pytest.raises(sqlite3.DatabaseError, match="malformed"):
        weigh(database)
    put(database, ("after", 1000))
    saved = things(database)
    assert saved[-1] == ("after", 1000)
    assert ("first", -1) not in saved


def test_a_value_of_a_wrong_type_is_not_saved_over(path, database):
    put(database, ("a", 1), ("b", 2))
    with database:
        database.execute("UPDATE things SET weight = x'00' WHERE name = 'a'")
    database._note(sqlite3.DatabaseError("malformed"))
    assert things(database) == [("b", 2)]


def test_what_the_log_beside_it_holds_is_not_lost_with_the_file(path, database):
    put(database, ("a", 1))
    log = path.with_name("store.db-wal").read_bytes()
    path.write_bytes(b"garbage " * 1000)
    path.with_name("store.db-wal").write_bytes(log)
    with closing(Database(path, SCHEMA)) as other:
        assert things(other) == [("a", 1)]


def test_only_the_newest_damaged_files_are_kept(path, database):
    path.parent.mkdir()
    for year in range(2001, 2010):
        (path.parent / f"store.db.damaged-{year}0101T000000Z").touch()
    path.write_bytes(b"garbage " * 1000)
    things(database)
    assert len(list(path.parent.glob("store.db.damaged-*"))) == DAMAGED_KEPT
    assert not (path.parent / "store.db.damaged-20060101T000000Z").exists()


def test_a_file_that_cannot_be_opened_is_tried_again(path, database):
    path.mkdir(parents=True)
    with pytest.raises(sqlite3.OperationalError):
        things(database)
    path.rmdir()
    assert things(database) == []


def test_after_a_failure_of_the_disk_the_file_is_opened_anew(path, database):
    put(database, ("a", 1))
    first = database._connection
    database._note(sqlite3.OperationalError("disk I/O error"))
    assert things(database) == [("a", 1)]
    assert database._connection is not first


def test_on_a_full_disk_the_connection_is_kept_for_reading(path, database):
    put(database, ("a", 1000))
    first = database._connection
    database.execute("PRAGMA max_page_count = 1")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        put(database, *ROWS)
    assert (things(database), database._connection) == ([("a", 1000)], first)


@pytest.fixture
def small_disk(tmp_path):
    """A tmpfs of 5 MiB; returns it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", folder]).returncode:
        pytest.skip("a tmpfs cannot be mounted here: that needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_where_there_is_little_room_all_rows_are_saved_over(small_disk):
    """There is room for the damaged file and the fresh one, and none for a log as large as that."""
    path, rows = small_disk / "store.db", [("thing" * 200, number) for number in range(1800)]
    with closing(Database(path, SCHEMA)) as database:
        put(database, *rows)
        database.close()
        database._note(sqlite3.DatabaseError("malformed"))
        assert things(database) == rows


def test_a_crash_between_the_moving_aside_and_the_replacing_loses_nothing(path, database):
    put(database, ("a", 1))
    database.close()
    path.rename(path.with_name("store.db.fresh"))
    assert things(database) == [("a", 1)]


def test_a_database_that_another_program_has_locked_is_not_taken_for_damaged(path, database, counters):
    put(database, ("a", 1))
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            put(database, ("b", 2))
    put(database, ("c", 3))
    assert (things(database), counters) == ([("a", 1), ("c", 3)], {})


def test_text_that_the_disk_has_changed_can_be_read(database):
    put(database, ("a", 1))
    with database:
        database.execute("UPDATE things SET name = CAST(x'61ff' AS TEXT)")
    assert things(database) == [("a\N{REPLACEMENT CHARACTER}", 1)]


def test_a_damaged_file_that_cannot_be_replaced_is_read_again_only_after_a_while(path, database, monkeypatch):
    put(database, ("a", 1))
    database.close()
    attempts = []

    def refuse(*_):
        attempts.append(1)
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as full:
        full.setattr(database_module, "_save_over", refuse)
        database._note(sqlite3.DatabaseError("malformed"))
        for _ in range(3):
            with pytest.raises(sqlite3.OperationalError):
                things(database)
    assert len(attempts) == 1
    monkeypatch.setattr(database_module, "mono_ns", lambda: 2**62)
    assert things(database) == [("a", 1)]


# What SQLite does not notice, for it finds all in its cache ---------------------------------------------


def test_a_file_that_was_deleted_is_made_anew_at_the_next_look(path, database, counters):
    put(database, ("a", 1))
    path.unlink()
    database.look()
    put(database, ("b", 2))
    assert (things(Database(path, SCHEMA)), counters) == ([("b", 2)], {"damaged.store": 1})


def test_a_folder_that_was_deleted_is_made_anew_at_the_next_look(path, database):
    put(database, ("a", 1))
    shutil.rmtree(path.parent)
    database.look()
    put(database, ("b", 2))
    assert things(Database(path, SCHEMA)) == [("b", 2)]


def test_garbage_in_file_and_log_is_noticed_at_the_next_look(path, database, counters):
    put(database, ("a", 1))
    for each in path.parent.iterdir():
        with each.open("r+b") as file:
            file.write(b"\xa5" * each.stat().st_size)
    database.look()
    assert counters == {"damaged.store": 1}
    put(database, ("b", 2))
    assert ("b", 2) in things(Database(path, SCHEMA))


def test_what_is_committed_after_another_file_took_its_place_is_in_that_place(path, database):
    put(database, ("a", 1))
    other = path.with_name("other.db")
    with closing(Database(other, SCHEMA)) as beside:
        put(beside, ("b", 2))
    other.replace(path)
    database.look()
    put(database, ("c", 3))
    assert ("c", 3) in things(Database(path, SCHEMA))


def test_a_file_that_is_well_is_left_alone(path, database, counters):
    put(database, ("a", 1))
    inode = path.stat().st_ino
    database.look()
    assert (things(database), path.stat().st_ino, counters) == ([("a", 1)], inode, {})

"""The trace file: whole lines, rotation, a slow disk, a full disk."""

import resource
import threading
import time
from contextlib import contextmanager

import pytest

from visualpath.observability import FileSink, ObservationRecord, StateChangeRecord
from visualpath.observability import sinks as sinks_module
from visualpath.observability.lines import decode_line
from visualpath.observability.records import DroppedRecord, Stamped
from visualpath.observability.rotation import RotatingFile
from visualpath.observability.troubles import LoggedTroubles


def stamped(state):
    return Stamped(StateChangeRecord("cam1", state), mono_ns=5, wall_ns=6, daemon="frame-cam1")


def told(path):
    """The states in a file, in order."""
    return [decode_line(line).record.state for line in path.read_bytes().splitlines(keepends=True)]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace" / "fusion.jsonl"


@pytest.fixture
def troubles():
    return LoggedTroubles()


@pytest.fixture
def sink(path, troubles):
    sink = FileSink(path, refusals=troubles)
    yield sink
    sink.close()


# The file ----------------------------------------------------------------------------------------------


def lines_of(*numbers):
    return [b"line %d\n" % number for number in numbers]


def append_all(file, lines):
    while lines:
        lines = lines[file.append(lines) :]


def test_lines_are_added_behind_those_of_an_earlier_run(path):
    for number in (1, 2):
        append_all(RotatingFile(path, 1000, 3), lines_of(number))
    assert path.read_bytes() == b"line 1\nline 2\n"


def test_a_full_file_makes_way_and_no_line_is_split(path):
    append_all(RotatingFile(path, 14, 3), lines_of(1, 2, 3))
    assert (path.with_name("fusion.jsonl.1").read_bytes(), path.read_bytes()) == (b"line 1\nline 2\n", b"line 3\n")


def test_the_oldest_file_falls_off(path):
    append_all(RotatingFile(path, 7, 2), lines_of(*range(6)))
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == {
        "fusion.jsonl": b"line 5\n", "fusion.jsonl.1": b"line 4\n", "fusion.jsonl.2": b"line 3\n",
    }  # fmt: skip


def test_with_none_kept_there_is_one_file(path):
    append_all(RotatingFile(path, 7, 0), lines_of(1, 2, 3))
    assert [(file.name, file.read_bytes()) for file in path.parent.iterdir()] == [("fusion.jsonl", b"line 3\n")]


def test_a_line_larger_than_a_file_has_one_of_its_own(path):
    append_all(RotatingFile(path, 10, 3), [b"short\n", b"longer than ten\n", b"short\n"])
    assert path.with_name("fusion.jsonl.1").read_bytes() == b"longer than ten\n"


def test_half_a_line_that_a_crash_left_spoils_no_other(path):
    path.parent.mkdir()
    path.write_bytes(b"line 1\nlin")
    append_all(RotatingFile(path, 1000, 3), lines_of(2))
    assert (path.with_name("fusion.jsonl.1").read_bytes(), path.read_bytes()) == (b"line 1\nlin", b"line 2\n")


def test_a_file_that_was_taken_away_begins_anew(path):
    file = RotatingFile(path, 1000, 3)
    append_all(file, lines_of(1))
    path.unlink()
    append_all(file, lines_of(2))
    assert path.read_bytes() == b"line 2\n"


def test_daemons_of_several_users_may_share_the_folder(path):
    append_all(RotatingFile(path, 1000, 3), lines_of(1))
    assert path.parent.stat().st_mode & 0o7777 == 0o1770


@contextmanager
def room_for(size_bytes):
    """No file of this process may be larger: the write that would exceed it is cut off, the next one refused."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_what_a_full_disk_has_cut_off_is_taken_back(path):
    file = RotatingFile(path, 1000, 3)
    append_all(file, lines_of(1))
    with room_for(10), pytest.raises(OSError, match="File too large"):
        file.append(lines_of(2))
    append_all(file, lines_of(2))
    assert path.read_bytes() == b"line 1\nline 2\n"


# The sink ----------------------------------------------------------------------------------------------


def test_without_a_record_there_is_no_file_and_no_thread(path):
    before = threading.active_count()
    sink = FileSink(path)
    assert (threading.active_count(), path.parent.exists()) == (before, False)
    sink.close()


def test_records_are_in_the_file_in_order(sink, path):
    for number in range(2500):
        sink.write(stamped(str(number)))
    sink.close()
    assert (told(path), sink.written) == ([str(n) for n in range(2500)], 2500)


def test_a_record_is_in_the_file_after_a_fifth_of_a_second(sink, path, wait_for):
    sink.write(stamped("first"))
    wait_for(lambda: path.exists() and path.read_bytes())  # the thread runs
    started = time.monotonic()
    sink.write(stamped("second"))
    wait_for(lambda: told(path) == ["first", "second"])
    assert time.monotonic() - started < 0.2 + 0.3  # what is promised, and what a loaded machine may add


def test_a_record_that_has_no_form_in_json_is_counted_and_the_next_is_written(sink, path, troubles):
    sink.write(Stamped(ObservationRecord(1, "face", [{"odd": object()}]), 1, 2, "fusion"))
    sink.write(stamped("live"))
    sink.close()
    assert (told(path), troubles.counters) == (["live"], {"failed.trace": 1})


class SlowDisk:
    """Holds the first write until it is released."""

    def __init__(self, monkeypatch):
        self.reached, self.go = threading.Event(), threading.Event()
        append = RotatingFile.append

        def held(file, lines):
            self.reached.set()
            assert self.go.wait(10)
            return append(file, lines)

        monkeypatch.setattr(RotatingFile, "append", held)


@pytest.fixture
def slow(monkeypatch, sink):
    """A disk that hangs with one record in its hands, and room for 10 in the queue."""
    monkeypatch.setattr(sinks_module, "QUEUE_MAX", 10)
    disk = SlowDisk(monkeypatch)
    sink.write(stamped("in hand"))
    assert disk.reached.wait(10)
    yield disk
    disk.go.set()


def test_a_disk_that_hangs_holds_nobody_up(slow, sink):
    started = time.monotonic()
    for _ in range(1000):
        sink.write(stamped("more"))
    assert time.monotonic() - started < 1


def test_what_finds_the_queue_full_is_counted(slow, sink, troubles):
    for _ in range(25):
        sink.write(stamped("more"))
    assert troubles.counters == {"dropped.trace": 15}


@pytest.fixture
def kinds(path):
    return lambda: [decode_line(line).record.record_type for line in path.read_bytes().splitlines()]


def test_the_trace_says_where_records_are_missing(slow, sink, path, kinds, wait_for):
    for number in range(13):
        sink.write(stamped(str(number)))
    slow.go.set()
    wait_for(lambda: sink.written == 11)
    sink.write(stamped("after"))
    sink.close()
    assert kinds() == ["state_change"] * 11 + ["dropped", "state_change"]
    assert decode_line(path.read_bytes().splitlines()[11]).record == DroppedRecord(3, "queue_full")


def test_a_disk_that_hangs_does_not_hold_up_the_end_and_what_is_lost_is_counted(slow, sink, troubles, monkeypatch):
    monkeypatch.setattr(sinks_module, "CLOSE_S", 0.05)
    sink.write(stamped("more"))
    sink.close()
    assert troubles.counters == {"dropped.trace": 2}


def test_a_full_disk_is_counted_and_its_records_written_when_there_is_room(path, troubles, monkeypatch, wait_for):
    monkeypatch.setattr(sinks_module, "RETRY_S", 0.01)
    path.parent.mkdir()
    path.symlink_to("/dev/full")
    sink = FileSink(path, refusals=troubles)
    sink.write(stamped("one"))
    wait_for(lambda: troubles.counters["failed.trace"] >= 2)
    sink.write(stamped("two"))
    path.unlink()
    wait_for(lambda: sink.written == 2)
    sink.close()
    assert told(path) == ["one", "two"]


def test_a_folder_that_cannot_be_made_is_counted(tmp_path, troubles, wait_for):
    (tmp_path / "trace").write_text("a file")
    sink = FileSink(tmp_path / "trace" / "fusion.jsonl", refusals=troubles)
    sink.write(stamped("one"))
    wait_for(lambda: troubles.counters["failed.trace"])
    sink.close()
    assert troubles.counters["dropped.trace"] == 1


def test_records_of_several_threads_are_all_there(sink, path):
    threads = [threading.Thread(target=lambda: [sink.write(stamped("x")) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.close()
    assert len(told(path)) == 2000


def test_files_of_a_time_when_more_were_kept_are_deleted_and_others_not(tmp_path):
    for name in ("x.jsonl.1", "x.jsonl.3", "x.jsonl.10", "x.jsonl.gz", "y.jsonl.3"):
        (tmp_path / name).touch()
    file = RotatingFile(tmp_path / "x.jsonl", max_bytes=4, keep=2)
    for line in (b"one\n", b"two\n"):
        file.append([line])
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"x.jsonl", "x.jsonl.1", "x.jsonl.2", "x.jsonl.gz", "y.jsonl.3"}

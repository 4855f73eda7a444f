"""Triggers on their way to the clip daemon, which the test plays: at least once, whatever dies."""

import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from visualpath.fusion import outbox as outbox_module
from visualpath.fusion.outbox import BACKOFF_FIRST_NS, BACKOFF_MAX_NS, IN_FLIGHT, Outbox, load_firings, outbox_path
from visualpath.runtime.config import load_config
from visualpath.runtime.service import Service
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.messages import Ack, Trig, make_trig_id
from visualpath_protocol.sockets import TRIGGERS

STREAMS = "streams: {cam1: {source: a.mp4}}\n"
CODEC = Codec(Trig, max_bytes=TRIGGERS.max_bytes)


def trig(number=0, revision=0, **fields):
    t_ns = number * 1_000_000_000
    defaults = {
        "trig_id": make_trig_id("cam1", 3, "smile", t_ns),
        "revision": revision,
        "stream": "cam1",
        "epoch": 3,
        "label": "smile",
        "reason": "because",
        "score": 1.0,
        "frame_id": number,
        "t_start_ns": t_ns,
        "t_end_ns": t_ns,
    }
    return Trig(**{**defaults, **fields})


class FakeClip:
    """The clip daemon's side of `trig`."""

    def __init__(self, socket):
        self._socket = socket

    def receive(self, timeout_s=10.0):
        """The next TRIG, or None."""
        if not self._socket.poll(int(timeout_s * 1000)):
            return None
        self.peer, body = self._socket.recv_multipart()
        return CODEC.decode(body)

    def ack(self, trig, result="accepted", **fields):
        self.send(encode(Ack(trig_id=trig.trig_id, revision=trig.revision, result=result, **fields)))

    def send(self, body):
        self._socket.send_multipart([self.peer, body])


@pytest.fixture
def path(short_dir):
    return outbox_path(short_dir / "state")


@pytest.fixture
def service(write_config):
    service = Service("fusion", load_config(write_config(STREAMS)))
    yield service
    service.close()


@pytest.fixture
def start(service, path):
    """Start an outbox on the same file; what still runs is stopped at the end."""
    running = []

    def start():
        box = Outbox(path, service)
        running.append(box)
        box.start()
        return box

    yield start
    for box in running:
        if box.is_alive():
            box.stop()


@pytest.fixture
def clip(links):
    return FakeClip(links.bind(TRIGGERS, "clip"))


def rows(path, table="outbox"):
    """What is on disk, read by a connection of its own."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path, timeout=10)) as database:
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is None:
            return []  # the outbox's thread has only just begun
        return [CODEC.decode(body) for (body,) in database.execute(f"SELECT body FROM {table} ORDER BY rowid")]


def test_a_trigger_is_delivered_unchanged(start, clip):
    start().put(trig(metadata={"m": [1, 2]}))
    assert clip.receive() == trig(metadata={"m": [1, 2]})


def test_fusion_has_its_own_identity_at_the_clip_daemon(start, clip):
    start().put(trig())
    clip.receive()
    assert clip.peer == b"fusion"


def test_a_trigger_is_on_disk_before_it_is_sent(start, clip, path):
    start().put(trig())
    arrived = clip.receive()
    assert rows(path) == [arrived]


def test_an_ack_removes_exactly_its_row(start, clip, path, wait_for):
    box = start()
    for number in range(3):
        box.put(trig(number))
    for _ in range(3):
        clip.receive()
    clip.ack(trig(1))
    wait_for(lambda: rows(path) == [trig(0), trig(2)])
    assert box.pending == 2


def test_revisions_of_a_trigger_are_acknowledged_one_by_one(start, clip, path, wait_for):
    box = start()
    box.put(trig())
    box.put(trig(revision=1))
    clip.ack(clip.receive())
    wait_for(lambda: rows(path) == [trig(revision=1)])
    assert box.pending == 1


def test_a_trigger_that_is_put_twice_is_kept_once(start, path, wait_for):
    box = start()
    box.put(trig())
    box.put(trig())
    box.put(trig(1))
    wait_for(lambda: box.pending == 2)
    assert rows(path) == [trig(), trig(1)]


# Sending again --------------------------------------------------------------------------------------


def test_without_an_ack_it_is_sent_again_and_then_later_again(start, clip):
    start().put(trig())
    times = []
    for _ in range(3):
        assert clip.receive() == trig()
        times.append(time.monotonic_ns())
    first, second = times[1] - times[0], times[2] - times[1]
    assert first > 0.8 * BACKOFF_FIRST_NS
    assert second > 1.6 * BACKOFF_FIRST_NS


def test_the_wait_doubles_up_to_its_limit(service, path):
    service.send = lambda *_: True
    box = Outbox(path, service)
    pending = box._pending["x", 0] = outbox_module._Pending(trig())
    waits = []
    for _ in range(7):
        now = pending.due_ns
        box._send_due(now)
        waits.append(pending.due_ns - now)
    box.stop()
    assert waits == [BACKOFF_FIRST_NS * 2**n for n in range(5)] + [BACKOFF_MAX_NS] * 2


def test_an_acknowledged_trigger_is_not_sent_again(start, clip, wait_for):
    box = start()
    box.put(trig())
    clip.ack(clip.receive())
    wait_for(lambda: box.pending == 0)
    assert clip.receive(2 * BACKOFF_FIRST_NS / 1e9) is None


def test_an_ack_that_comes_twice_is_harmless(start, clip, service, path, wait_for):
    box = start()
    box.put(trig(0))
    clip.receive()
    clip.ack(trig(0))
    clip.ack(trig(0))
    box.put(trig(1))
    assert clip.receive() == trig(1)
    wait_for(lambda: rows(path) == [trig(1)])
    assert service.counters["acked.accepted"] == 1


def test_a_duplicate_is_as_good_as_accepted(start, clip, service, path, wait_for):
    box = start()
    box.put(trig())
    clip.ack(clip.receive(), "duplicate")
    wait_for(lambda: not rows(path))
    assert (box.pending, service.counters["acked.duplicate"]) == (0, 1)


@pytest.mark.parametrize("result", ["refused", "expired"])
def test_what_the_clip_daemon_will_not_take_is_forgotten_counted_and_logged(
    start, clip, service, path, wait_for, caplog, result
):
    box = start()
    box.put(trig())
    clip.ack(clip.receive(), result, why="no such stream")
    wait_for(lambda: not rows(path))
    assert (box.pending, service.counters[f"acked.{result}"]) == (0, 1)
    assert f"{result} no such stream" in caplog.text


def test_a_malformed_ack_is_counted_and_the_trigger_stays(start, clip, service, wait_for):
    box = start()
    box.put(trig())
    clip.receive()
    clip.send(b"garbage")
    wait_for(lambda: service.counters["refused.ack.malformed"] == 1)
    assert box.pending == 1


def test_an_ack_of_an_unknown_trigger_changes_nothing(start, clip, service, wait_for):
    box = start()
    box.put(trig(0))
    clip.receive()
    clip.ack(trig(7))
    clip.ack(trig(0))
    wait_for(lambda: box.pending == 0)
    assert service.counters["acked.accepted"] == 1


def test_only_so_many_are_in_flight(start, clip):
    box = start()
    for number in range(IN_FLIGHT + 3):
        box.put(trig(number))
    seen = {clip.receive().frame_id for _ in range(IN_FLIGHT * 2)}
    assert seen == set(range(IN_FLIGHT))


def test_as_some_are_acknowledged_others_follow_in_order(start, clip, wait_for):
    box = start()
    for number in range(2 * IN_FLIGHT):
        box.put(trig(number))
    order = []
    while len(order) < 2 * IN_FLIGHT:
        got = clip.receive()
        if got.frame_id not in order:
            order.append(got.frame_id)
            clip.ack(got)
    assert order == list(range(2 * IN_FLIGHT))


def test_an_outbox_that_is_full_loses_its_oldest_and_counts_it(start, service, path, wait_for, monkeypatch):
    monkeypatch.setattr(outbox_module, "MAX_PENDING", 2)
    box = start()
    for number in range(3):
        box.put(trig(number))
    wait_for(lambda: rows(path) == [trig(1), trig(2)])
    assert service.counters["lost.trigger"] == 1


# Restarts -------------------------------------------------------------------------------------------


def test_what_was_put_before_the_stop_is_on_disk_after_it(start, path):
    box = start()
    for number in range(100):
        box.put(trig(number))
    box.stop()
    assert len(rows(path)) == 100


def test_what_was_put_while_no_clip_daemon_ran_is_delivered_by_the_next_run(start, links):
    first = start()
    first.put(trig(0))
    first.put(trig(1))
    first.stop()
    clip = FakeClip(links.bind(TRIGGERS, "clip"))
    start()
    assert [clip.receive(), clip.receive()] == [trig(0), trig(1)]


def test_a_clip_daemon_that_comes_later_gets_what_waits(start, links, wait_for):
    box = start()
    box.put(trig())
    wait_for(lambda: box.pending == 1)
    assert FakeClip(links.bind(TRIGGERS, "clip")).receive() == trig()


def test_an_acknowledged_trigger_is_not_delivered_by_the_next_run(start, clip, wait_for):
    first = start()
    first.put(trig(0))
    clip.ack(clip.receive())
    wait_for(lambda: first.pending == 0)
    first.stop()
    start().put(trig(1))
    assert clip.receive() == trig(1)


CRASHING = """
import sys
from pathlib import Path
from visualpath.fusion.outbox import Outbox, outbox_path
from visualpath.runtime.config import load_config
from visualpath.runtime.service import Service
from visualpath_protocol.codec import Codec
from visualpath_protocol.messages import Trig
config = load_config(Path(sys.argv[1]))
box = Outbox(outbox_path(config.state_dir), Service("fusion", config))
box.start()
box.put(Codec(Trig, max_bytes=1 << 20).decode(sys.stdin.buffer.read()))
box.join()
"""


def test_what_a_killed_process_had_sent_is_delivered_by_the_next(write_config, links, path):
    clip = FakeClip(links.bind(TRIGGERS, "clip"))
    config_path = write_config(STREAMS)
    with subprocess.Popen([sys.executable, "-c", CRASHING, str(config_path)], stdin=subprocess.PIPE) as process:
        process.stdin.write(encode(trig()))
        process.stdin.close()
        assert clip.receive() == trig()
        process.send_signal(signal.SIGKILL)
    service = Service("fusion", load_config(config_path))
    box = Outbox(path, service)
    box.start()
    box.put(trig(1))
    order = [clip.receive(), clip.receive()]
    box.stop()
    service.close()
    assert trig() in order


def test_a_stored_row_that_cannot_be_read_is_counted_and_does_not_stop_the_others(start, clip, service, path):
    start().stop()
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("INSERT INTO outbox VALUES ('bad', 0, x'c1')")
        database.execute("INSERT INTO outbox VALUES (?, 0, ?)", (trig().trig_id, encode(trig())))
    start()
    assert clip.receive() == trig()
    assert service.counters["lost.trigger"] == 1
    assert rows(path) == [trig()]


# A disk that refuses --------------------------------------------------------------------------------


def refuse(path, what):
    """Make the database refuse: what a full disk does."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(f"CREATE TRIGGER full BEFORE {what} ON outbox BEGIN SELECT RAISE(ABORT, 'disk is full'); END")


def test_what_cannot_be_stored_is_sent_all_the_same_and_counted(start, clip, service, path):
    start().stop()
    refuse(path, "INSERT")
    start().put(trig())
    assert clip.receive() == trig()
    assert service.counters["outbox.not_stored"] == 1


def test_a_row_that_cannot_be_deleted_does_not_stop_the_outbox(start, clip, service, path, wait_for):
    start().stop()
    refuse(path, "DELETE")
    box = start()
    box.put(trig(0))
    clip.ack(clip.receive())
    wait_for(lambda: box.pending == 0)
    box.put(trig(1))
    assert clip.receive() == trig(1)
    assert (box.failure, service.counters["outbox.not_deleted"]) == (None, 1)


def test_what_a_refusing_disk_has_written_all_the_same_goes_when_it_is_acknowledged(
    start, clip, path, wait_for, monkeypatch
):
    store = Outbox._store

    def claims_failure(box, wanted):
        store(box, wanted)
        for pending in wanted:
            pending.stored = False
        return sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(Outbox, "_store", claims_failure)
    box = start()
    box.put(trig())
    clip.ack(clip.receive())
    wait_for(lambda: box.pending == 0)
    wait_for(lambda: rows(path) == [])


def allow(path):
    """The disk takes what it is given again."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TRIGGER full")


def test_what_could_not_be_stored_is_stored_as_soon_as_that_can_be(start, clip, path, wait_for):
    start().stop()
    refuse(path, "INSERT")
    start().put(trig())
    clip.receive()
    allow(path)
    wait_for(lambda: rows(path) == [trig()])


def test_what_could_not_be_stored_nor_delivered_before_the_end_is_lost_and_counted(start, service, path, caplog):
    start().stop()
    refuse(path, "INSERT")
    box = start()
    box.put(trig())
    box.stop()
    assert service.counters["lost.trigger"] == 1
    assert "could not be stored, nor delivered before the end: it is lost" in caplog.text


def test_what_could_not_be_stored_and_was_delivered_is_not_lost(start, clip, service, path, wait_for):
    start().stop()
    refuse(path, "INSERT")
    box = start()
    box.put(trig())
    clip.ack(clip.receive())
    wait_for(lambda: box.pending == 0)
    box.stop()
    assert (service.counters["lost.trigger"], service.counters["outbox.not_deleted"]) == (0, 0)


def spoil(path):
    """Garbage over the file, and over what SQLite keeps beside it."""
    for each in path.parent.glob("outbox.db*"):
        with each.open("r+b") as file:  # not cut short first: the process that has it mapped would die
            file.write(b"\xa5" * each.stat().st_size)


def test_an_outbox_that_is_no_database_at_the_start_makes_way(start, clip, service, path):
    path.parent.mkdir(parents=True)
    path.write_bytes(b"garbage " * 1000)
    start().put(trig())
    assert clip.receive() == trig()
    assert service.counters["damaged.outbox"] == 1
    assert rows(path) == [trig()]


def test_when_the_outbox_is_damaged_at_work_all_that_waits_is_stored_again(start, clip, service, path, wait_for):
    box = start()
    box.put(trig(0))
    clip.receive()
    spoil(path)
    box.put(trig(1))
    wait_for(lambda: service.counters["damaged.outbox"])
    wait_for(lambda: sorted(each.frame_id for each in rows(path)) == [0, 1])
    assert (service.counters["damaged.outbox"], service.counters["outbox.not_stored"], box.failure) == (1, 0, None)


def test_a_row_that_could_not_be_deleted_is_deleted_as_soon_as_that_can_be(start, clip, path, wait_for):
    start().stop()
    refuse(path, "DELETE")
    box = start()
    box.put(trig())
    clip.ack(clip.receive())
    wait_for(lambda: box.pending == 0)
    allow(path)
    wait_for(lambda: rows(path) == [])


def test_a_defect_in_its_thread_is_kept_for_the_fusion_loop(start, wait_for):
    box = start()
    box.put("no trigger at all")
    wait_for(lambda: box.failure)
    assert isinstance(box.failure, AttributeError)


# Firings --------------------------------------------------------------------------------------------


def test_the_last_firing_of_each_label_is_kept(start, path):
    box = start()
    for number in (1, 2):
        box.put(trig(number))
    box.put(trig(5, label="frown", trig_id="0" * 16))
    box.stop()
    assert load_firings(path, "cam1") == {"smile": (3, 2_000_000_000), "frown": (3, 5_000_000_000)}


def test_a_trigger_by_hand_is_kept_and_is_no_firing(start, path, wait_for):
    box = start()
    box.put(trig(2), fired=False)
    box.stop()
    assert load_firings(path, "cam1") == {}
    again = start()
    wait_for(lambda: again.pending == 1)


def test_firings_stay_when_their_trigger_is_acknowledged(start, clip, path, wait_for):
    box = start()
    box.put(trig(2))
    clip.ack(clip.receive())
    wait_for(lambda: box.pending == 0)
    assert load_firings(path, "cam1") == {"smile": (3, 2_000_000_000)}


def test_firings_are_those_of_the_stream(start, path):
    box = start()
    box.put(trig(2))
    box.stop()
    assert load_firings(path, "cam2") == {}


def test_a_box_without_a_past_has_no_firings(path):
    assert load_firings(path, "cam1") == {}


def test_a_firing_that_is_stored_late_does_not_take_the_place_of_a_later_one(service, path):
    box = Outbox(path, service)
    for number in (5, 1):
        assert box._store([outbox_module._Pending(trig(number))]) is None
    box._database.close()
    box.stop()
    assert load_firings(path, "cam1") == {"smile": (3, 5_000_000_000)}


def test_a_trigger_by_hand_leaves_no_cooldown_when_a_damaged_outbox_is_replaced_after_a_restart(
    start, path, wait_for, service
):
    first = start()
    first.put(trig(), fired=False)
    first.stop()
    second = start()
    wait_for(lambda: second.pending == 1)
    second._database.replaced += 1
    wait_for(lambda: second._replaced == 1)
    second.stop()
    assert load_firings(path, "cam1") == {}

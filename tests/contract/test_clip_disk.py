"""A real small disk as the clips folder: it fills, the daemon lives, and what waits is made when there is room."""

import os
import sqlite3
import subprocess
from contextlib import closing

import pytest

from visualpath_protocol.codec import encode
from visualpath_protocol.messages import Trig, make_trig_id
from visualpath_protocol.sockets import TRIGGERS

FRAME_NS = 40_000_000
MIB = 1 << 20

CONFIG = """
    state_dir: state
    ring: {{dir: ring, length: 30s}}
    clip: {{dir: clips, pre: 400ms, post: 400ms, stall_timeout: 60s, format: mjpeg, {keys}}}
    streams:
      cam1: {{source: none.mp4}}
"""


def trig(first):
    """A moment at one frame: its clip holds 21 frames, some 60 KB."""
    t_ns = first * FRAME_NS
    return Trig(
        trig_id=make_trig_id("cam1", 1, "smile", t_ns), stream="cam1", epoch=1, label="smile", reason="", score=0.5,
        frame_id=first, t_start_ns=t_ns, t_end_ns=t_ns,
    )  # fmt: skip


@pytest.fixture
def disk(short_dir):
    """The clips folder on a tmpfs of 20 MiB; returns it."""
    folder = short_dir / "clips"
    folder.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m", "tmpfs", folder]).returncode:
        pytest.skip("a tmpfs cannot be mounted here: that needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def chain(start_daemon, write_config, fake_stream, links):
    """Start the daemon with these keys under `clip`; returns it, the camera, and a way to send triggers."""

    def start(keys):
        camera = fake_stream("cam1")
        daemon = start_daemon("clip", write_config(CONFIG.format(keys=keys)))
        camera.await_subscribers()
        socket = links.connect(TRIGGERS, "clip", identity="fusion")

        def send(*firsts):
            for first in firsts:
                assert socket.poll(10_000, flags=2)
                socket.send(encode(trig(first)))
                assert socket.poll(10_000), "no ACK"
                socket.recv()

        return daemon, camera, send

    return start


@pytest.fixture
def rows(ask, wait_for):
    """All rows, once the condition holds for them."""

    def until(condition):
        def look():
            listed = ask("clip", "clips", {"limit": 1000})["clips"]
            return listed if condition(listed) else None

        return wait_for(look)

    return until


def states(listed):
    return [(row["state"], row["why"]) for row in listed]


def fill(disk, leave_bytes=0):
    """Another program's file takes all room but this."""
    path = disk / "foreign.bin"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    path.write_bytes(bytes(free - leave_bytes))
    return path


WAITING = ("recording", "waiting: no space")


def test_on_a_full_disk_the_row_says_so_and_the_clip_comes_when_there_is_room(disk, chain, rows):
    _, camera, send = chain("min_free: 0")
    foreign = fill(disk, 20_000)
    camera.frames(0, 40)
    send(20)
    rows(lambda listed: states(listed) == [WAITING])
    foreign.unlink()
    [row] = rows(lambda listed: listed[0]["state"] == "saved")
    assert (row["sidecar"]["frames"], row["sidecar"]["gaps"], row["why"]) == (21, [], "")


def test_while_a_clip_waits_nothing_half_written_is_left(disk, chain, rows):
    _, camera, send = chain("min_free: 0")
    fill(disk, 20_000)
    camera.frames(0, 40)
    send(20)
    rows(lambda listed: states(listed) == [WAITING])
    assert [path.name for path in disk.rglob("*") if path.is_file()] == ["foreign.bin"]


def test_a_clip_whose_frames_are_gone_before_there_is_room_has_failed_for_no_space(disk, chain, rows):
    _, camera, send = chain("min_free: 0")
    fill(disk)
    headers = camera.frames(0, 40)
    send(20)
    rows(lambda listed: states(listed) == [WAITING])
    for header in headers[:35]:
        camera.segment(header).unlink(missing_ok=True)
    rows(lambda listed: states(listed) == [("failed", "no space")])


def test_a_kill_while_a_clip_waits_loses_nothing(disk, chain, rows, start_daemon, short_dir):
    daemon, camera, send = chain("min_free: 0")
    foreign = fill(disk)
    camera.frames(0, 40)
    send(20)
    rows(lambda listed: states(listed) == [WAITING])
    daemon.kill()
    start_daemon("clip", short_dir / "visualpath.yaml")
    foreign.unlink()
    assert rows(lambda listed: listed[0]["state"] == "saved")[0]["sidecar"]["frames"] == 21


def test_a_disk_that_fills_by_clips_costs_the_rest_of_them_and_not_the_service(disk, chain, rows, counter):
    _, camera, send = chain("min_free: 0")
    fill(disk, 200_000)
    for n in range(6):
        camera.frames(n * 30, n * 30 + 29)
        send(n * 30 + 10)
    camera.frames(180, 200)
    listed = rows(lambda listed: states(listed).count(("saved", "")) + states(listed).count(WAITING) == 6)
    assert 0 < states(listed).count(WAITING) < 6
    (disk / "foreign.bin").unlink()
    rows(lambda listed: states(listed) == [("saved", "")] * 6)


def test_beyond_the_quota_the_oldest_are_deleted_and_the_rows_say_why(disk, chain, rows, counter):
    _, camera, send = chain("quota: 150KiB, min_free: 0")
    for n in range(5):
        camera.frames(n * 30, n * 30 + 29)
        send(n * 30 + 10)
    camera.frames(150, 180)
    listed = rows(lambda listed: len(listed) == 5 and states(listed)[:3] == [("deleted", "quota")] * 3)
    assert states(listed)[3:] == [("saved", "")] * 2
    assert sum(path.stat().st_size for path in disk.rglob("*") if path.is_file()) <= 150 << 10
    assert counter("clip", "clips.deleted.quota") == 3


def test_for_the_minimum_of_free_space_the_oldest_are_deleted(disk, chain, rows):
    _, camera, send = chain("min_free: 1MiB")
    camera.frames(0, 40)
    send(20)
    rows(lambda listed: states(listed) == [("saved", "")])
    fill(disk, MIB + 20_000)
    camera.frames(41, 90)
    send(70)
    rows(lambda listed: states(listed) == [("deleted", "min_free"), ("saved", "")])


def test_clips_older_than_the_retention_are_deleted(chain, rows):
    _, camera, send = chain("retention: 1s, min_free: 0")
    camera.frames(0, 40)
    send(20)
    rows(lambda listed: states(listed) == [("deleted", "retention")])


def test_a_clip_that_was_dated_ahead_goes_with_the_others(chain, rows, start_daemon, write_config):
    daemon, camera, send = chain("min_free: 0")
    camera.frames(0, 100)
    send(20, 70)
    rows(lambda listed: states(listed) == [("saved", "")] * 2)
    daemon.kill()
    with closing(sqlite3.connect(write_config("").parent / "state/clip/ledger.db")) as database:
        database.execute("UPDATE clips SET saved_ns = ? WHERE rowid = 1", (2**62,))
        database.commit()
    start_daemon("clip", write_config(CONFIG.format(keys="retention: 1s, min_free: 0")))
    rows(lambda listed: states(listed) == [("deleted", "retention")] * 2)


def test_a_deletion_that_a_kill_interrupted_is_finished(chain, rows, start_daemon, short_dir):
    daemon, camera, send = chain("min_free: 0")
    camera.frames(0, 40)
    send(20)
    [row] = rows(lambda listed: states(listed) == [("saved", "")])
    daemon.kill()
    with closing(sqlite3.connect(short_dir / "state/clip/ledger.db")) as database:
        database.execute("UPDATE clips SET state = 'deleting', why = 'quota'")
        database.commit()
    start_daemon("clip", short_dir / "visualpath.yaml")
    rows(lambda listed: states(listed) == [("deleted", "quota")])
    assert not (short_dir / "clips" / row["path"]).exists()


def test_what_a_crash_left_and_nobody_needs_is_swept_at_the_start(chain, short_dir, counter):
    unfinished, day = short_dir / "clips/.recording", short_dir / "clips/2026-01-01"
    for path in (unfinished / "0123456789abcdef.mp4.part", day / ".clip.json.tmp", day / "holiday.mp4"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    chain("min_free: 0")
    assert counter("clip", "swept") == 2
    assert [path.name for path in (short_dir / "clips").rglob("*") if path.is_file()] == ["holiday.mp4"]

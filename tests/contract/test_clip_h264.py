"""H.264 takes the place of the JPEGs in the background, and nothing is lost whenever that is interrupted."""

import json
import sqlite3
from contextlib import closing

import av
import pytest

from visualbase.verify import verify_clip
from visualpath_protocol.codec import encode
from visualpath_protocol.messages import Trig, make_trig_id
from visualpath_protocol.sockets import TRIGGERS

FRAME_NS = 40_000_000

CONFIG = """
    state_dir: state
    ring: {dir: ring, length: 30s}
    clip: {dir: clips, pre: 400ms, post: 400ms, format: h264}
    streams:
      cam1: {source: none.mp4}
"""


@pytest.fixture
def config(write_config):
    return write_config(CONFIG)


@pytest.fixture
def triggered(start_daemon, config, fake_stream, links):
    """The daemon, with a clip of frames 10 to 30 asked for and complete."""
    camera = fake_stream("cam1")
    daemon = start_daemon("clip", config)
    camera.await_subscribers()
    camera.frames(0, 40)
    socket = links.connect(TRIGGERS, "clip", identity="fusion")
    t_ns = 20 * FRAME_NS
    trig = Trig(
        trig_id=make_trig_id("cam1", 1, "smile", t_ns), stream="cam1", epoch=1, label="smile", reason="", score=0.5,
        frame_id=20, t_start_ns=t_ns, t_end_ns=t_ns,
    )  # fmt: skip
    assert socket.poll(10_000, flags=2)
    socket.send(encode(trig))
    return daemon


@pytest.fixture
def done(ask, wait_for, short_dir):
    """The clip's path, once its H.264 is what the ledger says."""

    def row():
        [clip] = ask("clip", "clips", {})["clips"] or [{"h264": ""}]
        return clip if clip["h264"] == "done" else None

    return lambda: short_dir / "clips" / wait_for(row, timeout_s=20)["path"]


def codec_of(path):
    with av.open(str(path)) as container:
        return container.streams.video[0].codec_context.name


def test_the_clip_becomes_h264_under_its_name(triggered, done):
    assert codec_of(done()) == "h264"


def test_the_clip_is_what_its_sidecar_says(triggered, done):
    assert verify_clip(done()) == []


def test_the_sidecar_keeps_what_was_replaced(triggered, done):
    sidecar = json.loads(done().with_suffix(".json").read_text())
    assert (sidecar["codec"], sidecar["replaces"]["codec"]) == ("h264", "mjpeg")


def test_nothing_unfinished_is_left(triggered, done, short_dir):
    done()
    assert list((short_dir / "clips/.recording").rglob("*")) == []


def test_after_a_kill_between_clip_and_ledger_it_is_not_done_again(triggered, done, start_daemon, config, short_dir):
    before = done().stat().st_mtime_ns
    triggered.kill()
    with closing(sqlite3.connect(short_dir / "state/clip/ledger.db")) as database:
        database.execute("UPDATE clips SET h264 = 'wanted'")
        database.commit()
    start_daemon("clip", config)
    assert done().stat().st_mtime_ns == before


def test_after_a_kill_between_sidecar_and_clip_it_is_done_again(triggered, done, start_daemon, config, short_dir):
    path = done()
    triggered.kill()
    sidecar = json.loads(path.with_suffix(".json").read_text())
    path.write_bytes(path.read_bytes() + b"\0")  # another file than the sidecar says, which plays
    with closing(sqlite3.connect(short_dir / "state/clip/ledger.db")) as database:
        database.execute("UPDATE clips SET h264 = 'wanted'")
        database.commit()
    start_daemon("clip", config)
    assert verify_clip(done()) == []
    assert json.loads(path.with_suffix(".json").read_text())["replaces"] == sidecar["replaces"]

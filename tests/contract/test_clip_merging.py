"""One incident, one clip: over overlapping triggers, revisions and kills of the real clip daemon."""

import hashlib
import json
import random

import av
import pytest

from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.messages import Ack, Trig, make_trig_id
from visualpath_protocol.sockets import TRIGGERS

FRAME_NS = 40_000_000
CODEC = Codec(Ack, max_bytes=TRIGGERS.max_bytes)

CONFIG = """
    state_dir: state
    ring: {dir: ring, length: 30s}
    clip: {dir: clips, pre: 400ms, post: 400ms, stall_timeout: 60s, format: mjpeg, max_length: 2s}
    streams:
      cam1: {source: none.mp4}
"""


def trig(first, last=None, revision=0, label="smile"):
    """A moment from frame `first` to `last`; with pre and post it asks for ten frames more on either side."""
    start, end = first * FRAME_NS, (first if last is None else last) * FRAME_NS
    return Trig(
        trig_id=make_trig_id("cam1", 1, label, start), revision=revision, stream="cam1", epoch=1, label=label,
        reason="", score=0.5, frame_id=first, t_start_ns=start, t_end_ns=end,
    )  # fmt: skip


class Fusion:
    """Sends each trigger until it is acknowledged."""

    def __init__(self, links):
        self._socket = links.connect(TRIGGERS, "clip", identity="fusion")
        self._open = {}

    def send(self, *triggers):
        for each in triggers:
            self._open[each.trig_id, each.revision] = each
        self.resend()

    def resend(self):
        for each in self._open.values():
            if self._socket.poll(0, flags=2):
                self._socket.send(encode(each))
        self.receive(0)

    def receive(self, wait_ms):
        while self._socket.poll(wait_ms):
            ack = CODEC.decode(self._socket.recv())
            self._open.pop((ack.trig_id, ack.revision), None)

    def settle(self):
        for _ in range(200):
            self.receive(50)
            if not self._open:
                return
            self.resend()
        raise AssertionError("no ACK")


@pytest.fixture
def fusion(links):
    return Fusion(links)


@pytest.fixture
def config(write_config):
    return write_config(CONFIG)


@pytest.fixture
def camera(fake_stream):
    return fake_stream("cam1")


@pytest.fixture
def clip_daemon(start_daemon, config, camera):
    daemon = start_daemon("clip", config)
    camera.await_subscribers()
    return daemon


@pytest.fixture
def clips(ask, wait_for):
    """All rows, once `count` are finished and none is unfinished."""

    def finished(count=1):
        def rows():
            listed = ask("clip", "clips", {})["clips"]
            return len(listed) >= count and all(row["state"] in ("saved", "failed") for row in listed) and listed

        return wait_for(rows)

    return finished


def files(short_dir):
    return sorted(path.suffix for path in (short_dir / "clips").rglob("*") if path.is_file())


def frames_of(clip):
    """Ids of the first and of the last frame."""
    return clip["sidecar"]["first_frame_id"], clip["sidecar"]["last_frame_id"]


def record(camera, fusion, *steps):
    """Frames up to each number, then its triggers, in order."""
    sent = -1
    for until, *triggers in steps:
        camera.frames(sent + 1, until)
        sent = until
        fusion.send(*triggers)
        fusion.settle()


# Merging ----------------------------------------------------------------------------------------


def test_triggers_that_overlap_share_a_clip(clip_daemon, camera, fusion, clips):
    record(camera, fusion, (20, trig(20)), (28, trig(28)), (60,))
    [clip] = clips()
    assert (frames_of(clip), clip["trig_ids"]) == ((10, 38), [trig(20).trig_id, trig(28).trig_id])


def test_the_sidecar_lists_all_triggers_of_the_clip(clip_daemon, camera, fusion, clips):
    record(camera, fusion, (20, trig(20)), (28, trig(28)), (60,))
    assert [each["trig_id"] for each in clips()[0]["sidecar"]["triggers"]] == [trig(20).trig_id, trig(28).trig_id]


def test_a_trigger_of_another_rule_that_began_earlier_extends_the_clip_to_its_beginning(
    clip_daemon, camera, fusion, clips
):
    record(camera, fusion, (20, trig(20)), (22, trig(15, 22, label="long")), (60,))
    [clip] = clips()
    assert (frames_of(clip), clip["sidecar"]["gaps"]) == ((5, 32), [])


def test_what_goes_beyond_max_length_begins_the_next_clip(clip_daemon, camera, fusion, clips):
    moments = [trig(first) for first in range(20, 80, 10)]
    record(camera, fusion, *((each.frame_id, each) for each in moments), (120,))
    spans = [frames_of(clip) for clip in clips(2)]
    assert all(last - first <= 51 for first, last in spans)
    for each in moments:
        assert any(first <= each.frame_id - 10 and each.frame_id + 10 <= last for first, last in spans)


def test_triggers_that_do_not_overlap_have_a_clip_each(clip_daemon, camera, fusion, clips):
    record(camera, fusion, (20, trig(20)), (45, trig(45)), (80,))
    assert [frames_of(clip) for clip in clips(2)] == [(10, 30), (35, 55)]


def test_a_higher_revision_extends_its_open_clip(clip_daemon, camera, fusion, clips):
    record(camera, fusion, (20, trig(20)), (26, trig(20, 26, revision=1)), (60,))
    assert [frames_of(clip) for clip in clips()] == [(10, 36)]


def test_a_higher_revision_after_the_end_goes_on_in_a_clip_of_its_own(clip_daemon, camera, fusion, clips):
    record(camera, fusion, (40, trig(20)), (60, trig(20, 45, revision=1)), (80,))
    assert [frames_of(clip) for clip in clips(2)] == [(10, 30), (30, 55)]


def test_the_clip_of_a_later_revision_is_timed_as_every_other(clip_daemon, camera, fusion, clips, ask):
    record(camera, fusion, (40, trig(20)), (60, trig(20, 45, revision=1)), (80,))
    clips(2)
    series = {each["name"]: each["cumulative"] for each in ask("clip", "metrics")["histograms"]["series"]}
    assert series["trigger_to_clip"][-1] == 2


# Kills ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(10))
def test_a_kill_at_any_moment_leaves_one_complete_clip_with_all_its_triggers(
    clip_daemon, camera, fusion, clips, start_daemon, config, short_dir, seed
):
    """The clip of two triggers and a revision; the kill comes at a random frame, the restart some frames later."""
    chance = random.Random(seed)
    killed_at = chance.randint(20, 42)
    restarted_at = killed_at + chance.randint(1, 8)
    asked = {20: trig(20), 27: trig(27), 31: trig(27, 31, revision=1)}
    daemon = clip_daemon
    for n in range(80):
        camera.frames(n, n)
        if n in asked:
            fusion.send(asked[n])
        if chance.random() < 0.5 and n < killed_at:
            fusion.receive(5)
        if n == killed_at:
            daemon.kill()
        if n == restarted_at:
            daemon = start_daemon("clip", config)
            camera.await_subscribers()
            fusion.settle()
    fusion.settle()
    rows = clips()
    [clip] = rows
    assert clip["trig_ids"] == [trig(20).trig_id, trig(27).trig_id]
    assert (frames_of(clip), clip["sidecar"]["gaps"]) == ((10, 41), [])
    assert files(short_dir) == [".jpg", ".json", ".mp4"]
    path = short_dir / "clips" / clip["path"]
    sidecar = json.loads(path.with_suffix(".json").read_text())
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sidecar["sha256"]
    with av.open(str(path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == sidecar["frames"] == 32


def test_a_kill_late_in_a_long_clip_keeps_the_beginning_that_the_ring_has_lost(
    clip_daemon, camera, fusion, clips, start_daemon, config, wait_for, counter
):
    headers = camera.frames(0, 20)
    fusion.send(trig(20))
    fusion.settle()
    headers += camera.frames(21, 28)
    wait_for(lambda: counter("clip", "frames") == 29)
    clip_daemon.kill()
    for header in headers[:25]:  # whole segments
        camera.segment(header).unlink(missing_ok=True)
    start_daemon("clip", config)
    camera.await_subscribers()
    camera.frames(29, 40)
    [clip] = clips()
    assert (frames_of(clip), clip["sidecar"]["frames"], clip["sidecar"]["gaps"]) == ((10, 30), 21, [])


def test_an_orderly_stop_in_mid_clip_is_gone_on_from_too(clip_daemon, camera, fusion, clips, start_daemon, config):
    record(camera, fusion, (25, trig(20)))
    assert clip_daemon.stop() == 0
    start_daemon("clip", config)
    camera.await_subscribers()
    camera.frames(26, 40)
    assert [frames_of(clip) for clip in clips()] == [(10, 30)]

"""The real clip daemon; the test plays the frame daemons and fusion."""

import hashlib
import json
import sqlite3
import time
from contextlib import closing, suppress

import av
import msgspec
import numpy as np
import pytest

from visualpath.clip.ledger import Ledger
from visualpath.core.errors import CommandError
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.messages import Ack, Trig, make_trig_id
from visualpath_protocol.sockets import TRIGGERS

FRAME_NS = 40_000_000
CODEC = Codec(Ack, max_bytes=TRIGGERS.max_bytes)

CONFIG = """
    state_dir: state
    ring: {dir: ring, length: 30s}
    clip: {dir: clips, pre: 400ms, post: 400ms, stall_timeout: 60s, format: mjpeg}
    streams:
      cam1: {source: none.mp4}
      cam2: {source: none.mp4}
"""


def trig(first, stream="cam1", epoch=1, revision=0):
    """A moment at one frame: with pre and post, its clip holds the frames from 10 before to 10 after."""
    t_ns = first * FRAME_NS
    return Trig(
        trig_id=make_trig_id(stream, epoch, "smile", t_ns), revision=revision, stream=stream, epoch=epoch,
        label="smile", reason="a smile", score=0.5, frame_id=first, t_start_ns=t_ns, t_end_ns=t_ns,
    )  # fmt: skip


class Fusion:
    """What the clip daemon sees of fusion."""

    def __init__(self, links):
        self._socket = links.connect(TRIGGERS, "clip", identity="fusion")

    def send(self, body):
        assert self._socket.poll(10_000, flags=2), "the clip daemon is not there"  # POLLOUT
        self._socket.send(body)

    def ask(self, trigger):
        """Send a trigger; returns the result of its ACK."""
        self.send(encode(trigger))
        assert self._socket.poll(10_000), "no ACK"
        ack = CODEC.decode(self._socket.recv())
        assert (ack.trig_id, ack.revision) == (trigger.trig_id, trigger.revision)
        return ack.result


@pytest.fixture
def fusion(links):
    return Fusion(links)


@pytest.fixture
def config(write_config):
    return write_config(CONFIG)


@pytest.fixture
def cameras(fake_stream):
    return fake_stream("cam1"), fake_stream("cam2")


@pytest.fixture
def clip_daemon(start_daemon, config, cameras):
    """The daemon, once it listens to both streams."""
    daemon = start_daemon("clip", config)
    for camera in cameras:
        camera.await_subscribers()
    return daemon


@pytest.fixture
def clips(ask, wait_for, short_dir):
    """The rows of `count` clips, once all are finished."""

    def finished(count=1):
        def rows():
            listed = ask("clip", "clips", {})["clips"]
            return [row for row in listed if row["state"] != "recording"]

        return wait_for(lambda: len(found := rows()) >= count and found)

    return finished


def videos(short_dir):
    return sorted((short_dir / "clips").rglob("*.mp4"))


def pictures(path):
    """How many pictures of a clip decode."""
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


# The ACK ----------------------------------------------------------------------------------------


def test_a_trigger_is_accepted(clip_daemon, fusion):
    assert fusion.ask(trig(20)) == "accepted"


def test_a_trigger_is_in_the_ledger_when_it_is_accepted(clip_daemon, fusion, short_dir):
    fusion.ask(trig(20))
    clip_daemon.kill()
    with closing(Ledger(short_dir / "state" / "clip" / "ledger.db")) as ledger:
        assert [order.triggers for order in ledger.unfinished()] == [(trig(20),)]


def test_the_same_trigger_again_is_a_duplicate(clip_daemon, fusion):
    assert [fusion.ask(trig(20)) for _ in range(3)] == ["accepted", "duplicate", "duplicate"]


def test_a_duplicate_after_a_restart_is_one_too(clip_daemon, fusion, start_daemon, config):
    fusion.ask(trig(20))
    clip_daemon.kill()
    start_daemon("clip", config)
    assert fusion.ask(trig(20)) == "duplicate"


def test_a_duplicate_makes_no_second_clip(clip_daemon, fusion, cameras, clips, short_dir):
    cameras[0].frames(0, 40)
    for _ in range(2):
        fusion.ask(trig(20))
    clips()
    fusion.ask(trig(20))
    assert len(clips()) == len(videos(short_dir)) == 1


def test_a_higher_revision_is_accepted_and_makes_no_second_clip(clip_daemon, fusion, cameras, clips, short_dir):
    cameras[0].frames(0, 40)
    results = [fusion.ask(trig(20, revision=n)) for n in range(2)]
    clips()
    assert (results, len(videos(short_dir))) == (["accepted", "accepted"], 1)


def test_a_trigger_of_an_unknown_stream_is_refused(clip_daemon, fusion):
    assert fusion.ask(trig(20, stream="attic")) == "refused"


def test_a_moment_far_beyond_the_newest_frame_is_refused(clip_daemon, cameras, fusion):
    """Its clip would fill the disk, or wait for ever: a plug-in has taken the clock on the wall for event time."""
    cameras[0].frames(0, 40)
    assert fusion.ask(msgspec.structs.replace(trig(20), t_end_ns=time.time_ns())) == "refused"


def test_a_moment_whose_frames_are_written_but_not_yet_heard_of_is_accepted(clip_daemon, cameras, fusion):
    cameras[0].frames(0, 0)
    for n in range(1, 2001):
        cameras[0].write(n)
    assert fusion.ask(trig(1990)) == "accepted"


def test_a_refused_trigger_leaves_no_row(clip_daemon, fusion, ask):
    fusion.ask(trig(20, stream="attic"))
    assert ask("clip", "clips", {})["triggers"] == []


# Garbage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\xff\xfe", encode(Ack(trig_id="0" * 16, revision=0, result="accepted")), b"\x93\x01\x02\x03"],
    ids=["nothing", "noise", "an ACK", "a list"],
)
def test_garbage_in_place_of_a_trigger_is_counted_and_the_daemon_lives(clip_daemon, fusion, counter, wait_for, garbage):
    fusion.send(garbage)
    wait_for(lambda: counter("clip", "refused.trig.malformed") == 1)
    assert fusion.ask(trig(20)) == "accepted"


def test_garbage_in_place_of_a_header_is_counted_and_the_daemon_lives(
    clip_daemon, cameras, fusion, clips, counter, wait_for
):
    cameras[0].send("h", b"garbage")
    wait_for(lambda: counter("clip", "refused.headers.malformed") == 1)
    cameras[0].frames(0, 40)
    fusion.ask(trig(20))
    assert clips()[0]["state"] == "saved"


def test_a_header_without_payload_costs_one_picture(clip_daemon, cameras, fusion, clips, counter, wait_for):
    headers = [cameras[0].write(n) for n in range(41)]
    headers[20] = msgspec.structs.replace(headers[20], payloads=[])
    for header in headers:
        cameras[0].announce(header)
    wait_for(lambda: counter("clip", "frames") == 41)
    fusion.ask(trig(20))
    assert clips()[0]["sidecar"]["frames"] == 20


@pytest.mark.parametrize("limit", [0, -1, "all", None, 2**63, 1.5])
def test_a_limit_that_is_none_is_refused_and_the_daemon_lives(clip_daemon, ask, limit):
    with pytest.raises(CommandError, match="limit"):
        ask("clip", "clips", {"limit": limit})
    assert ask("clip", "clips", {})["clips"] == []


# The clip ---------------------------------------------------------------------------------------


def test_a_moment_of_the_past_is_a_clip_at_once(clip_daemon, cameras, fusion, clips, counter, wait_for):
    cameras[0].frames(0, 40)
    wait_for(lambda: counter("clip", "frames") == 41)
    fusion.ask(trig(20))
    [clip] = clips()
    assert (clip["state"], clip["sidecar"]["frames"], clip["sidecar"]["gaps"]) == ("saved", 21, [])


def test_the_frames_after_the_moment_are_awaited(clip_daemon, cameras, fusion, clips, ask, counter, wait_for):
    cameras[0].frames(0, 20)
    fusion.ask(trig(20))
    wait_for(lambda: counter("clip", "frames") == 21)
    assert ask("clip", "clips", {})["clips"][0]["state"] == "recording"
    cameras[0].frames(21, 31)
    assert clips()[0]["sidecar"]["frames"] == 21


def test_every_picture_of_the_clip_decodes_and_they_are_as_many_as_the_sidecar_says(
    clip_daemon, cameras, fusion, clips, short_dir
):
    cameras[0].frames(0, 40)
    fusion.ask(trig(20))
    [clip] = clips()
    path = short_dir / "clips" / clip["path"]
    sidecar = json.loads(path.with_suffix(".json").read_text())
    assert pictures(path) == sidecar["frames"] == 21


def test_the_sidecar_has_the_sha256_of_the_file(clip_daemon, cameras, fusion, clips, short_dir):
    cameras[0].frames(0, 40)
    fusion.ask(trig(20))
    [clip] = clips()
    content = (short_dir / "clips" / clip["path"]).read_bytes()
    assert clip["sidecar"]["sha256"] == hashlib.sha256(content).hexdigest()


def test_headers_that_were_lost_on_the_way_are_recovered_from_the_ring(clip_daemon, cameras, fusion, clips):
    headers = [cameras[0].write(n) for n in range(41)]
    for header in headers[::8]:
        cameras[0].announce(header)
    fusion.ask(trig(20))
    [clip] = clips()
    assert (clip["sidecar"]["frames"], clip["sidecar"]["gaps"]) == (21, [])


def test_the_end_of_the_stream_ends_the_clip(clip_daemon, cameras, fusion, clips):
    cameras[0].frames(0, 22)
    fusion.ask(trig(20))
    cameras[0].state("ended", fps=25.0, last_frame_id=22)
    [clip] = clips()
    assert [gap["reason"] for gap in clip["sidecar"]["gaps"]] == ["after_end"]


def test_a_new_epoch_ends_the_clip(clip_daemon, cameras, fusion, clips):
    cameras[0].frames(0, 22)
    fusion.ask(trig(20))
    cameras[0].begin(2)
    cameras[0].frames(0, 0)
    [clip] = clips()
    assert [gap["reason"] for gap in clip["sidecar"]["gaps"]] == ["epoch_change"]


def test_each_stream_has_its_own_clip(clip_daemon, cameras, fusion, clips):
    for stream in ("cam1", "cam2"):
        fusion.ask(trig(20, stream=stream))
    for n in range(41):
        for camera in cameras:
            camera.frames(n, n)
    found = {clip["stream"]: clip["sidecar"]["frames"] for clip in clips(2)}
    assert found == {"cam1": 21, "cam2": 21}


def test_a_clip_without_a_picture_has_failed_and_says_why(clip_daemon, cameras, fusion, clips):
    for header in cameras[0].frames(0, 40):
        cameras[0].segment(header).unlink(missing_ok=True)
    fusion.ask(trig(20))
    [clip] = clips()
    assert (clip["state"], clip["why"]) == ("failed", "no frame of the span is to be had: evicted")


def test_a_trigger_whose_metadata_are_an_array_has_its_clip(clip_daemon, cameras, fusion, clips):
    cameras[0].frames(0, 40)
    fusion.ask(msgspec.structs.replace(trig(20), metadata={"box": np.zeros(4, np.float32)}))
    assert clips()[0]["state"] == "saved"


# After a crash ----------------------------------------------------------------------------------


@pytest.fixture
def killed_while_recording(clip_daemon, cameras, fusion, start_daemon, config, wait_for, short_dir):
    """The clip daemon was killed in the middle of a clip and started again; the frames went on."""
    cameras[0].frames(0, 22)
    fusion.ask(trig(20))
    wait_for(lambda: list(short_dir.glob("clips/.recording/*")))
    clip_daemon.kill()
    start_daemon("clip", config)
    cameras[0].await_subscribers()
    cameras[0].frames(23, 40)


def test_a_kill_while_recording_costs_nothing(killed_while_recording, clips):
    assert [clip["sidecar"]["frames"] for clip in clips()] == [21]


def test_a_kill_while_recording_leaves_one_clip_and_no_part_of_it(killed_while_recording, clips, short_dir):
    clips()
    files = [path.suffix for path in (short_dir / "clips").rglob("*") if path.is_file()]
    assert sorted(files) == [".jpg", ".json", ".mp4"]


def test_a_crash_between_the_file_and_the_ledger_makes_no_second_clip(
    clip_daemon, cameras, fusion, clips, start_daemon, config, short_dir
):
    headers = cameras[0].frames(0, 40)
    fusion.ask(trig(20))
    clips()
    clip_daemon.kill()
    database = sqlite3.connect(short_dir / "state" / "clip" / "ledger.db")
    database.execute("UPDATE clips SET state = 'recording', path = '', sidecar = '{}'")
    database.commit()
    database.close()
    for header in headers[:15]:  # the ring has gone on meanwhile
        cameras[0].segment(header).unlink(missing_ok=True)
    start_daemon("clip", config)
    cameras[0].await_subscribers()
    [clip] = clips()
    assert (len(videos(short_dir)), clip["sidecar"]["frames"]) == (1, 21)


def test_an_orderly_stop_ends_with_0(clip_daemon):
    assert clip_daemon.stop() == 0


def test_a_second_clip_daemon_is_refused(clip_daemon, start_daemon, config):
    assert start_daemon("clip", config).wait() == 75


# A damaged ledger ---------------------------------------------------------------------------------


def spoil(ledger):
    """Garbage over it, and over what SQLite keeps beside it."""
    for path in ledger.parent.glob("ledger.db*"):
        with path.open("r+b") as file:  # not cut short first: the process that has it mapped would die
            file.write(b"\xa5" * path.stat().st_size)


@pytest.fixture
def ledger_path(short_dir):
    return short_dir / "state" / "clip" / "ledger.db"


def states(listed):
    return {row["clip_id"]: row["state"] for row in listed}


def test_clips_that_a_lost_ledger_knew_of_are_found_by_their_sidecars(
    clip_daemon, cameras, fusion, clips, start_daemon, config, ledger_path, ask
):
    cameras[0].frames(0, 40)
    fusion.ask(trig(20))
    [before] = clips()
    clip_daemon.kill()
    for path in ledger_path.parent.glob("ledger.db*"):
        path.unlink()
    start_daemon("clip", config)
    cameras[0].await_subscribers()
    [after] = clips()
    assert after == before
    assert ask("clip", "status")["counters"]["clips.found"] == 1


def test_a_ledger_that_is_damaged_at_work_is_replaced_and_knows_all_clips_again(
    clip_daemon, cameras, fusion, clips, ledger_path, ask, wait_for
):
    cameras[0].frames(0, 40)
    fusion.ask(trig(20))
    clips()
    cameras[0].frames(41, 65)
    fusion.ask(trig(60))
    spoil(ledger_path)
    with suppress(CommandError):  # it is this that meets the damage
        ask("clip", "clips", {})
    cameras[0].frames(66, 90)
    wait_for(lambda: states(clips()) == {trig(20).trig_id: "saved", trig(60).trig_id: "saved"})
    assert ask("clip", "status")["counters"]["damaged.ledger"] == 1
    assert clip_daemon.alive()


def test_triggers_are_taken_after_the_ledger_was_damaged(clip_daemon, cameras, fusion, clips, ledger_path, ask):
    cameras[0].frames(0, 40)
    spoil(ledger_path)
    with suppress(CommandError):  # it is this that meets the damage
        ask("clip", "clips", {})
    assert fusion.ask(trig(20)) == "accepted"
    assert states(clips()) == {trig(20).trig_id: "saved"}


def test_a_clip_whose_sidecar_is_damaged_is_told_and_left_alone(
    clip_daemon, cameras, fusion, clips, start_daemon, config, ledger_path, short_dir, wait_for
):
    cameras[0].frames(0, 40)
    fusion.ask(trig(20))
    clips()
    clip_daemon.kill()
    [video] = videos(short_dir)
    video.with_suffix(".json").write_text('{"sha256": "x", "triggers": 3}')
    for path in ledger_path.parent.glob("ledger.db*"):
        path.unlink()
    daemon = start_daemon("clip", config)
    wait_for(lambda: "the ledger does not know it" in daemon.log())
    assert videos(short_dir) == [video]


def test_a_clip_that_the_last_run_did_not_come_to_is_found_by_the_next(
    clip_daemon, cameras, fusion, clips, start_daemon, config, ledger_path
):
    cameras[0].frames(0, 40)
    fusion.ask(trig(20))
    [before] = clips()
    clip_daemon.kill()
    with closing(sqlite3.connect(ledger_path)) as database, database:  # its time goes on
        database.execute("DELETE FROM clips")
        database.execute("DELETE FROM triggers")
    start_daemon("clip", config)
    assert clips() == [before]


def test_a_moment_joins_a_clip_that_the_damaged_ledger_has_just_forgotten(
    clip_daemon, cameras, fusion, clips, ledger_path, wait_for, short_dir
):
    cameras[0].frames(0, 40)
    fusion.ask(trig(35))
    wait_for(lambda: list((short_dir / "clips/.recording").glob("*.part")))
    spoil(ledger_path)
    assert fusion.ask(trig(38)) == "accepted"
    cameras[0].frames(41, 60)
    [row] = clips()
    assert (row["sidecar"]["frames"], row["sidecar"]["gaps"]) == (24, [])
    assert set(row["trig_ids"]) == {trig(35).trig_id, trig(38).trig_id}
    assert len(videos(short_dir)) == 1
    assert clip_daemon.alive()


def test_a_clip_whose_triggers_the_damaged_ledger_has_lost_is_made_all_the_same(
    clip_daemon, cameras, fusion, clips, start_daemon, config, ledger_path
):
    cameras[0].frames(0, 25)
    fusion.ask(trig(20))
    clip_daemon.kill()
    with closing(sqlite3.connect(ledger_path)) as database, database:
        database.execute("DELETE FROM triggers")
    daemon = start_daemon("clip", config)
    cameras[0].await_subscribers()
    cameras[0].frames(26, 40)
    [row] = clips()
    assert (row["state"], row["sidecar"]["frames"]) == ("saved", 21)
    assert daemon.alive()

"""What stands in the way of H.264, and that neither the service nor the other clips suffer from it."""

import errno
import hashlib
import json
import os
import sqlite3

import pytest

from visualbase.transcode import EXIT_FAILED, main
from visualpath.clip import h264
from visualpath.clip.files import ClipFolder
from visualpath.clip.h264 import PAUSE_NS, H264Maker
from visualpath.clip.ledger import SavedClip
from visualpath.clip.worker import Worker
from visualpath_protocol.clock import mono_ns

CLIP_ID = "0123456789abcdef"


class Ledger:
    """One clip is to become H.264."""

    def __init__(self):
        self.error = None
        self.asked = 0

    def next_for_h264(self):
        self.asked += 1
        if self.error:
            raise self.error
        return SavedClip(CLIP_ID, "2026-01-01/clip.mp4", 100, 1)


class Outcomes:
    def __init__(self):
        self.failed = {}
        self.unread = []

    def no_h264(self, clip_id, why):
        self.failed[clip_id] = why

    def unreadable(self, error):
        self.unread.append(error)


class Bench:
    def __init__(self, folder):
        self.ledger, self.outcomes = Ledger(), Outcomes()
        self.folder = ClipFolder(folder)
        self.clip = folder / "2026-01-01/clip.mp4"
        self.clip.parent.mkdir()
        self.folder.unfinished.mkdir()
        sidecar = {"codec": "mjpeg", "size_bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()}
        self.clip.with_suffix(".json").write_text(json.dumps(sidecar))
        self.worker = Worker(lambda callback: None)
        self.maker = H264Maker(self.folder, self.ledger, self.outcomes, self.worker)

    def h264_is_ready(self):
        """The encoder has ended well; the worker puts its file into the clip's place."""
        self.clip.touch()
        self.folder.h264(CLIP_ID).touch()
        self.maker.clip_id, self.maker._clip = CLIP_ID, self.clip
        self.worker.submit(lambda: h264._install(self.clip, self.folder.h264(CLIP_ID)), self.maker._installed)
        self.worker.close()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.maker.stop()
    bench.worker.close()


def test_an_encoder_that_hangs_is_killed_and_the_clip_stays_what_it_is(bench, monkeypatch, wait_for):
    monkeypatch.setattr(h264, "TIMEOUT_NS", 0)
    os.mkfifo(bench.clip)  # whoever opens it waits for ever

    def failed():
        bench.maker.tick(mono_ns())
        return bench.outcomes.failed

    assert wait_for(failed) == {CLIP_ID: "the encoder ended with -9"}


def test_a_process_that_cannot_be_started_fails_this_clip_alone(bench, monkeypatch):
    monkeypatch.setattr(h264.sys, "executable", "/nowhere/python")
    bench.maker.tick(mono_ns())
    assert "no process can be started" in bench.outcomes.failed[CLIP_ID]


def test_a_ledger_that_cannot_be_read_is_reported_and_tried_again_later(bench):
    bench.ledger.error = sqlite3.OperationalError("disk I/O error")
    for now in (0, PAUSE_NS - 1, PAUSE_NS):
        bench.maker.tick(now)
    assert (bench.ledger.asked, bench.outcomes.unread) == (2, [bench.ledger.error] * 2)


def test_a_disk_that_is_full_only_when_the_h264_is_put_in_place_is_waited_for(bench, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(h264, "write_sidecar", full)
    bench.h264_is_ready()
    assert (bench.maker.clip_id, bench.outcomes.failed) == ("", {})


def test_a_disk_that_refuses_otherwise_fails_the_h264(bench, monkeypatch):
    def read_only(*_):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(h264, "write_sidecar", read_only)
    bench.h264_is_ready()
    assert "Read-only" in bench.outcomes.failed[CLIP_ID]


def test_an_encoder_whose_daemon_died_before_it_began_writes_nothing(bench, monkeypatch, capsys):
    monkeypatch.setattr("ctypes.CDLL", lambda _: type("libc", (), {"prctl": lambda *_: 0})())
    target = bench.folder.h264(CLIP_ID)
    assert main([str(bench.clip), str(target), "1"]) == EXIT_FAILED
    assert (target.exists(), "dead" in capsys.readouterr().err) == (False, True)

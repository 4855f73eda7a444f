"""The thread that reads a source: what it counts."""

from collections import Counter

import pytest

from visualbase.errors import Stalled
from visualbase.sources.base import Picture, SourceInfo
from visualpath.frame import capture as module
from visualpath.frame.capture import Capture, Failed
from visualpath.runtime.config import load_config
from visualpath.runtime.refusals import Refusals
from visualpath_protocol.clock import mono_ns


class LosesThenStalls:
    """A live source that gives one picture, then nothing that can be decoded."""

    live = True
    info = SourceInfo(64, 48, 10.0, 0)

    def __init__(self, *_, **__):
        self.dropped = {"damaged": 0}

    def pictures(self):
        yield Picture(mono_ns(), b"jpeg", 64, 48)
        self.dropped["damaged"] = 7
        raise Stalled("rtsp://cam/1", "no picture in 7 packets for 5 s", "hint")

    def close(self):
        pass


@pytest.fixture
def counters(monkeypatch, tmp_path):
    """What has been counted when the source has failed once."""
    (tmp_path / "v.yaml").write_text("ring: {dir: ring}\nstreams: {cam1: {source: 'rtsp://cam/1'}}\n")
    monkeypatch.setattr(module, "open_source", LosesThenStalls)
    monkeypatch.setattr(module.Backoff, "wait_s", lambda *_: 60.0)
    counters = Counter()
    capture = Capture("cam1", load_config(tmp_path / "v.yaml"), Refusals(counters), lambda: None)
    capture.start()
    while not isinstance(capture.events.get(timeout=10), Failed):
        pass
    yield counters
    capture.stop()


def test_what_was_lost_right_before_a_failure_is_counted(counters):
    assert counters["dropped.source.damaged"] == 7


def test_a_stall_is_counted_as_one(counters):
    assert (counters["source.connects"], counters["source.disconnects.stalled"]) == (1, 1)

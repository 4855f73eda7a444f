"""A source that keeps the capture thread for longer than its timeouts allow is seen."""

import threading
from collections import Counter

import pytest

from visualbase.sources.base import Picture, SourceInfo
from visualpath.frame import capture as module
from visualpath.frame.capture import STUCK_AFTER_TIMEOUTS, Capture, Failed
from visualpath.runtime.config import load_config
from visualpath.runtime.refusals import Refusals
from visualpath_protocol.clock import mono_ns

TIMEOUT_NS = 200_000_000


class Hangs:
    """A source in which `hangs` blocks until it is let go."""

    live = True
    info = SourceInfo(64, 48, 10.0, 0)
    dropped = {}

    def __init__(self, hangs):
        self._hangs = hangs
        self.inside = threading.Event()
        self.let_go = threading.Event()

    def _at(self, place):
        if place == self._hangs:
            self.inside.set()
            self.let_go.wait(20)

    def open(self, *_, **__):
        self._at("opening")
        return self

    def pictures(self):
        self._at("reading")
        yield Picture(mono_ns(), b"jpeg", 64, 48)

    def close(self):
        self._at("closing")


@pytest.fixture
def hang(monkeypatch, tmp_path):
    """A capture whose source hangs at a place."""
    running = []

    def hang(place):
        stream = "{source: 'rtsp://cam/1', timeout: 200ms}"
        (tmp_path / "v.yaml").write_text(f"ring: {{dir: ring}}\nstreams: {{cam1: {stream}}}\n")
        source = Hangs(place)
        monkeypatch.setattr(module, "open_source", source.open)
        capture = Capture("cam1", load_config(tmp_path / "v.yaml"), Refusals(Counter()), lambda: None)
        capture.start()
        capture.source = source
        running.append(capture)
        assert source.inside.wait(10)
        return capture

    yield hang
    for capture in running:
        capture.source.let_go.set()
        capture.stop()


@pytest.mark.parametrize("place", ["opening", "reading", "closing"])
def test_a_source_that_hangs_is_stuck_after_four_timeouts(hang, place):
    capture = hang(place)
    now = mono_ns()
    assert not capture.stuck(now)
    assert capture.stuck(now + STUCK_AFTER_TIMEOUTS * TIMEOUT_NS + 1)


def test_one_that_waits_for_its_next_try_is_not(hang, monkeypatch):
    monkeypatch.setattr(module.Backoff, "wait_s", lambda *_: 60.0)
    capture = hang("closing")
    capture.source.let_go.set()
    while not isinstance(capture.events.get(timeout=10), Failed):
        pass
    assert not capture.stuck(mono_ns() + 3600 * 10**9)

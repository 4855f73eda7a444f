"""Which pictures share an epoch, and what becomes of the epochs before."""

import errno
import os
from collections import Counter
from types import SimpleNamespace

import pytest

from visualbase.ring import RingReader
from visualbase.sources.base import Picture, SourceInfo
from visualpath.core.errors import StorageError
from visualpath.frame import writer as module
from visualpath.frame.writer import FrameWriter
from visualpath.runtime.config import load_config
from visualpath.runtime.refusals import Refusals

S = 1_000_000_000
SOURCE = SimpleNamespace(info=SourceInfo(64, 48, 10.0, 0))
LENGTH_NS = 20 * S


class Writer:
    """A writer with a ring of 20 s and a clock of its own."""

    def __init__(self, folder, clock):
        (folder / "v.yaml").write_text("ring: {dir: ring, length: 20s}\nstreams: {cam1: {source: a.mp4}}\n")
        self.writer = FrameWriter("cam1", load_config(folder / "v.yaml"), Refusals(Counter()))
        self._clock = clock
        self._reader = RingReader(folder / "ring", "cam1")

    def epoch_at(self, second, t_ns=0):
        """An epoch of one frame."""
        self._clock.now = second * S
        self.writer.begin(picture(t_ns), SOURCE)
        self.writer.write(picture(t_ns), live=False)
        self.writer.end()

    def epochs(self):
        return [header.epoch for header in self._reader.scan()]


def picture(t_ns, size=(64, 48)):
    return Picture(t_ns, b"jpeg", *size)


@pytest.fixture
def start(tmp_path, monkeypatch):
    clock = SimpleNamespace(now=0)
    monkeypatch.setattr(module, "mono_ns", lambda: clock.now)
    return lambda: Writer(tmp_path, clock)


@pytest.mark.parametrize(
    ("then", "fits"),
    [(picture(2 * S), True), (picture(S), False), (picture(0), False), (picture(2 * S, (48, 64)), False)],
    ids=["later", "same time", "earlier", "other size"],
)
def test_an_epoch_goes_on_with_a_later_picture_of_the_same_size(start, then, fits):
    writer = start().writer
    writer.begin(picture(S), SOURCE)
    writer.write(picture(S), live=False)
    assert writer.fits(then) == fits


def test_an_epoch_begins_at_any_time(start):
    writer = start().writer
    writer.begin(picture(5 * S), SOURCE)
    writer.write(picture(5 * S), live=False)
    writer.begin(picture(0), SOURCE)
    assert writer.fits(picture(0))


def test_epochs_that_ended_longer_ago_than_the_ring_is_long_are_gone(start):
    writer = start()
    for second in (0, 10, 15, 31):
        writer.epoch_at(second)
    assert writer.epochs() == [3, 4]


def test_a_stream_that_begins_anew_again_and_again_keeps_no_more_than_that(start):
    writer = start()
    for second in range(0, 1000, 10):
        writer.epoch_at(second)
    assert writer.epochs() == [98, 99, 100]


def test_what_an_earlier_process_left_is_kept_as_long_again(start):
    start().epoch_at(0)
    writer = start()
    writer.epoch_at(1000)
    assert writer.epochs() == [1, 2]
    writer.epoch_at(1021)
    assert writer.epochs() == [3]


def test_counters_go_on_over_epochs(start):
    writer = start()
    for second in (0, 15, 31):
        writer.epoch_at(second)
    counters = writer.writer.counters()
    assert (counters["frames_written"], counters["segments_deleted"]) == (3, 1)


def test_a_ring_that_may_not_be_written_is_told_as_that(start, monkeypatch):
    writer = start().writer
    writer.begin(picture(0), SOURCE)

    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("visualbase.ring.os.pwritev", refuse)
    with pytest.raises(StorageError, match=r"cannot write the ring in .*: Read-only file system"):
        writer.write(picture(1), live=False)

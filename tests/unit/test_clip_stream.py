"""When a recording begins, and what ends it. Time is an argument."""

import numpy as np
import pytest

from visualbase import jpeg
from visualbase.ring import RingWriter
from visualpath.clip.files import ClipFolder
from visualpath.clip.order import ClipOrder
from visualpath.clip.stream import ClipStream
from visualpath.runtime.sections import ClipConfig
from visualpath_protocol.messages import FrameHeader, StreamState, Trig, make_trig_id

MS = 1_000_000
S = 1_000_000_000
FRAME_NS = 100 * MS
PICTURE = jpeg.encode(np.zeros((16, 16, 3), np.uint8))


class Bench:
    """A ring that the test writes, and the stream under test; pre and post are 200 ms, stall_timeout 5 s."""

    def __init__(self, folder):
        self._folder = folder
        self._writers = {}
        self.stream = self.restarted()

    def restarted(self):
        config = ClipConfig(pre_ns=200 * MS, post_ns=200 * MS, stall_timeout_ns=5 * S)
        self.stream = ClipStream("cam1", self._folder / "ring", 30 * S, config, ClipFolder(self._folder / "clips"))
        return self.stream

    def write(self, frame_id, epoch=1):
        if epoch not in self._writers:
            ring = self._folder / "ring"
            self._writers[epoch] = RingWriter(ring, "cam1", epoch, max_seconds=30, max_bytes=1 << 20)
        bare = FrameHeader(
            stream="cam1", epoch=epoch, frame_id=frame_id, t_ns=frame_id * FRAME_NS, wall_ns=1, mono_ns=0,
            width=16, height=16, payloads=[],
        )  # fmt: skip
        return self._writers[epoch].append(bare, PICTURE)

    def frames(self, first, last, epoch=1, now=0):
        """Write and announce the frames from `first` to `last`; returns what was completed."""
        return [done for n in range(first, last + 1) for done in self.stream.frame(self.write(n, epoch), now)]

    def state(self, state, last_frame_id=None, epoch=1):
        return self.stream.state(StreamState(stream="cam1", epoch=epoch, state=state, last_frame_id=last_frame_id))

    def close(self):
        self.stream.stop()
        for writer in self._writers.values():
            writer.close()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def order(first, last=None, epoch=1):
    """The clip of a moment from frame `first` to frame `last`."""
    start, end = first * FRAME_NS, (first if last is None else last) * FRAME_NS
    one = Trig(
        trig_id=make_trig_id("cam1", epoch, "smile", start), stream="cam1", epoch=epoch, label="smile", reason="",
        score=0.5, frame_id=first, t_start_ns=start, t_end_ns=end,
    )  # fmt: skip
    asked = start - 200 * MS, end + 200 * MS
    return ClipOrder(clip_id=one.trig_id, stream="cam1", epoch=epoch, asked=asked, triggers=(one,))


def saved(recordings):
    """(ids of the first frame and of the frame behind the last, reasons of the gaps) of the only recording."""
    [recording] = recordings
    _, sidecar = recording.save()
    first, until = (t_ns // FRAME_NS for t_ns in sidecar["delivered"])
    return first, until, [gap["reason"] for gap in sidecar["gaps"]]


# From the ring ----------------------------------------------------------------------------------


def test_a_span_that_is_past_is_served_from_the_ring_at_once(bench):
    bench.frames(0, 20)
    assert saved(bench.stream.start(order(10), now=0)) == (8, 13, [])


def test_a_clip_that_is_complete_is_waited_for_no_longer(bench):
    bench.frames(0, 20)
    [complete] = bench.stream.start(order(10), now=0)
    assert bench.stream.recordings == []
    complete.abort()


def test_a_trigger_of_a_past_epoch_is_served_from_the_ring(bench):
    bench.frames(0, 20)
    bench.frames(0, 0, epoch=2)
    assert saved(bench.stream.start(order(10), now=0)) == (8, 13, [])


def test_a_trigger_at_the_end_of_a_past_epoch_lacks_what_the_change_cut_off(bench):
    bench.frames(0, 20)
    bench.frames(0, 0, epoch=2)
    assert saved(bench.stream.start(order(20), now=0)) == (18, 21, ["epoch_change"])


def test_what_was_written_before_a_restart_of_the_clip_daemon_is_served(bench):
    bench.frames(0, 20)
    bench.restarted()
    assert saved(bench.stream.start(order(10), now=0)) == (8, 13, [])


# The first frame past the end -------------------------------------------------------------------


def test_the_frames_after_the_moment_are_awaited(bench):
    bench.frames(0, 10)
    assert bench.stream.start(order(10), now=0) == []


def test_the_first_frame_past_the_end_completes_the_clip(bench):
    bench.frames(0, 10)
    bench.stream.start(order(10), now=0)
    assert bench.frames(11, 12) == []
    assert saved(bench.frames(13, 13)) == (8, 13, [])


def test_a_trigger_may_come_before_its_frames(bench):
    bench.stream.start(order(10), now=0)
    assert saved(bench.frames(0, 13)) == (8, 13, [])


def test_a_frame_that_was_not_announced_is_in_the_clip(bench):
    bench.frames(0, 10)
    bench.stream.start(order(10), now=0)
    bench.write(11)
    assert saved(bench.frames(12, 13)) == (8, 13, [])


def test_a_frame_that_was_not_written_is_lacking(bench):
    bench.frames(0, 10)
    bench.stream.start(order(10), now=0)
    assert saved(bench.frames(12, 13)) == (8, 13, ["not_received"])


def test_two_recordings_are_completed_each_at_its_own_end(bench):
    bench.frames(0, 10)
    bench.stream.start(order(10), now=0)
    bench.stream.start(order(11), now=0)
    assert saved(bench.frames(11, 13)) == (8, 13, [])
    assert saved(bench.frames(14, 14)) == (9, 14, [])


def test_a_recording_of_a_future_epoch_takes_no_frame_of_this_one(bench):
    bench.stream.start(order(10, epoch=2), now=0)
    assert bench.frames(0, 20) == []
    assert saved(bench.frames(0, 13, epoch=2)) == (8, 13, [])


# The end of the stream --------------------------------------------------------------------------


def test_the_end_of_the_stream_ends_the_clip(bench):
    bench.frames(0, 10)
    bench.stream.start(order(10), now=0)
    assert saved(bench.state("ended", last_frame_id=10)) == (8, 11, ["after_end"])


def test_a_trigger_that_comes_after_the_end_of_the_stream_is_served_at_once(bench):
    bench.frames(0, 10)
    bench.state("ended", last_frame_id=10)
    assert saved(bench.stream.start(order(10), now=0)) == (8, 11, ["after_end"])


def test_the_end_of_the_stream_is_believed_when_its_last_frame_is_here(bench):
    bench.frames(0, 10)
    bench.stream.start(order(10), now=0)
    assert bench.state("ended", last_frame_id=11) == []


def test_the_last_frames_are_recovered_from_the_ring_when_the_stream_has_ended(bench):
    bench.frames(0, 10)
    bench.stream.start(order(10), now=0)
    bench.write(11)
    assert saved(bench.state("ended", last_frame_id=11)) == (8, 12, [])


@pytest.mark.parametrize("state", ["starting", "live", "stalled"])
def test_no_other_state_ends_the_clip(bench, state):
    bench.frames(0, 10)
    bench.stream.start(order(10), now=0)
    assert bench.state(state, last_frame_id=10) == []


# A change of epoch ------------------------------------------------------------------------------


def test_the_first_frame_of_a_new_epoch_ends_the_clip(bench):
    bench.frames(0, 10)
    bench.stream.start(order(10), now=0)
    assert saved(bench.frames(0, 0, epoch=2)) == (8, 11, ["epoch_change"])


def test_the_state_of_a_new_epoch_ends_the_clip(bench):
    bench.frames(0, 10)
    bench.stream.start(order(10), now=0)
    assert saved(bench.state("starting", epoch=2)) == (8, 11, ["epoch_change"])


def test_the_state_of_a_past_epoch_ends_nothing(bench):
    bench.frames(0, 0)
    bench.frames(0, 10, epoch=2)
    bench.stream.start(order(10, epoch=2), now=0)
    assert bench.state("ended", last_frame_id=10, epoch=1) == []


# Silence ----------------------------------------------------------------------------------------


def test_silence_of_stall_timeout_ends_the_clip(bench):
    bench.frames(0, 10, now=7 * S)
    bench.stream.start(order(10), now=7 * S)
    assert saved(bench.stream.tick(12 * S)) == (8, 11, ["not_received"])


def test_shorter_silence_does_not(bench):
    bench.frames(0, 10, now=7 * S)
    bench.stream.start(order(10), now=7 * S)
    assert bench.stream.tick(12 * S - 1) == []


def test_silence_counts_from_the_last_frame(bench):
    bench.frames(0, 10, now=7 * S)
    bench.stream.start(order(10), now=7 * S)
    bench.frames(11, 11, now=9 * S)
    assert bench.stream.next_deadline() == 14 * S


def test_without_any_frame_silence_counts_from_the_trigger(bench):
    bench.stream.start(order(10), now=7 * S)
    assert bench.stream.next_deadline() == 12 * S


def test_without_recordings_there_is_no_deadline(bench):
    bench.frames(0, 10, now=7 * S)
    assert bench.stream.next_deadline() is None


def test_a_trigger_in_an_empty_stream_fails_when_nothing_comes(bench):
    bench.stream.start(order(10), now=7 * S)
    [recording] = bench.stream.tick(12 * S)
    assert recording.timeline.frames == 0


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_moment_that_no_frame_comes_of_is_not_kept_alive_by_the_frames_of_others(bench, epoch):
    bench.frames(0, 10)
    bench.stream.start(order(1000, epoch=epoch), now=7 * S)
    bench.frames(11, 20, now=11 * S)
    [recording] = bench.stream.tick(12 * S)
    assert recording.timeline.frames == 0


def test_frames_that_were_written_and_not_announced_are_in_a_clip_that_silence_ends(bench):
    bench.frames(0, 10, now=7 * S)
    bench.stream.start(order(10), now=7 * S)
    bench.write(11)
    assert saved(bench.stream.tick(12 * S)) == (8, 12, [])


@pytest.mark.parametrize(("epoch", "newest_ns"), [(1, 10 * FRAME_NS), (2, None)])
def test_the_newest_frame_is_that_of_its_epoch_alone(bench, epoch, newest_ns):
    bench.frames(0, 10)
    assert bench.stream.newest_ns(epoch) == newest_ns


# The nominal frame interval ---------------------------------------------------------------------


def test_the_nominal_interval_is_that_of_the_stream_state(bench):
    bench.stream.state(StreamState(stream="cam1", epoch=1, state="live", fps=4.0))
    bench.frames(0, 0)
    bench.stream.start(order(0), now=0)
    _, sidecar = bench.frames(0, 0, epoch=2)[0].save()
    assert sidecar["delivered"] == [0, 250 * MS]


# Stopping ---------------------------------------------------------------------------------------


def test_what_was_recorded_before_a_stop_is_gone_on_with(bench):
    bench.frames(0, 10)
    bench.stream.start(order(10), now=0)
    bench.stream.stop()
    bench.restarted()
    bench.stream.start(order(10), now=0)
    assert saved(bench.frames(11, 13)) == (8, 13, [])

"""One clip from a real ring into a real file: whole with its sidecar, or not at all."""

import errno
import hashlib
import json
import os
import resource
import shutil
from contextlib import contextmanager

import av
import msgspec
import numpy as np
import pytest

from visualbase import jpeg
from visualbase.errors import MuxError
from visualbase.ring import RingReader, RingWriter
from visualpath.clip.files import ClipFolder
from visualpath.clip.journal import Salvage
from visualpath.clip.order import ClipOrder
from visualpath.clip.recording import ClipFailed, DiskRefuses, Recording, find_saved, refusal
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.messages import FrameHeader, Trig, make_trig_id
from visualpath_protocol.sockets import TRIGGERS

MS = 1_000_000
FRAME_NS = 40 * MS
START_WALL_NS = 1_767_225_600_000_000_000  # 2026-01-01T00:00:00Z


def picture(seed, width=64, height=48):
    return jpeg.encode(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


JPEGS = [picture(seed) for seed in range(12)]


def trig(t_start_ns=200 * MS, t_end_ns=200 * MS):
    return Trig(
        trig_id=make_trig_id("cam1", 1, "smile", t_start_ns), stream="cam1", epoch=1, label="smile", reason="a smile",
        score=0.5, frame_id=5, t_start_ns=t_start_ns, t_end_ns=t_end_ns,
    )  # fmt: skip


def order(first=2, last=6):
    """A clip that asks for the frames from `first` to `last`."""
    asked = first * FRAME_NS, last * FRAME_NS
    return ClipOrder(clip_id=trig().trig_id, stream="cam1", epoch=1, asked=asked, triggers=(trig(),))


class Bench:
    """A ring with one segment per frame, and recordings of it."""

    def __init__(self, folder):
        self.clips_dir = folder / "clips"
        self.clips_dir.mkdir()
        self.folder = ClipFolder(self.clips_dir)
        self._recordings = []
        self.ring_dir = folder / "ring"
        self.reader = RingReader(self.ring_dir, "cam1")
        self._writer = RingWriter(
            self.ring_dir, "cam1", 1, max_seconds=60, max_bytes=1 << 22, segment_seconds=FRAME_NS / 1e9
        )
        self.headers = [self.write(n, data) for n, data in enumerate(JPEGS)]

    def write(self, frame_id, data, width=64, height=48):
        bare = FrameHeader(
            stream="cam1", epoch=1, frame_id=frame_id, t_ns=frame_id * FRAME_NS,
            wall_ns=START_WALL_NS + frame_id * FRAME_NS, mono_ns=0, width=width, height=height, payloads=[],
        )  # fmt: skip
        return self._writer.append(bare, data)

    def evict(self, *frame_ids):
        for frame_id in frame_ids:
            (self.ring_dir / "cam1" / self.headers[frame_id].payloads[0].segment).unlink()

    def recording(self, first=2, last=6):
        """A recording that asks for the frames from `first` to `last`."""
        self._recordings.append(Recording(order(first, last), FRAME_NS, self.reader, self.folder))
        return self._recordings[-1]

    def fed(self, *args, headers=None):
        recording = self.recording(*args)
        for header in self.headers if headers is None else headers:
            if recording.feed(header):
                break
        return recording

    def files(self):
        return sorted(str(path.relative_to(self.clips_dir)) for path in self.clips_dir.rglob("*") if path.is_file())

    def close(self):
        for recording in self._recordings:
            recording.leave()
        self.reader.close()
        self._writer.close()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


def packets(path):
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


# A clip -----------------------------------------------------------------------------------------


def test_the_clip_holds_the_pictures_of_the_ring_to_the_byte(bench):
    path, _ = bench.fed().save()
    assert packets(path) == JPEGS[2:7]


def test_feed_says_when_no_more_is_wanted(bench):
    recording = bench.recording()
    assert [recording.feed(header) for header in bench.headers[:8]] == [False] * 7 + [True]


def test_the_first_frame_past_the_span_completes_the_clip(bench):
    assert bench.fed().completed_by == bench.headers[7]


def test_a_clip_that_ends_without_that_frame_was_completed_by_none(bench):
    recording = bench.fed(headers=bench.headers[:5])
    recording.finish("after_end")
    assert recording.completed_by is None


def test_the_clip_lies_in_the_folder_of_its_day_under_a_name_that_says_what_it_is(bench):
    path, _ = bench.fed().save()
    name = f"cam1_20260101T000000Z_smile_{trig().trig_id}.mp4"
    assert path == bench.clips_dir / "2026-01-01" / name


def test_clip_sidecar_and_poster_are_all_that_is_left(bench):
    path, _ = bench.fed().save()
    assert bench.files() == [f"2026-01-01/{path.stem}{suffix}" for suffix in (".jpg", ".json", ".mp4")]


def test_the_poster_is_the_frame_that_fired(bench):
    path, _ = bench.fed().save()
    assert path.with_suffix(".jpg").read_bytes() == JPEGS[5]


def test_the_sidecar_on_disk_is_what_save_returns(bench):
    path, sidecar = bench.fed().save()
    assert json.loads(path.with_suffix(".json").read_text()) == sidecar


def test_the_sidecar_has_the_sha256_of_the_clip(bench):
    path, sidecar = bench.fed().save()
    assert sidecar["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_sidecar_counts_the_pictures_in_the_clip(bench):
    path, sidecar = bench.fed().save()
    assert sidecar["frames"] == len(packets(path))


def test_the_sidecar_says_what_was_asked(bench):
    assert bench.fed().save()[1]["asked"] == [2 * FRAME_NS, 6 * FRAME_NS]


def test_the_sidecar_says_what_was_delivered(bench):
    assert bench.fed().save()[1]["delivered"] == [2 * FRAME_NS, 7 * FRAME_NS]


def test_the_sidecar_keeps_the_trigger(bench):
    [kept] = bench.fed().save()[1]["triggers"]
    assert msgspec.convert(kept, Trig) == trig()


def test_the_sidecar_says_when_the_first_picture_was_taken(bench):
    sidecar = bench.fed().save()[1]
    assert sidecar["first_frame_utc"] == "2026-01-01T00:00:00.080Z"


def test_the_clip_lasts_as_long_as_was_delivered(bench):
    path, sidecar = bench.fed().save()
    with av.open(str(path)) as container:
        assert container.duration * 1000 == sidecar["delivered"][1] - sidecar["delivered"][0]


# What is absent ---------------------------------------------------------------------------------


def test_a_picture_that_is_evicted_in_the_middle_is_a_gap(bench):
    bench.evict(4)
    sidecar = bench.fed().save()[1]
    assert sidecar["gaps"] == [{"from": 4 * FRAME_NS, "to": 5 * FRAME_NS, "reason": "evicted"}]


def test_the_pictures_around_an_evicted_one_are_in_the_clip(bench):
    bench.evict(4)
    assert packets(bench.fed().save()[0]) == [*JPEGS[2:4], *JPEGS[5:7]]


def test_a_header_without_a_picture_is_a_gap(bench):
    headers = list(bench.headers)
    headers[4] = msgspec.structs.replace(headers[4], payloads=[])
    sidecar = bench.fed(headers=headers).save()[1]
    assert sidecar["gaps"] == [{"from": 4 * FRAME_NS, "to": 5 * FRAME_NS, "reason": "not_received"}]


def test_a_damaged_picture_is_a_gap_and_not_the_end_of_the_clip(bench):
    headers = list(bench.headers)
    [payload] = headers[4].payloads
    headers[4] = msgspec.structs.replace(headers[4], payloads=[msgspec.structs.replace(payload, offset=1)])
    assert packets(bench.fed(headers=headers).save()[0]) == [*JPEGS[2:4], *JPEGS[5:7]]


def test_the_end_of_the_stream_ends_the_clip(bench):
    recording = bench.fed(10, 30)
    recording.finish("after_end")
    _, sidecar = recording.save()
    assert sidecar["gaps"] == [{"from": 12 * FRAME_NS, "to": 30 * FRAME_NS, "reason": "after_end"}]


# What a plug-in may have said -------------------------------------------------------------------


def nested(levels):
    return {"deeper": nested(levels - 1)} if levels else 1


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ({"box": np.array([1, 2], np.float32)}, {"box": [1.0, 2.0]}),
        ({"ratio": float("nan")}, {"ratio": None}),
        ({"by_cell": {(1, 2): 3}}, {"by_cell": {"(1, 2)": 3}}),
        ({"raw": b"\xff"}, {"raw": "/w=="}),
    ],
    ids=["array", "nan", "pair as key", "bytes"],
)
def test_metadata_that_json_does_not_know_is_kept_in_another_form(bench, metadata, kept):
    assert with_metadata(bench, metadata) == kept


def test_metadata_that_is_nested_without_end_is_cut_off(bench):
    assert "too deep" in json.dumps(with_metadata(bench, nested(900)))


def with_metadata(bench, metadata):
    """What the sidecar on disk keeps of a trigger's metadata after the way over the wire."""
    codec = Codec(Trig, max_bytes=TRIGGERS.max_bytes)
    received = codec.decode(encode(msgspec.structs.replace(trig(), metadata=metadata)))
    recording = bench.fed()
    recording.order = msgspec.structs.replace(order(), triggers=(received,))
    path, _ = recording.save()
    sidecar = json.loads(path.with_suffix(".json").read_text(), parse_constant=pytest.fail)
    return sidecar["triggers"][0]["metadata"]


# No clip ----------------------------------------------------------------------------------------


def test_without_a_frame_there_is_no_clip_and_the_reason_says_why(bench):
    recording = bench.recording()
    recording.finish("not_received")
    with pytest.raises(ClipFailed, match=r"no frame of the span is to be had: not_received"):
        recording.save()


def test_without_a_picture_there_is_no_clip(bench):
    bench.evict(*range(12))
    with pytest.raises(ClipFailed, match="evicted"):
        bench.fed().save()


def test_a_failed_clip_leaves_nothing_behind(bench):
    bench.evict(*range(12))
    recording = bench.fed()
    with pytest.raises(ClipFailed):
        recording.save()
    assert bench.files() == []


def test_abort_in_the_middle_leaves_nothing_behind(bench):
    recording = bench.fed(headers=bench.headers[:5])
    recording.abort()
    assert bench.files() == []


def test_a_folder_that_cannot_be_made_is_a_failed_clip(bench):
    (bench.clips_dir / ".recording").write_text("in the way")
    recording = bench.fed()
    with pytest.raises(ClipFailed, match="cannot be written"):
        recording.save()


def test_a_failing_disk_ends_the_recording_at_once(bench):
    shutil.rmtree(bench.clips_dir)
    bench.clips_dir.write_text("in the way")
    recording = bench.recording()
    assert [recording.feed(header) for header in bench.headers[:4]] == [False, False, False, True]


def full(bench):
    """Let the clip's file be one that takes no byte."""
    temporary = bench.folder.part(trig().trig_id)
    temporary.parent.mkdir()
    temporary.symlink_to("/dev/full")


def test_a_full_disk_is_told_from_other_failures(bench):
    full(bench)
    recording = bench.fed()
    with pytest.raises(DiskRefuses, match="No space"):
        recording.save()


def test_a_full_disk_leaves_nothing_behind(bench):
    full(bench)
    recording = bench.fed()
    with pytest.raises(DiskRefuses):
        recording.save()
    assert bench.files() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_what_a_disk_may_get_over_is_no_failure_of_the_clip(number):
    assert isinstance(refusal(OSError(number, os.strerror(number))), DiskRefuses)


def test_what_the_writer_of_the_file_was_refused_counts_as_if_it_were_ours():
    error = MuxError("a.mp4: Read-only file system")
    error.__cause__ = OSError(errno.EROFS, "Read-only file system")
    assert refusal(error).why == "the disk is read-only"


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EMFILE, errno.ENFILE])
def test_what_the_system_lacks_for_a_moment_is_no_failure_of_the_clip(number):
    error = MuxError("a.mp4")
    error.__cause__ = av.error.FFmpegError(number, os.strerror(number))
    assert isinstance(refusal(error), DiskRefuses)


@contextmanager
def room_for(size_bytes):
    """No file of this process may grow beyond `size_bytes`: the kernel refuses as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_only_at_the_end_is_a_failed_clip(bench):
    recording = bench.fed()
    with room_for(1000), pytest.raises(ClipFailed, match="cannot be written"):
        recording.save()
    assert bench.files() == []


def test_a_day_folder_that_cannot_be_made_is_a_failed_clip(bench):
    (bench.clips_dir / "2026-01-01").write_text("in the way")
    recording = bench.fed()
    with pytest.raises(ClipFailed, match="cannot be written"):
        recording.save()
    assert bench.files() == ["2026-01-01"]


def test_a_sidecar_that_cannot_be_written_leaves_no_clip_behind(bench):
    recording = bench.fed()
    name = f"cam1_20260101T000000Z_smile_{trig().trig_id}.json"
    (bench.clips_dir / "2026-01-01" / f".{name}.tmp").mkdir(parents=True)
    with pytest.raises(ClipFailed, match="cannot be written"):
        recording.save()
    assert bench.files() == []


def test_a_clip_that_cannot_be_made_again_is_not_lost_with_the_attempt(bench):
    path, _ = bench.fed().save()
    again = bench.fed()
    path.with_name(f".{path.stem}.json.tmp").mkdir()
    with pytest.raises(ClipFailed, match="cannot be written"):
        again.save()
    assert path.exists()


def test_a_clip_whose_sidecar_cannot_be_read_is_to_be_made_again_and_stays_till_then(bench):
    recording = bench.fed()
    path, _ = recording.save()
    path.with_suffix(".json").write_text("{")
    assert find_saved(bench.folder, recording.order) is None
    assert (path.exists(), path.with_suffix(".jpg").exists()) == (True, True)


def resized(bench):
    """A recording whose fifth frame has another size."""
    recording = bench.fed(2, 30, headers=[*bench.headers[:4], bench.write(12, picture(9, 32, 32), 32, 32)])
    recording.finish("after_end")
    return recording


def test_the_clip_ends_where_pictures_have_another_size(bench):
    recording = resized(bench)
    assert recording.save()[1]["gaps"][-1] == {"from": 12 * FRAME_NS, "to": 30 * FRAME_NS, "reason": "size_change"}


def test_the_frame_of_another_size_begins_what_is_left(bench):
    rest = order(2, 30).rest_from(resized(bench).resized_at)
    assert (rest.asked, rest.clip_id) == ((12 * FRAME_NS, 30 * FRAME_NS), f"{trig().trig_id}-f12")


# Going on after a crash -------------------------------------------------------------------------


def resumed(bench):
    """A recording of another run, which finds what the first one has left."""
    recording = bench.recording()
    recording.resume(Salvage(bench.folder, trig().trig_id))
    return recording


def test_what_was_taken_before_a_crash_is_not_needed_from_the_ring(bench):
    bench.fed(headers=bench.headers[:6]).leave()
    bench.evict(0, 1, 2, 3, 4)
    recording = resumed(bench)
    for header in bench.headers[6:8]:
        recording.feed(header)
    assert packets(recording.save()[0])[:2] == JPEGS[2:4]


def test_the_frame_held_back_at_the_crash_comes_from_the_ring(bench):
    bench.fed(headers=bench.headers[:6]).leave()
    recording = resumed(bench)
    for header in bench.headers[5:8]:
        recording.feed(header)
    assert packets(recording.save()[0]) == JPEGS[2:7]


@pytest.mark.parametrize("torn", [1, 10, 100])
def test_a_torn_journal_is_believed_as_far_as_it_is_whole(bench, torn):
    bench.fed(headers=bench.headers[:6]).leave()
    journal = bench.folder.journal(trig().trig_id)
    journal.write_bytes(journal.read_bytes()[:-torn])
    recording = bench.recording()
    last = recording.resume(Salvage(bench.folder, trig().trig_id))
    assert last == bench.headers[3]
    recording.abort()


def test_a_crash_while_the_remains_are_read_loses_none_of_them(bench):
    bench.fed(headers=bench.headers[:6]).leave()
    Salvage(bench.folder, trig().trig_id)
    bench.evict(0, 1, 2, 3)
    recording = resumed(bench)
    for header in bench.headers[5:8]:
        recording.feed(header)
    assert packets(recording.save()[0])[:2] == JPEGS[2:4]


def test_pictures_that_a_power_cut_left_empty_are_not_believed(bench):
    bench.fed(headers=bench.headers[:6]).leave()
    part = bench.folder.part(trig().trig_id)
    part.write_bytes(bytes(part.stat().st_size))
    recording = resumed(bench)
    for header in bench.headers[5:8]:
        recording.feed(header)
    assert packets(recording.save()[0]) == JPEGS[2:7]


# More is asked for ------------------------------------------------------------------------------


def test_more_may_be_asked_for_at_the_end(bench):
    recording = bench.fed(headers=bench.headers[:6])
    recording.extend(order(2, 8))
    for header in bench.headers[6:10]:
        recording.feed(header)
    assert packets(recording.save()[0]) == JPEGS[2:9]


def test_an_earlier_beginning_that_the_ring_holds_wants_a_recording_anew(bench):
    recording = bench.fed(headers=bench.headers[:6])
    assert recording.extend(order(1, 6)) is False
    recording.abort()


def test_an_earlier_beginning_that_the_ring_has_lost_is_a_gap(bench):
    recording = bench.fed(2, 8, headers=bench.headers[:8])
    bench.evict(0, 1, 2)
    assert recording.extend(order(1, 8))
    for header in bench.headers[8:10]:
        recording.feed(header)
    sidecar = recording.save()[1]
    assert (sidecar["asked"][0], sidecar["gaps"]) == (
        FRAME_NS,
        [{"from": FRAME_NS, "to": 2 * FRAME_NS, "reason": "evicted"}],
    )

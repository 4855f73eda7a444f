"""The ring: its layout, its bounds, and what readers see while it changes."""

import errno
import os
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visualbase.errors import Evicted, RingFull
from visualbase.ring import MAGIC, PREFIX, RingReader, RingWriter
from visualpath_protocol import codec
from visualpath_protocol.errors import InvalidName
from visualpath_protocol.messages import FrameHeader, Payload

MS = 1_000_000
S = 1_000_000_000
MIB = 1 << 20


def header(frame_id=0, t_ns=None, epoch=1, stream="cam1"):
    return FrameHeader(
        stream=stream, epoch=epoch, frame_id=frame_id, t_ns=frame_id * 40 * MS if t_ns is None else t_ns,
        wall_ns=0, mono_ns=0, width=640, height=480, payloads=[],
    )  # fmt: skip


def writer(ring_dir, epoch=1, max_seconds=30.0, max_bytes=MIB, segment_seconds=2.0):
    return RingWriter(
        ring_dir, "cam1", epoch, max_seconds=max_seconds, max_bytes=max_bytes, segment_seconds=segment_seconds
    )


def fill(ring, frames, first=0, epoch=1, size=100):
    return [ring.append(header(n, epoch=epoch), bytes([n % 256]) * size) for n in range(first, first + frames)]


def segments(ring_dir):
    return sorted(path.name for path in (ring_dir / "cam1").iterdir())


def total_bytes(ring_dir):
    return sum(path.stat().st_size for path in (ring_dir / "cam1").iterdir())


def frame_ids(reader, epoch=None):
    return [(found.epoch, found.frame_id) for found in reader.scan(epoch)]


@pytest.fixture
def reader(tmp_path):
    with RingReader(tmp_path, "cam1") as reader:
        yield reader


# Layout -----------------------------------------------------------------------------------------


def test_a_record_is_prefix_payload_header(tmp_path):
    complete = writer(tmp_path).append(header(), b"picture")
    encoded = codec.encode(complete)
    assert (tmp_path / "cam1" / "1-0.seg").read_bytes() == PREFIX.pack(MAGIC, len(encoded), 7) + b"picture" + encoded


def test_the_prefix_is_twelve_little_endian_bytes():
    assert PREFIX.pack(MAGIC, 1, 2) == b"VPR1\x01\0\0\0\x02\0\0\0"


def test_the_payload_says_where_the_bytes_lie(tmp_path):
    ring = writer(tmp_path)
    ring.append(header(0), b"first")
    [payload] = ring.append(header(1), b"second").payloads
    data = (tmp_path / "cam1" / payload.segment).read_bytes()
    assert data[payload.offset : payload.offset + payload.length] == b"second"


def test_the_payload_has_the_kind_and_size_of_the_picture(tmp_path):
    [payload] = writer(tmp_path).append(header(), b"picture").payloads
    assert (payload.kind, payload.width, payload.height) == ("jpeg", 640, 480)


def test_files_are_for_the_writer_to_change_and_for_its_group_to_read(tmp_path):
    old_umask = os.umask(0o077)
    try:
        writer(tmp_path / "ring").append(header(), b"picture")
    finally:
        os.umask(old_umask)
    folder = tmp_path / "ring" / "cam1"
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "ring", folder, folder / "1-0.seg")]
    assert modes == [0o2750, 0o2750, 0o640]


def test_a_name_that_is_no_stream_is_refused(tmp_path):
    with pytest.raises(InvalidName):
        RingWriter(tmp_path, "../cam1", 1, max_seconds=1, max_bytes=MIB)


@pytest.mark.parametrize("wrong", [header(stream="cam2"), header(epoch=2)])
def test_a_frame_of_another_stream_or_epoch_is_our_bug(tmp_path, wrong):
    with pytest.raises(ValueError, match="in the ring of cam1/1"):
        writer(tmp_path).append(wrong, b"picture")


# Segments and bounds ----------------------------------------------------------------------------


def test_a_segment_ends_after_its_seconds(tmp_path):
    ring = writer(tmp_path, segment_seconds=2.0)
    placed = [ring.append(header(n, t), b"x").payloads[0].segment for n, t in enumerate([S, 3 * S - 1, 3 * S, 4 * S])]
    assert placed == ["1-0.seg", "1-0.seg", "1-1.seg", "1-1.seg"]


def test_a_segment_holds_at_most_an_eighth_of_the_bytes(tmp_path):
    fill(writer(tmp_path, max_bytes=800_000), 40, size=10_000)
    sizes = [path.stat().st_size for path in (tmp_path / "cam1").iterdir()]
    assert max(sizes) <= 100_000
    assert len(sizes) > 3


def test_a_frame_above_the_share_has_a_segment_of_its_own(tmp_path):
    placed = [done.payloads[0].segment for done in fill(writer(tmp_path, max_bytes=100_000), 3, size=20_000)]
    assert placed == ["1-0.seg", "1-1.seg", "1-2.seg"]


def test_segments_older_than_the_ring_is_long_are_deleted(tmp_path, reader):
    ring = writer(tmp_path, max_seconds=4.0, segment_seconds=1.0)
    for n in range(11):
        ring.append(header(n, n * S // 2), b"x")  # ends at 5 s; two frames in each segment
    assert segments(tmp_path) == ["1-1.seg", "1-2.seg", "1-3.seg", "1-4.seg", "1-5.seg"]
    assert frame_ids(reader)[0] == (1, 2)


def test_a_gap_in_time_deletes_all_that_is_too_old(tmp_path, reader):
    ring = writer(tmp_path, max_seconds=4.0)
    fill(ring, 10)
    ring.append(header(10, 100 * S), b"x")
    assert frame_ids(reader) == [(1, 10)]


def test_the_oldest_goes_first_when_bytes_run_out(tmp_path, reader):
    fill(writer(tmp_path, max_bytes=100_000), 200, size=1000)
    ids = [frame_id for _, frame_id in frame_ids(reader)]
    assert ids == list(range(ids[0], 200))
    assert ids[0] > 0


@settings(max_examples=60, deadline=None)
@given(
    max_bytes=st.integers(300, 60_000),
    sizes=st.lists(st.integers(1, 12_000), min_size=1, max_size=40),
    step_ns=st.integers(1, 3 * S),
    left_over=st.lists(st.integers(0, 30_000), max_size=4),
)
def test_the_bytes_never_exceed_the_limit(tmp_path_factory, max_bytes, sizes, step_ns, left_over):
    ring_dir = tmp_path_factory.mktemp("ring")
    (ring_dir / "cam1").mkdir()
    for n, size in enumerate(left_over):
        (ring_dir / "cam1" / f"1-{n}.seg").write_bytes(bytes(size))
    with writer(ring_dir, epoch=2, max_bytes=max_bytes) as ring, RingReader(ring_dir, "cam1") as reader:
        assert total_bytes(ring_dir) <= max_bytes
        for n, size in enumerate(sizes):
            try:
                done = ring.append(header(n, n * step_ns, epoch=2), bytes(size))
            except RingFull:
                assert size + 500 > max_bytes
            else:
                assert reader.read(done.payloads[0]) == bytes(size)
            assert total_bytes(ring_dir) <= max_bytes


def test_a_frame_larger_than_the_ring_is_refused(tmp_path):
    with pytest.raises(RingFull, match="do not go into a ring of 5000"):
        writer(tmp_path, max_bytes=5000).append(header(), bytes(5000))


def test_the_ring_goes_on_after_a_frame_that_was_too_large(tmp_path, reader):
    ring = writer(tmp_path, max_bytes=5000)
    with pytest.raises(RingFull):
        ring.append(header(0), bytes(5000))
    ring.append(header(1), b"x")
    assert frame_ids(reader) == [(1, 1)]


def test_counters_tell_what_was_written(tmp_path):
    ring = writer(tmp_path)
    fill(ring, 7)
    written = total_bytes(tmp_path)
    assert ring.counters == {"frames_written": 7, "bytes_written": written, "segments_deleted": 0}


def test_a_counter_tells_what_was_deleted(tmp_path):
    ring = writer(tmp_path, max_seconds=4.0, segment_seconds=1.0)
    for n in range(7):
        ring.append(header(n, n * S), b"x")
    assert ring.counters["segments_deleted"] == 2


def test_epochs_that_are_said_to_be_gone_are_deleted_at_once(tmp_path, reader):
    for epoch in (1, 2, 3):
        with writer(tmp_path, epoch) as ring:
            fill(ring, 1, epoch=epoch)
    RingWriter(tmp_path, "cam1", 4, max_seconds=30, max_bytes=MIB, gone_epoch=2)
    assert frame_ids(reader) == [(3, 0)]


def test_files_that_are_no_segments_are_left_alone(tmp_path, reader):
    (tmp_path / "cam1").mkdir()
    (tmp_path / "cam1" / "notes.txt").write_bytes(bytes(10_000))
    fill(writer(tmp_path, max_bytes=5000), 50)
    assert "notes.txt" in segments(tmp_path)
    assert frame_ids(reader)[-1] == (1, 49)


# Epochs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("epoch", [3, 2])
def test_an_epoch_never_repeats(tmp_path, epoch):
    fill(writer(tmp_path, epoch=3), 1, epoch=3)
    with pytest.raises(ValueError, match="epochs never repeat"):
        writer(tmp_path, epoch=epoch)


def test_the_epoch_before_stays_until_this_one_is_as_long_as_the_ring(tmp_path):
    fill(writer(tmp_path, epoch=1), 3, epoch=1)
    ring = writer(tmp_path, epoch=2, max_seconds=4.0)
    kept = []
    for t_ns in (10 * S, 14 * S - 1, 14 * S):
        ring.append(header(0, t_ns, epoch=2), b"x")
        kept.append("1-0.seg" in segments(tmp_path))
    assert kept == [True, True, False]


def test_the_epoch_before_goes_first_when_bytes_run_out(tmp_path, reader):
    fill(writer(tmp_path, epoch=1, max_bytes=20_000), 10, epoch=1, size=1000)
    fill(writer(tmp_path, epoch=2, max_bytes=20_000), 12, epoch=2, size=1000)
    assert [found for found in frame_ids(reader) if found[0] == 2] == [(2, n) for n in range(12)]


def test_epochs_are_ordered_as_numbers(tmp_path, reader):
    for epoch in (2, 9, 10, 100):
        fill(writer(tmp_path, epoch=epoch), 1, epoch=epoch)
    assert frame_ids(reader) == [(2, 0), (9, 0), (10, 0), (100, 0)]


def test_a_smaller_limit_is_kept_from_the_start(tmp_path):
    fill(writer(tmp_path, epoch=1), 100, size=1000)
    writer(tmp_path, epoch=2, max_bytes=20_000)
    assert total_bytes(tmp_path) <= 20_000


# A full disk ------------------------------------------------------------------------------------


class FullDisk:
    """A pwritev that fails as often as told, after writing `partly` bytes."""

    def __init__(self, monkeypatch, failures, partly=0):
        self.failures = failures
        self._partly = partly
        self._pwritev = os.pwritev
        monkeypatch.setattr("visualbase.ring.os.pwritev", self)

    def __call__(self, fd, parts, offset):
        if self.failures == 0:
            return self._pwritev(fd, parts, offset)
        self.failures -= 1
        if self._partly:
            return self._pwritev(fd, [b"".join(parts)[: self._partly]], offset)
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def ring_of_three_segments(tmp_path):
    ring = writer(tmp_path, segment_seconds=1.0)
    for n in range(3):
        ring.append(header(n, n * S), b"x")
    return ring


@pytest.mark.parametrize("partly", [0, 50])
def test_on_a_full_disk_the_oldest_segment_makes_room(tmp_path, reader, monkeypatch, ring_of_three_segments, partly):
    FullDisk(monkeypatch, failures=1, partly=partly)
    done = ring_of_three_segments.append(header(3, 2 * S + 1), b"picture")
    assert reader.read(done.payloads[0]) == b"picture"
    assert frame_ids(reader) == [(1, 1), (1, 2), (1, 3)]


def test_on_a_full_disk_room_is_made_though_a_reader_has_it_open(tmp_path, reader, monkeypatch, ring_of_three_segments):
    oldest = next(reader.scan()).payloads[0]
    reader.read(oldest)
    with (tmp_path / "cam1" / oldest.segment).open("rb") as held:
        FullDisk(monkeypatch, failures=1)
        ring_of_three_segments.append(header(3, 2 * S + 1), b"picture")
        assert os.fstat(held.fileno()).st_size == 0
    with pytest.raises(Evicted):
        reader.read(oldest)


def test_a_disk_that_stays_full_is_an_error(monkeypatch, ring_of_three_segments):
    FullDisk(monkeypatch, failures=2)
    with pytest.raises(RingFull, match="no space left"):
        ring_of_three_segments.append(header(3, 2 * S + 1), b"picture")


def test_nothing_of_a_failed_write_stays(tmp_path, reader, monkeypatch, ring_of_three_segments):
    FullDisk(monkeypatch, failures=2, partly=50)
    with pytest.raises(RingFull):
        ring_of_three_segments.append(header(3, 2 * S + 1), b"picture")
    ring_of_three_segments.append(header(4, 2 * S + 2), b"later")
    assert frame_ids(reader) == [(1, 1), (1, 2), (1, 4)]
    assert reader.damaged_records == 0


def test_a_full_disk_with_nothing_to_delete_is_an_error(tmp_path, monkeypatch):
    FullDisk(monkeypatch, failures=2)
    with pytest.raises(RingFull, match="no space left"):
        writer(tmp_path).append(header(), b"picture")


def test_where_no_segment_can_be_begun_beside_the_only_one_that_makes_room(tmp_path, reader, monkeypatch):
    ring = writer(tmp_path, segment_seconds=1.0)
    ring.append(header(0, 0), b"x")
    path, os_open = tmp_path / "cam1", os.open

    def open_with_one_inode(name, flags, *mode):
        if flags & os.O_CREAT and any(path.iterdir()):
            raise OSError(errno.ENOSPC, "No space left on device")
        return os_open(name, flags, *mode)

    monkeypatch.setattr("visualbase.ring.os.open", open_with_one_inode)
    for n in range(1, 4):
        ring.append(header(n, n * S), b"picture")
    assert frame_ids(reader) == [(1, 3)]


def test_another_disk_error_is_not_hidden(monkeypatch, ring_of_three_segments):
    def broken(fd, parts, offset):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("visualbase.ring.os.pwritev", broken)
    with pytest.raises(OSError, match="Input/output"):
        ring_of_three_segments.append(header(3, 2 * S + 1), b"picture")


# Reading ----------------------------------------------------------------------------------------


def test_every_frame_reads_back(tmp_path, reader):
    done = fill(writer(tmp_path, segment_seconds=0.1), 50)
    assert [reader.read(each.payloads[0]) for each in done] == [bytes([n]) * 100 for n in range(50)]


def test_a_scan_gives_the_headers_that_were_returned(tmp_path, reader):
    done = fill(writer(tmp_path, segment_seconds=0.1), 20)
    assert list(reader.scan()) == done


def test_a_scan_of_one_epoch_leaves_the_others_out(tmp_path, reader):
    for epoch in (1, 2):
        fill(writer(tmp_path, epoch=epoch), 2, epoch=epoch)
    assert frame_ids(reader, epoch=2) == [(2, 0), (2, 1)]


def test_a_scan_before_the_first_frame_finds_nothing(reader):
    assert frame_ids(reader) == []


def test_a_frame_of_a_stream_that_never_was_is_evicted(reader):
    with pytest.raises(Evicted):
        reader.read(Payload(kind="jpeg", width=1, height=1, segment="1-0.seg", offset=12, length=1))


def test_a_record_cut_short_ends_its_segment_and_no_other(tmp_path, reader):
    fill(writer(tmp_path, epoch=1), 3, epoch=1)
    fill(writer(tmp_path, epoch=2), 1, epoch=2)
    whole = tmp_path / "cam1" / "1-0.seg"
    os.truncate(whole, whole.stat().st_size - 1)
    assert frame_ids(reader) == [(1, 0), (1, 1), (2, 0)]


def test_at_every_length_a_scan_finds_just_the_whole_records(tmp_path, reader):
    done = fill(writer(tmp_path), 2, size=10)
    path = tmp_path / "cam1" / "1-0.seg"
    data, first_bytes = path.read_bytes(), PREFIX.size + 10 + len(codec.encode(done[0]))
    for length in range(len(data)):
        path.write_bytes(data[:length])
        assert list(reader.scan()) == done[: length >= first_bytes]
    assert reader.damaged_records == 0


@pytest.mark.parametrize("offset", [0, 5, 40], ids=["magic", "header_length", "header"])
def test_a_damaged_record_is_counted_and_ends_its_segment(tmp_path, reader, offset):
    fill(writer(tmp_path), 2, size=10)
    path = tmp_path / "cam1" / "1-0.seg"
    data = bytearray(path.read_bytes())
    data[offset] ^= 0x55
    path.write_bytes(data + bytes(100_000))
    assert frame_ids(reader) == []
    assert reader.damaged_records == 1


def test_a_payload_beyond_the_end_is_evicted(tmp_path, reader):
    [payload] = writer(tmp_path).append(header(), b"picture").payloads
    os.truncate(tmp_path / "cam1" / payload.segment, payload.offset + 3)
    with pytest.raises(Evicted, match="ends before the 7 bytes"):
        reader.read(payload)


def test_a_deleted_segment_is_evicted(tmp_path, reader):
    [payload] = writer(tmp_path).append(header(), b"picture").payloads
    (tmp_path / "cam1" / payload.segment).unlink()
    with pytest.raises(Evicted, match="is gone"):
        reader.read(payload)


def test_a_segment_deleted_while_open_can_still_be_read(tmp_path, reader):
    first, second = (done.payloads[0] for done in fill(writer(tmp_path), 2))
    reader.read(first)
    (tmp_path / "cam1" / first.segment).unlink()
    assert reader.read(second) == b"\1" * 100


def test_a_deleted_segment_is_let_go_when_another_is_opened(tmp_path, reader, ring_of_three_segments):
    first, second, _ = (found.payloads[0] for found in reader.scan())
    reader.read(first)
    (tmp_path / "cam1" / first.segment).unlink()
    reader.read(second)
    with pytest.raises(Evicted):
        reader.read(first)


def test_few_segments_are_kept_open(tmp_path, reader):
    done = fill(writer(tmp_path, segment_seconds=0.04), 60)
    before = len(os.listdir("/proc/self/fd"))
    for each in done:
        reader.read(each.payloads[0])
    assert len(os.listdir("/proc/self/fd")) - before <= 4


def test_a_closed_reader_holds_no_file(tmp_path):
    [payload] = writer(tmp_path).append(header(), b"picture").payloads
    before = len(os.listdir("/proc/self/fd"))
    with RingReader(tmp_path, "cam1") as reader:
        reader.read(payload)
    assert len(os.listdir("/proc/self/fd")) == before


def test_segments_that_vanish_during_a_scan_are_left_out(tmp_path, reader, ring_of_three_segments):
    scan = reader.scan()
    seen = [next(scan).frame_id]
    (tmp_path / "cam1" / "1-1.seg").unlink()
    assert seen + [found.frame_id for found in scan] == [0, 2]


def test_a_scan_outlives_the_deletion_of_the_segment_it_is_in(tmp_path, reader):
    fill(writer(tmp_path), 3)
    scan = reader.scan()
    next(scan)
    (tmp_path / "cam1" / "1-0.seg").unlink()
    assert [found.frame_id for found in scan] == [1, 2]


def test_a_reader_finds_what_is_written_after_it_began(tmp_path, reader):
    ring = writer(tmp_path)
    fill(ring, 1)
    scan = reader.scan()
    next(scan)
    fill(ring, 1, first=1)
    assert next(scan).frame_id == 1

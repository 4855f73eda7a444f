"""Clips of JPEGs: what was put in comes out, to the byte and to the microsecond."""

from fractions import Fraction

import av
import numpy as np
import pytest

from visualbase import jpeg
from visualbase.errors import DamagedJpeg, MuxError
from visualbase.mux import MjpegMp4Writer

START_NS = 11_400_000_000
TIMES_NS = [START_NS + ms * 1_000_000 + 333 for ms in (0, 40, 80, 320, 321, 1000)]
END_NS = START_NS + 1_500_000_333
WIDTH, HEIGHT = 160, 90


def picture(seed, width=WIDTH, height=HEIGHT):
    return jpeg.encode(np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8))


JPEGS = [picture(seed) for seed in range(len(TIMES_NS))]


def write(path, jpegs=JPEGS, times_ns=TIMES_NS, end_ns=END_NS):
    writer = MjpegMp4Writer(path, width=WIDTH, height=HEIGHT)
    for data, t_ns in zip(jpegs, times_ns, strict=True):
        writer.add(data, t_ns)
    writer.finish(end_ns)
    return path


@pytest.fixture
def clip(tmp_path):
    return write(tmp_path / "clip.mp4")


def packets(path):
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def test_packets_are_the_jpegs_to_the_byte(clip):
    assert [bytes(packet) for packet in packets(clip)] == JPEGS


def test_times_count_from_the_first_frame_exact_to_the_microsecond(clip):
    times = [packet.pts * packet.time_base for packet in packets(clip)]
    assert times == [Fraction((t_ns - TIMES_NS[0]) // 1000, 1_000_000) for t_ns in TIMES_NS]


def test_each_frame_lasts_until_the_next_and_the_last_until_the_end(clip):
    ends = [(packet.pts + packet.duration) * packet.time_base for packet in packets(clip)]
    assert ends == [Fraction((t_ns - TIMES_NS[0]) // 1000, 1_000_000) for t_ns in [*TIMES_NS[1:], END_NS]]


def test_the_container_is_as_long_as_the_clip(clip):
    with av.open(str(clip)) as container:
        assert container.duration == (END_NS - TIMES_NS[0]) // 1000


def test_every_frame_decodes(clip):
    with av.open(str(clip)) as container:
        assert [(frame.width, frame.height) for frame in container.decode(video=0)] == [(WIDTH, HEIGHT)] * len(JPEGS)


def test_every_frame_is_a_keyframe(clip):
    assert all(packet.is_keyframe for packet in packets(clip))


def test_a_single_frame_is_a_clip(tmp_path):
    path = write(tmp_path / "one.mp4", JPEGS[:1], [5_000_000_000], 5_500_000_000)
    with av.open(str(path)) as container:
        assert container.duration == 500_000


def test_a_clip_may_last_for_hours(tmp_path):
    times_ns = [second * 1_000_000_000 for second in range(0, 3 * 3600, 1800)]
    path = write(tmp_path / "long.mp4", [JPEGS[0]] * len(times_ns), times_ns, 3 * 3600 * 1_000_000_000)
    assert [packet.pts for packet in packets(path)] == [t_ns // 1000 for t_ns in times_ns]


def test_a_path_with_a_colon_is_no_network_address(tmp_path):
    assert packets(write(tmp_path / "http:clip.mp4"))


def test_another_picture_size_is_refused(tmp_path):
    writer = MjpegMp4Writer(tmp_path / "clip.mp4", width=WIDTH, height=HEIGHT)
    with pytest.raises(MuxError, match="80x60 in a clip of 160x90"):
        writer.add(picture(0, 80, 60), 0)
    writer.abort()


def test_what_is_no_jpeg_is_refused(tmp_path):
    writer = MjpegMp4Writer(tmp_path / "clip.mp4", width=WIDTH, height=HEIGHT)
    with pytest.raises(DamagedJpeg):
        writer.add(b"no picture", 0)
    writer.abort()


@pytest.mark.parametrize("second_ns", [1_000_000_000, 999_000_000])
def test_time_must_rise(tmp_path, second_ns):
    writer = MjpegMp4Writer(tmp_path / "clip.mp4", width=WIDTH, height=HEIGHT)
    writer.add(JPEGS[0], 1_000_000_000)
    with pytest.raises(MuxError, match="does not come after"):
        writer.add(JPEGS[1], second_ns)
    writer.abort()


def test_frames_that_are_closer_than_a_microsecond_are_a_microsecond_apart(tmp_path):
    """Live sources give pictures that come in one packet times 1 ns apart."""
    path = write(tmp_path / "clip.mp4", JPEGS[:5], [0, 1, 2, 40_000_000, 40_000_001], 40_000_002)
    assert [packet.pts for packet in packets(path)] == [0, 1, 2, 40_000, 40_001]


def test_the_end_must_lie_after_the_last_frame(tmp_path):
    with pytest.raises(MuxError, match="does not come after"):
        write(tmp_path / "clip.mp4", end_ns=TIMES_NS[-1])


def test_a_clip_without_a_frame_is_refused(tmp_path):
    with pytest.raises(MuxError, match="without a frame"):
        write(tmp_path / "clip.mp4", [], [])


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_abort_leaves_no_file(tmp_path, frames):
    writer = MjpegMp4Writer(tmp_path / "clip.mp4", width=WIDTH, height=HEIGHT)
    for data, t_ns in list(zip(JPEGS, TIMES_NS, strict=True))[:frames]:
        writer.add(data, t_ns)
    writer.abort()
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_an_error_that_names_the_path(tmp_path):
    with pytest.raises(MuxError, match=r"absent/clip\.mp4: No such file"):
        MjpegMp4Writer(tmp_path / "absent" / "clip.mp4", width=WIDTH, height=HEIGHT)


def test_a_full_disk_is_an_error(tmp_path):
    full = tmp_path / "clip.mp4"
    full.symlink_to("/dev/full")
    with pytest.raises(MuxError, match="No space"):
        write(full)

"""H.264 from JPEGs: as many frames, each at its own time, of the same colours, playable from its first byte."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest

from visualbase import jpeg
from visualbase.errors import MuxError, NoSpace
from visualbase.mux import MjpegMp4Writer
from visualbase.transcode import EXIT_FAILED, main, transcode

TIMES_MS = (0, 40, 80, 320, 321, 1000, 1033)
END_MS = 1500
WIDTH, HEIGHT = 161, 91
COLOURS = [(40 * n, 200, 255 - 40 * n) for n in range(len(TIMES_MS) - 1)] + [(0, 0, 0)]


@pytest.fixture
def jpegs(tmp_path):
    path = tmp_path / "jpegs.mp4"
    writer = MjpegMp4Writer(path, width=WIDTH, height=HEIGHT)
    for t_ms, colour in zip(TIMES_MS, COLOURS, strict=True):
        picture = np.full((HEIGHT, WIDTH, 3), colour, np.uint8)
        writer.add(jpeg.encode(picture), t_ms * 1_000_000)
    writer.finish(END_MS * 1_000_000)
    return path


@pytest.fixture
def h264(jpegs, tmp_path):
    path = tmp_path / "h264.mp4"
    assert transcode(jpegs, path) == len(TIMES_MS)
    return path


def packets(path):
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def test_each_frame_keeps_its_time(h264):
    assert sorted(packet.pts * packet.time_base for packet in packets(h264)) == [
        Fraction(t_ms, 1000) for t_ms in TIMES_MS
    ]


def test_each_frame_is_shown_until_the_next_and_the_last_until_the_end(h264):
    ends = [(packet.pts + packet.duration) * packet.time_base for packet in packets(h264)]
    assert ends == [Fraction(t_ms, 1000) for t_ms in (*TIMES_MS[1:], END_MS)]


def test_the_colours_are_those_of_the_jpegs(h264):
    with av.open(str(h264)) as container:
        shown = [frame.to_ndarray(format="rgb24")[40, 80] for frame in container.decode(video=0)]
    assert np.abs(np.array(shown, int) - COLOURS).max() < 12


def test_an_odd_size_gets_one_more(h264):
    with av.open(str(h264)) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.pix_fmt) == (WIDTH + 1, HEIGHT + 1, "yuv420p")


def test_the_index_comes_first(h264):
    content = h264.read_bytes()
    assert 0 < content.find(b"moov") < content.find(b"mdat")


def test_a_source_that_is_none_is_refused_with_its_name(tmp_path):
    source = tmp_path / "none.mp4"
    source.write_bytes(b"no video")
    with pytest.raises(MuxError, match=r"none\.mp4"):
        transcode(source, tmp_path / "h264.mp4")


def test_a_source_that_is_cut_short_is_refused(jpegs, tmp_path):
    content = jpegs.read_bytes()
    index = content.find(b"moov") - 4
    middle = content.find(b"\xff\xd9") + 2
    jpegs.write_bytes(content[:middle] + bytes(index - middle) + content[index:])
    with pytest.raises(MuxError):
        transcode(jpegs, tmp_path / "h264.mp4")


def test_a_full_disk_is_told_from_other_failures(jpegs, tmp_path):
    target = tmp_path / "h264.mp4"
    target.symlink_to("/dev/full")
    with pytest.raises(NoSpace):
        transcode(jpegs, target)


def test_the_program_says_in_one_line_what_is_wrong(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("os.nice", lambda _: None)
    monkeypatch.setattr("ctypes.CDLL", lambda _: type("libc", (), {"prctl": lambda *_: 0})())
    assert main([str(tmp_path / "absent.mp4"), str(tmp_path / "h264.mp4"), str(os.getppid())]) == EXIT_FAILED
    assert "absent.mp4" in capsys.readouterr().err

"""Clips out of files: their pictures and sound are the source's, and a saved one is whole or not there."""

import errno
import os
from pathlib import Path

import av
import numpy as np
import pytest
from numbered_videos import MS, NO_B, RATES, TICKS, S, cut, numbers, write_numbered

from visualbase import jpeg
from visualbase.errors import MuxError, NoSpace
from visualbase.extract import ClipExtractor
from visualbase.sources import open_source


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """3 s at 30 fps."""
    return write_numbered(tmp_path_factory.mktemp("numbered") / "a.mp4", RATES["30 fps"])


# Pictures and sound -------------------------------------------------------------------------------


def sound_span(path):
    """First and last time of sound in seconds, None without sound."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return None
        found = [float(packet.pts * packet.time_base) for packet in container.demux(audio=0) if packet.size]
    return found[0], found[-1]


@pytest.mark.parametrize("mode", ["exact", "copy"])
def test_sound_is_that_of_the_pictures(tmp_path, mode):
    path = write_numbered(tmp_path / "a.mp4", RATES["30 fps"], sound="aac")
    clip, saved = cut(path, 1_010 * MS, 1_990 * MS, mode, tmp_path)
    length = (clip.delivered.to_ns - clip.delivered.from_ns) / S
    assert clip.sound == "kept"
    assert sound_span(saved) == (pytest.approx(0.011, abs=0.011), pytest.approx(length - 0.011, abs=0.011))


@pytest.mark.parametrize("mode", ["exact", "copy"])
def test_sound_that_lies_behind_the_pictures_in_the_file_is_found(tmp_path, mode):
    path = write_numbered(tmp_path / "a.mkv", RATES["30 fps"], sound="aac", muxer={"max_interleave_delta": "1"})
    clip, saved = cut(path, 2_410 * MS, 2_800 * MS, mode, tmp_path)
    length = (clip.delivered.to_ns - clip.delivered.from_ns) / S
    assert sound_span(saved) == (pytest.approx(0.011, abs=0.012), pytest.approx(length - 0.011, abs=0.012))


def test_sound_that_no_mp4_holds_is_left_out_and_told(tmp_path):
    path = write_numbered(tmp_path / "a.avi", RATES["30 fps"], NO_B, sound="wmav2")
    clip, saved = cut(path, S, 2 * S, "exact", tmp_path)
    assert clip.sound == "left out: wmav2 does not go into an MP4"
    assert sound_span(saved) is None


def test_a_span_after_the_end_of_the_sound_has_none(tmp_path):
    ticks = [*RATES["10 fps"], 8 * TICKS, 9 * TICKS]
    path = write_numbered(tmp_path / "a.mp4", ticks, NO_B, sound="aac", sound_s=5)
    clip, saved = cut(path, 8 * S, 9 * S, "exact", tmp_path)
    assert (clip.sound, sound_span(saved)) == ("none", None)


def test_a_file_without_sound_is_told_so(video, tmp_path):
    clip, _ = cut(video, S, 2 * S, "exact", tmp_path)
    assert clip.sound == "none"


def write_picture(path, rgb, *, codec="libx264", pix_fmt="yuv420p", rotation=0, options=None):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10, options=options or {"crf": "1"})
        stream.height, stream.width = rgb.shape[:2]
        stream.pix_fmt = pix_fmt
        stream.set_display_rotation(rotation)
        for _ in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    return path


def first_pixels(path):
    with open_source(str(path), jpeg_quality=100) as source:
        picture = next(source.pictures())
    return jpeg.decode(picture.jpeg, width_at_least=None, pixel_format="bgr")[:, :, ::-1].astype(int)


def corners(width, height):
    """A picture whose four quarters have four colours."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[: height // 2, : width // 2] = (200, 60, 30)
    rgb[: height // 2, width // 2 :] = (40, 180, 60)
    rgb[height // 2 :, : width // 2] = (50, 60, 190)
    rgb[height // 2 :, width // 2 :] = (180, 180, 180)
    return rgb


@pytest.mark.parametrize("mode", ["exact", "copy"])
@pytest.mark.parametrize("rotation", [0, 90, 180, -90])
def test_a_clip_stands_upright_as_the_file_does(tmp_path, rotation, mode):
    path = write_picture(tmp_path / "a.mp4", corners(160, 96), rotation=rotation)
    _, saved = cut(path, 0, S, mode, tmp_path)
    assert first_pixels(saved).shape == first_pixels(path).shape
    assert np.abs(first_pixels(saved) - first_pixels(path)).mean() < 3


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix"),
    [
        ("libx264", "yuv420p", "mp4"),
        ("libx264", "yuvj420p", "mp4"),
        ("libx264", "yuv444p", "mp4"),
        ("libx264", "yuvj422p", "mp4"),
        ("libx265", "yuv420p10le", "mp4"),
        ("mjpeg", "yuvj420p", "avi"),
        ("ffv1", "bgr0", "mkv"),
        ("ffv1", "gray", "mkv"),
        ("png", "rgb24", "avi"),
    ],
)
def test_exact_keeps_the_colours(tmp_path, codec, pix_fmt, suffix):
    options = {"x265-params": "log-level=none:crf=4"} if codec == "libx265" else {}
    path = write_picture(tmp_path / f"a.{suffix}", corners(160, 96), codec=codec, pix_fmt=pix_fmt, options=options)
    _, saved = cut(path, 0, S, "exact", tmp_path)
    quarters = np.s_[24:72:47, 40:120:79]
    assert np.abs(first_pixels(saved)[quarters] - first_pixels(path)[quarters]).max() <= 6


def test_exact_keeps_an_odd_size(tmp_path):
    path = write_picture(tmp_path / "a.mp4", corners(161, 97), pix_fmt="yuv444p")
    _, saved = cut(path, 0, S, "exact", tmp_path)
    assert first_pixels(saved).shape == (97, 161, 3)


# Saving -----------------------------------------------------------------------------------------


def test_the_file_is_not_needed_any_more_when_the_clip_is_saved(tmp_path):
    path = write_numbered(tmp_path / "a.mp4", RATES["10 fps"])
    clip = ClipExtractor().extract(str(path), S, 2 * S)
    path.unlink()
    assert numbers(clip.save(tmp_path / "out.mp4")) == list(range(10, 21))


def test_a_clip_may_be_saved_twice(video, tmp_path):
    clip = ClipExtractor().extract(str(video), S, 2 * S)
    assert clip.save(tmp_path / "a.mp4").read_bytes() == clip.save(tmp_path / "b.mp4").read_bytes()


def test_the_index_comes_first(video, tmp_path):
    _, saved = cut(video, S, 2 * S, "exact", tmp_path)
    data = saved.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_saving_leaves_nothing_but_the_clip(video, tmp_path):
    cut(video, S, 2 * S, "exact", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_a_failed_save_keeps_what_was_there_before(video, tmp_path, monkeypatch):
    clip = ClipExtractor().extract(str(video), S, 2 * S)
    (tmp_path / "out.mp4").write_bytes(b"before")

    def full(fd):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace, match=r"out\.mp4: No space left on device"):
        clip.save(tmp_path / "out.mp4")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("out.mp4", b"before")]


def test_a_missing_folder_is_an_error_that_names_the_path(video, tmp_path):
    clip = ClipExtractor().extract(str(video), S, 2 * S)
    with pytest.raises(MuxError, match=r"absent/out\.mp4: No such file"):
        clip.save(tmp_path / "absent" / "out.mp4")


def test_extracting_leaves_nothing_in_the_temporary_folder(video, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    clip = ClipExtractor().extract(str(video), S, 2 * S)
    assert clip.frames
    assert not list(tmp_path.iterdir())


def test_a_temporary_folder_that_is_none_is_an_error_that_names_it(video, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "absent"))
    with pytest.raises(MuxError, match="absent: No such file or directory"):
        ClipExtractor().extract(str(video), S, 2 * S)


@pytest.mark.parametrize("mode", ["exact", "copy"])
def test_a_cut_that_fails_keeps_no_file_open(video, tmp_path, monkeypatch, mode):
    def full(self, packet, *_):
        raise NoSpace("no room")

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("visualbase.cut.output.ClipFile.add_encoded", full)
    monkeypatch.setattr("visualbase.cut.output.ClipFile.add", full)
    with pytest.raises(NoSpace):
        ClipExtractor().extract(str(video), S, 2 * S, mode=mode)
    opened = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert not [path for path in opened if path.is_relative_to(tmp_path)]


def test_a_full_temporary_folder_is_an_error_that_says_so(video, monkeypatch):
    def full(self, packet):
        raise NoSpace("no room")

    monkeypatch.setattr("visualbase.cut.output.ClipFile.add_encoded", full)
    with pytest.raises(NoSpace, match="no room"):
        ClipExtractor().extract(str(video), S, 2 * S)

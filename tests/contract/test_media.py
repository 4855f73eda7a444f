"""Clips out of every real file, in both modes; the files are described in ../shared/media/ground_truth.json."""

import bisect
import functools
import json
from pathlib import Path

import pytest

from visualbase.errors import MuxError, SourceError
from visualbase.extract import ClipExtractor
from visualbase.sources import open_source

MEDIA = Path(__file__).parents[2].parent / "shared" / "media"
NOT_FOR_COPY = ("msmpeg4", "gif")


def real_files():
    """Every video with pictures; six minutes of black are left out."""
    if not MEDIA.is_dir():
        return [pytest.param("", marks=pytest.mark.skip(reason=f"no real test media: {MEDIA} is absent"))]
    known = json.loads((MEDIA / "ground_truth.json").read_text())
    paths = {name: entry["facts"] for name, entry in known["videos"].items() if "adx_long" not in name}
    paths |= {f"crafted/{name}": entry["facts"] for name, entry in known["crafted"].items()}
    return [path for path, facts in paths.items() if "decoded" in facts]


@functools.cache
def times_ns(path):
    with open_source(str(path)) as source:
        return [picture.t_ns for picture in source.pictures()]


def middle(found):
    """A span from between two frames to the very time of another."""
    first, last = len(found) * 2 // 5, min(len(found) * 2 // 5 + 20, len(found) - 1)
    return found[first] + (1 if last > first else 0), found[last], first, last


def times_in(clip, tmp_path):
    return [t_ns + clip.delivered.from_ns for t_ns in times_ns(clip.save(tmp_path / "clip.mp4"))]


@pytest.mark.parametrize("path", real_files())
def test_exact_holds_just_the_frames_of_the_span(path, tmp_path):
    start_ns, end_ns, first, last = middle(times_ns(MEDIA / path))
    clip = ClipExtractor().extract(str(MEDIA / path), start_ns, end_ns)
    assert times_in(clip, tmp_path) == pytest.approx(times_ns(MEDIA / path)[first : last + 1], abs=500)


@pytest.mark.parametrize("path", real_files())
def test_copy_begins_in_time_and_holds_what_it_says(path, tmp_path):
    found = times_ns(MEDIA / path)
    start_ns, end_ns, first, last = middle(found)
    try:
        clip = ClipExtractor().extract(str(MEDIA / path), start_ns, end_ns, mode="copy")
    except MuxError as error:
        assert any(codec in str(error) for codec in NOT_FOR_COPY)  # noqa: PT017 - the others must not be refused
        return
    begin = bisect.bisect_left(found, clip.delivered.from_ns)
    assert times_in(clip, tmp_path) == pytest.approx(found[begin : begin + clip.frames], abs=500)
    assert begin <= first
    assert begin + clip.frames > last


@pytest.mark.parametrize("path", ["crafted/zero_byte.mp4", "crafted/audio_only_aac.mp4"])
def test_a_file_without_pictures_gives_no_clip_and_says_why(path):
    if not MEDIA.is_dir():
        pytest.skip(f"no real test media: {MEDIA} is absent")
    with pytest.raises(SourceError, match=r"empty|only audio"):
        ClipExtractor().extract(str(MEDIA / path), 0, 1)


@pytest.mark.parametrize("mode", ["exact", "copy"])
def test_the_sound_of_a_real_file_is_kept(mode):
    path = MEDIA / "mps_gesture_test_video.mp4"
    if not path.exists():
        pytest.skip(f"no real test media: {path} is absent")
    assert ClipExtractor().extract(str(path), 0, 10**9, mode=mode).sound == "kept"

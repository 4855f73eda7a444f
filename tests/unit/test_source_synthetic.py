"""synthetic://: pictures that say their number and time."""

import io
import time
from itertools import islice

import av
import numpy as np
import pytest

from visualbase import jpeg
from visualbase.errors import SourceError
from visualbase.sources import open_source
from visualbase.sources.synthetic import Code, Pattern, draw, read_code, read_number


def pictures(query, **options):
    with open_source(f"synthetic://?{query}", **options) as source:
        return list(islice(source.pictures(), 400))


def code_in(picture, width_at_least=None, pixel_format="bgr"):
    return read_code(jpeg.decode(picture.jpeg, width_at_least=width_at_least, pixel_format=pixel_format))


@pytest.mark.parametrize("size", ["width=128&height=112", "width=640&height=480", "width=1280&height=720"])
def test_number_and_time_are_read_back_from_each_jpeg(size):
    found = pictures(f"{size}&frames=40&vfr=1")
    assert [code_in(picture) for picture in found] == [Code(n, picture.t_ns) for n, picture in enumerate(found)]


def test_they_are_read_back_from_a_picture_made_smaller_and_grey():
    [picture] = pictures("width=1280&height=720&frames=1&seed=5")
    assert code_in(picture, width_at_least=160, pixel_format="gray") == Code(0, 0)


@pytest.mark.parametrize("codec", ["h264", "mpeg4"])
def test_numbers_are_read_back_after_a_lossy_video(codec):
    ground = Pattern().ground()
    numbers = [0, 1, 2, 77, 65535, 2**32 - 1]
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 640, 480, "yuv420p", 200_000
        for number in numbers:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(draw(ground, number, 10**15), format="rgb24")))
        container.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as container:
        assert [read_number(frame.to_ndarray(format="bgr24")) for frame in container.decode(video=0)] == numbers


def test_a_picture_that_says_nothing_has_no_number():
    assert read_number(np.zeros((480, 640, 3), np.uint8)) is None
    assert read_number(np.random.default_rng(1).integers(0, 255, (480, 640, 3)).astype(np.uint8)) is None


def test_the_same_address_gives_the_same_bytes():
    assert pictures("frames=5&vfr=1&seed=3") == pictures("frames=5&vfr=1&seed=3")


def test_another_seed_gives_other_pictures_and_times():
    first, second = (pictures(f"frames=5&vfr=1&seed={seed}") for seed in (1, 2))
    assert first[0].jpeg != second[0].jpeg
    assert [p.t_ns for p in first] != [p.t_ns for p in second]


def test_intervals_are_regular_without_vfr():
    assert [p.t_ns for p in pictures("frames=4&fps=30")] == [0, 33_333_333, 66_666_667, 100_000_000]


def test_intervals_with_vfr_lie_around_the_nominal_one():
    times = [p.t_ns for p in pictures("frames=300&fps=10&vfr=1&width=128&height=112")]
    gaps = np.diff(times)
    assert (gaps.min() >= 50_000_000, gaps.max() < 150_000_000) == (True, True)
    assert 95_000_000 < gaps.mean() < 105_000_000
    assert len(set(gaps)) > 200


def test_a_loop_goes_on_beyond_its_frames():
    found = pictures("frames=3&width=128&height=112", loop=True)
    assert [code_in(p).number for p in found] == list(range(400))


def test_live_pictures_carry_the_monotonic_clock_and_come_at_its_pace():
    before = time.monotonic_ns()
    found = pictures("frames=6&fps=100&live=1")
    assert before <= found[0].t_ns
    assert found[-1].t_ns <= time.monotonic_ns()
    assert found[-1].t_ns - found[0].t_ns == 50_000_000


def test_only_a_live_one_says_that_it_is_live():
    assert [open_source(f"synthetic://?live={live}").live for live in (0, 1)] == [False, True]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("colour=red", "unknown field `colour`"),
        ("width=many", "Expected `int`"),
        ("width=100", "not within 128x112"),
        ("width=641", "must be even"),
        ("fps=0", "fps must be 0.1 to 1000"),
        ("frames=-1", "frames 0 to"),
    ],
)
def test_a_wrong_address_is_refused_with_the_reason(query, said):
    with pytest.raises(SourceError, match=said):
        open_source(f"synthetic://?{query}")


def test_a_host_in_the_address_is_refused():
    with pytest.raises(SourceError, match="has no meaning here"):
        open_source("synthetic://640x480")

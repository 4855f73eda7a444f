"""JPEG to pixels and back."""

import numpy as np
import pytest
import simplejpeg

from visualbase import jpeg
from visualbase.errors import DamagedJpeg


def smooth_picture(width=640, height=480):
    across = np.linspace(0, 255, width, dtype=np.uint8)[None, :]
    down = np.linspace(0, 255, height, dtype=np.uint8)[:, None]
    return np.dstack(np.broadcast_arrays(across, down, np.uint8(60)))


PICTURE = jpeg.encode(smooth_picture())


def decode(data=PICTURE, width_at_least=None, pixel_format="bgr"):
    return jpeg.decode(data, width_at_least=width_at_least, pixel_format=pixel_format)


def test_a_picture_comes_back_nearly_as_it_was_with_its_colours_in_bgr_order():
    difference = decode()[:, :, ::-1].astype(int) - smooth_picture()
    assert np.abs(difference).mean() < 2


def test_chroma_is_stored_at_half_size():
    assert simplejpeg.decode_jpeg_header(PICTURE)[3] == "420"


def test_a_higher_quality_takes_more_bytes():
    assert len(jpeg.encode(smooth_picture(), quality=95)) > len(jpeg.encode(smooth_picture(), quality=50))


def test_a_view_that_is_not_contiguous_is_encoded_too():
    assert jpeg.size(jpeg.encode(smooth_picture()[:, ::2])) == (320, 480)


@pytest.mark.parametrize("shape", [(480, 640), (480, 640, 4), (480, 640, 1)])
def test_only_three_channels_are_encoded(shape):
    with pytest.raises(ValueError, match="height, width, 3"):
        jpeg.encode(np.zeros(shape, np.uint8))


def test_only_bytes_are_encoded():
    with pytest.raises(ValueError, match="float64"):
        jpeg.encode(np.zeros((8, 8, 3)))


@pytest.mark.parametrize("quality", [0, 101])
def test_a_quality_out_of_range_is_refused(quality):
    with pytest.raises(ValueError, match="quality"):
        jpeg.encode(smooth_picture(), quality=quality)


@pytest.mark.parametrize(
    ("width_at_least", "width"), [(1, 80), (80, 80), (81, 160), (320, 320), (321, 400), (640, 640)]
)
def test_the_smallest_eighth_that_is_wide_enough_is_decoded(width_at_least, width):
    assert decode(width_at_least=width_at_least).shape == (width * 3 // 4, width, 3)


@pytest.mark.parametrize("width_at_least", [None, 641, 10_000])
def test_a_picture_is_never_enlarged(width_at_least):
    assert decode(width_at_least=width_at_least).shape == (480, 640, 3)


def test_gray_has_one_channel():
    assert decode(width_at_least=320, pixel_format="gray").shape == (240, 320, 1)


def test_a_gray_jpeg_decodes_to_bgr():
    gray = simplejpeg.encode_jpeg(smooth_picture()[:, :, :1].copy(), colorspace="gray", colorsubsampling="Gray")
    assert decode(gray).shape == (480, 640, 3)


def test_pixels_are_contiguous_bytes():
    pixels = decode(width_at_least=320)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous


def test_size_is_width_then_height():
    assert jpeg.size(PICTURE) == (640, 480)


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", PICTURE[:100], PICTURE[: len(PICTURE) // 2], PICTURE[:-2], PICTURE[:-300] + b"\xff" * 300],
    ids=["empty", "text", "header_cut", "cut_in_half", "end_missing", "end_overwritten"],
)
@pytest.mark.parametrize("width_at_least", [None, 80])
def test_what_is_no_whole_jpeg_is_refused(data, width_at_least):
    with pytest.raises(DamagedJpeg):
        decode(data, width_at_least)


def test_size_of_no_jpeg_is_refused():
    with pytest.raises(DamagedJpeg):
        jpeg.size(b"no picture")


@pytest.mark.parametrize("filling", [b"", bytes(100)], ids=["nothing", "zeros"])
def test_a_jpeg_that_is_all_there_can_be_handed_on(filling):
    assert jpeg.whole_size(PICTURE + filling) == (640, 480)


@pytest.mark.parametrize(
    "more", [b"\r\n", PICTURE[:-2], b"\xff\xd8film\xff"], ids=["line end", "half a picture", "film"]
)
def test_a_jpeg_with_more_behind_it_is_to_be_encoded_anew(more):
    assert jpeg.whole_size(PICTURE + more) is None


def test_the_end_of_a_preview_in_it_is_not_the_end_of_the_jpeg():
    preview = b"\xff\xe1" + (len(PICTURE[:1000]) + 4).to_bytes(2, "big") + PICTURE[:1000] + b"\xff\xd9"
    with pytest.raises(DamagedJpeg, match="cut short"):
        jpeg.whole_size(PICTURE[:2] + preview + PICTURE[2:-2] + b"\r\n")


@pytest.mark.parametrize("keep", [3000, -2])
def test_a_jpeg_without_its_end_is_damaged(keep):
    with pytest.raises(DamagedJpeg, match="cut short"):
        jpeg.whole_size(PICTURE[:keep])

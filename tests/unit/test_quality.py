"""quality: what sharpness, brightness and contrast mean, on pictures whose values are known."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from facemoment.extractors.quality import QualityExtractor, area_average, laplacian_variance
from visualbase.frame import Frame


def measured(luma: npt.NDArray[np.generic]) -> dict[str, float]:
    """Measure a picture of shape (height, width)."""
    picture = np.ascontiguousarray(luma, np.uint8)[:, :, np.newaxis]
    return QualityExtractor().extract(Frame(picture, frame_id=0, t_ns=0)).signals


def checkerboard(height: int, width: int, cell: int = 1) -> npt.NDArray[np.int64]:
    rows, columns = np.mgrid[0:height, 0:width] // cell
    return (rows + columns) % 2 * 255


def scene(width: int, defocus: int = 1) -> npt.NDArray[np.float32]:
    """Return one photograph-like scene (1/f spectrum) as a camera of this width sees it through one lens."""
    height = width * 9 // 16
    spectrum = np.fft.rfft2(np.random.default_rng(1).normal(size=(720, 1280)))
    rows, columns = np.fft.fftfreq(720)[:, np.newaxis], np.fft.rfftfreq(1280)[np.newaxis]
    picture = np.fft.irfft2(spectrum / np.maximum(np.hypot(rows, columns), 1 / 1280))
    picture = blurred(128 + 40 * (picture - picture.mean()) / picture.std(), defocus)
    return area_average(area_average(picture, height, axis=0), width, axis=1).clip(0, 255)


def blurred(luma: npt.NDArray[np.generic], n: int) -> npt.NDArray[np.generic]:
    return sum(np.roll(luma, (i, j), (0, 1)) for i in range(n) for j in range(n)) / n**2


def test_blur_falls_with_every_step_of_blurring():
    sharp = scene(640)
    values = [measured(blurred(sharp, n))["blur"] for n in (1, 4, 8, 16)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 4 * values[-1]


def test_blur_of_one_scene_is_alike_between_decoded_widths():
    scenes = [scene(width, defocus=6) for width in (320, 360, 400, 480, 560, 639)]
    values = [measured(luma)["blur"] for luma in scenes]
    unaided = [laplacian_variance(luma) for luma in scenes]
    assert max(values) < 1.4 * min(values)
    assert max(unaided) > 4 * min(unaided)


def test_blur_of_a_plain_picture_is_zero():
    assert measured(np.full((90, 160), 77))["blur"] == 0.0


def test_laplacian_variance_equals_the_hand_computed_one():
    luma = np.zeros((3, 4), np.float32)
    luma[1, 1] = 10  # inner pixels: -4 * 10 and +10, mean -15
    assert laplacian_variance(luma) == pytest.approx(25**2)


@pytest.mark.parametrize("grey", [0, 1, 64, 128, 254, 255])
def test_brightness_of_a_grey_picture_is_its_grey(grey):
    assert measured(np.full((360, 480), grey))["brightness"] == pytest.approx(grey / 255, abs=1e-6)


def test_contrast_of_a_plain_picture_is_zero():
    assert measured(np.full((360, 480), 200))["contrast"] == pytest.approx(0, abs=1e-6)


def test_contrast_of_half_black_half_white_is_one_half():
    assert measured(checkerboard(100, 200))["contrast"] == pytest.approx(0.5)


def test_contrast_survives_shrinking_where_cells_are_large():
    assert measured(checkerboard(400, 800, cell=100))["contrast"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (2, 2), (8, 8), (1, 4000), (4000, 1), (479, 641), (361, 201), (7, 201), (2, 320)]
)
def test_every_size_gives_finite_numbers_in_range(height, width):
    signals = measured(checkerboard(height, width))
    assert all(math.isfinite(value) for value in signals.values())
    assert signals["blur"] >= 0
    assert 0 <= signals["brightness"] <= 1
    assert 0 <= signals["contrast"] <= 0.5 + 1e-6


def test_signals_are_builtin_floats():
    assert {type(value) for value in measured(checkerboard(90, 640)).values()} == {float}


def test_the_picture_is_not_written_to():
    picture = np.full((90, 640, 1), 9, np.uint8)
    picture.flags.writeable = False
    QualityExtractor().extract(Frame(picture, frame_id=0, t_ns=0))


@pytest.mark.parametrize("axis", [0, 1])
def test_area_average_by_a_whole_factor_is_the_mean_of_blocks(axis):
    values = np.random.default_rng(2).integers(0, 256, (12, 12)).astype(np.uint8)
    blocks = values.reshape(4, 3, 12).mean(axis=1) if axis == 0 else values.reshape(12, 4, 3).mean(axis=2)
    np.testing.assert_allclose(area_average(values, 4, axis), blocks, rtol=1e-5)


def test_area_average_shares_a_pixel_between_two_parts():
    np.testing.assert_allclose(area_average(np.array([[0, 30, 60]]), 2, axis=1), [[10, 50]], rtol=1e-5)


def test_configuration_is_refused_by_name_of_its_keys():
    with pytest.raises(ValueError, match="no configuration, found width"):
        QualityExtractor({"width": 100})

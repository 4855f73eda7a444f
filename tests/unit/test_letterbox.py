"""Pictures as a model with an input of fixed size wants them."""

from __future__ import annotations

import numpy as np
import pytest

from facemoment.letterbox import Letterbox, resized


@pytest.mark.parametrize(
    ("width", "height", "place"),
    [(640, 360, (0, 140, 640, 360)), (360, 640, (140, 0, 360, 640)), (1280, 720, (0, 140, 640, 360)),
     (640, 640, (0, 0, 640, 640)), (100, 50, (0, 160, 640, 320)), (10_000, 1, (0, 319, 640, 1))],
)  # fmt: skip
def test_picture_lies_whole_and_in_the_middle(width, height, place):
    assert Letterbox.fit(width, height, 640, 640) == place


def test_input_of_a_model_need_not_be_square():
    assert Letterbox.fit(1280, 720, 640, 384) == (0, 12, 640, 360)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (480, 854), (333, 77)])
def test_corners_of_the_picture_are_0_and_1(width, height):
    place = Letterbox.fit(width, height, 640, 640)
    x, y = place.fractions(
        np.array([place.left, place.left + place.width]), np.array([place.top, place.top + place.height])
    )
    assert (x.tolist(), y.tolist()) == ([0, 1], [0, 1])


def test_canvas_is_left_alone_beside_the_picture():
    canvas = np.full((3, 64, 64), 0.5, np.float32)
    Letterbox.fit(64, 32, 64, 64).fill(canvas, np.full((32, 64, 3), (255, 51, 0), np.uint8))
    assert canvas[:, :16].min() == canvas[:, 48:].max() == 0.5
    assert [channel[16:48].tolist() for channel in canvas] == [[[np.float32(share)] * 64] * 32 for share in (1, 0.2, 0)]


def test_picture_of_the_right_size_is_not_copied():
    picture = np.zeros((20, 30, 3), np.uint8)
    assert resized(picture, 30, 20) is picture


def test_pixels_lie_between_their_neighbours_centres():
    row = resized(np.array([[[0], [100]]], np.uint8), 4, 1)
    assert row[0, :, 0].tolist() == [0, 25, 75, 100]


def test_half_the_size_is_the_mean_of_each_four():
    picture = np.random.default_rng(1).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    means = picture.reshape(20, 2, 30, 2, 3).mean(axis=(1, 3))
    assert resized(picture, 30, 20) == pytest.approx(means, abs=1e-3)


def test_a_picture_of_one_pixel_can_be_stretched():
    assert resized(np.full((1, 1, 3), 7, np.uint8), 5, 4).tolist() == [[[7.0] * 3] * 5] * 4

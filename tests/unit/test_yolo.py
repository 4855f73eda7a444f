"""pose: yolo without ONNX Runtime: what becomes of the model's output."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facemoment.backends.yolo import ROWS, USUAL_SIZE, check_output, distinct, input_size, persons
from facemoment.letterbox import Letterbox
from visualpath.core.errors import ModelError

WIDE = Letterbox.fit(1280, 720, 640, 640)  # 140 grey rows above and below


def output(*found):
    """The model's output: of each person x, y, width, height and confidence, at some place among nobodies."""
    rows = np.zeros((ROWS, 8400), np.float32)
    for i, each in enumerate(found):
        rows[:5, 1000 * i + 5] = each
    return rows


def decoded(*found, min_confidence=0.5, max_persons=8):
    return persons(output(*found), WIDE, min_confidence, max_persons)


def test_box_is_in_fractions_of_the_picture_without_the_grey():
    [person] = decoded((320, 320, 64, 180, 0.9))
    assert person.box == pytest.approx((0.45, 0.25, 0.1, 0.5))
    assert person.confidence == pytest.approx(0.9)


def test_key_points_are_in_fractions_of_the_picture_and_keep_their_visibility():
    rows = output((320, 320, 64, 180, 0.9))
    rows[5 + 3 * 9 : 8 + 3 * 9, 5] = 160, 140, 0.75
    [person] = persons(rows, WIDE, 0.5, 8)
    assert person.keypoints.shape == (17, 3)
    assert person.keypoints[9].tolist() == [0.25, 0.0, 0.75]


def test_nobody_is_found_in_an_empty_output():
    assert decoded() == []


@pytest.mark.parametrize(("confidence", "count"), [(0.49, 0), (0.5, 1)])
def test_persons_below_the_confidence_are_not_reported(confidence, count):
    assert len(decoded((320, 320, 64, 180, confidence))) == count


def test_surest_comes_first():
    found = decoded((100, 320, 64, 180, 0.6), (300, 320, 64, 180, 0.9), (500, 320, 64, 180, 0.7))
    assert [round(person.confidence, 1) for person in found] == [0.9, 0.7, 0.6]


def test_of_two_boxes_around_one_person_the_surer_one_stays():
    [person] = decoded((320, 320, 100, 200, 0.6), (324, 320, 100, 200, 0.8))
    assert person.confidence == pytest.approx(0.8)


def test_two_who_overlap_by_half_are_two():
    assert len(decoded((300, 320, 100, 200, 0.6), (330, 320, 100, 200, 0.8))) == 2


def test_no_more_are_reported_than_are_wanted():
    found = decoded(*((20 + 60 * i, 320, 40, 100, 0.5 + 0.04 * i) for i in range(8)), max_persons=3)
    assert [round(person.confidence, 2) for person in found] == [0.78, 0.74, 0.7]


def test_boxes_without_area_are_nobody():
    assert decoded((320, 320, 0, 180, 0.9), (320, 320, 64, -5, 0.9)) == []


def test_what_one_box_suppresses_does_not_suppress_others():
    chain = np.array([[0, 0, 100, 100], [0, 0, 100, 80], [0, 0, 100, 60]])  # each 0.75 or more of the one before
    assert distinct(chain, most=8) == [0, 2]


def test_output_of_thousands_of_sure_boxes_is_decoded_all_the_same():
    rows = np.full((ROWS, 8400), 0.9, np.float32)
    rows[:4] = np.random.default_rng(1).uniform(10, 600, (4, 8400))
    assert len(persons(rows, WIDE, 0.5, 8)) == 8


@pytest.mark.parametrize(
    "shapes", [[(1, 84, 8400)], [(1, 300, 57)], [(1, 56)], [(1, 56, 8400), (1, 1)], [(2, 56, 8400)], []]
)
def test_a_model_with_another_output_is_refused_by_its_name_and_shape(shapes):
    with pytest.raises(ModelError, match=r"some\.onnx has outputs of shape .*YOLO v8 or 11"):
        check_output(Path("some.onnx"), [np.zeros(shape) for shape in shapes])


def test_input_that_is_left_open_is_of_the_usual_size():
    assert input_size(Path("x"), ("batch", 3, "height", "width")) == (USUAL_SIZE, USUAL_SIZE)
    assert input_size(Path("x"), (1, 3, 384, 640)) == (384, 640)


@pytest.mark.parametrize("shape", [(1, 640, 640), (1, 1, 640, 640)])
def test_a_model_that_takes_no_pictures_is_refused(shape):
    with pytest.raises(ModelError, match="wants an input of shape"):
        input_size(Path("some.onnx"), shape)

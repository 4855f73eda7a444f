"""body: raised hands and their place beside the body, from key points."""

from __future__ import annotations

import numpy as np
import pytest

from facemoment.body import COCO, LEFT_WRIST, RIGHT_SHOULDER, VISIBLE, arms, bounds, clipped
from facemoment.tracking import Box

ASPECT = 16 / 9
LEFT_X, RIGHT_X, SHOULDER_Y, HIP_Y = 0.6, 0.4, 0.4, 0.8  # faces the camera: their left is on the picture's right


def person(left_wrist=(0.65, 0.7), right_wrist=(0.35, 0.7)):
    """The 17 key points, all in sight."""
    points = np.ones((17, 3))
    points[:, :2] = 0.5, 0.3
    points[[5, 6], :2] = (LEFT_X, SHOULDER_Y), (RIGHT_X, SHOULDER_Y)
    points[[9, 10], :2] = left_wrist, right_wrist
    points[[11, 12], :2] = (0.57, HIP_Y), (0.43, HIP_Y)
    return points


UP = (0.7, 0.2)


def test_hanging_arms_are_not_raised():
    assert [arm.raised for arm in arms(person(), ASPECT)] == [False, False]


def test_wrist_above_the_shoulder_is_a_raised_hand_of_that_side():
    assert [arm.raised for arm in arms(person(left_wrist=UP), ASPECT)] == [True, False]
    assert [arm.raised for arm in arms(person(right_wrist=(0.3, 0.2)), ASPECT)] == [False, True]


@pytest.mark.parametrize("unseen", [LEFT_WRIST, 5])
def test_hand_is_not_raised_when_wrist_or_shoulder_is_out_of_sight(unseen):
    points = person(left_wrist=UP)
    points[unseen, 2] = VISIBLE - 0.01
    assert not arms(points, ASPECT)[0].raised


def test_hand_that_is_not_raised_has_no_place():
    assert arms(person(), ASPECT)[0].place is None


def test_place_is_in_shoulder_widths_from_the_middle():
    assert arms(person(left_wrist=UP), ASPECT)[0].place == pytest.approx((0.7 - 0.5) * ASPECT / max(0.2 * ASPECT, 0.36))


def test_place_does_not_change_when_the_person_walks_or_comes_nearer():
    points = person(left_wrist=UP)
    nearer = points.copy()
    nearer[:, :2] = nearer[:, :2] * 1.3 + 0.1
    assert arms(nearer, ASPECT)[0].place == pytest.approx(arms(points, ASPECT)[0].place)


def test_person_seen_from_the_side_is_measured_by_the_torso():
    points = person(left_wrist=UP)
    points[RIGHT_SHOULDER, 0] = LEFT_X
    assert arms(points, ASPECT)[0].place == pytest.approx((0.7 - 0.6) * ASPECT / (0.9 * np.hypot(0.1 * ASPECT, 0.4)))


def test_coco_points_are_17_different_ones_left_before_right():
    assert len(set(COCO)) == 17
    assert all(right == left + 1 for left, right in zip(COCO[5::2], COCO[6::2], strict=True))


def test_bounds_reach_over_the_pictures_edges():
    assert bounds(np.array([[-0.5, 0.25], [1.5, 0.75]])) == Box(-0.5, 0.25, 2.0, 0.5)


@pytest.mark.parametrize(
    ("box", "inside"),
    [(Box(-0.5, 0.25, 1.0, 0.5), Box(0.0, 0.25, 0.5, 0.5)), (Box(1.5, 0.25, 1.0, 0.5), Box(1.0, 0.25, 0.0, 0.5))],
)
def test_clipped_box_lies_inside_the_picture(box, inside):
    assert clipped(box) == inside

"""head_pose: angles that a model face was given are found again in its picture."""

from __future__ import annotations

import numpy as np
import pytest

from facemoment.head_pose import FACE_MODEL, FOCAL_LENGTH, POINTS_68, HeadPose, angles, facing, head_pose, rotation_of

ASPECT = 16 / 9
AHEAD, UPPER_LEFT = (0.0, 0.0, 1.0), (-0.35, -0.2, 1.0)


def picture(pose, towards=AHEAD, distance_mm=800.0, aspect=ASPECT, focal_length=FOCAL_LENGTH, by_point=FACE_MODEL):
    """The mesh, in fractions of the picture, of a model face turned by `pose` from looking into the camera."""
    camera = np.array(list(by_point.values())) @ rotation_of(pose).T
    camera = (camera + np.array([0, 0, distance_mm])) @ facing(np.array(towards)).T
    landmarks = np.full((468, 3), np.nan)
    plane = focal_length * camera[:, :2] / camera[:, 2:]
    landmarks[list(by_point), :2] = 0.5 + plane * max(aspect, 1.0) / (aspect, 1.0)
    return landmarks


POSES = [
    HeadPose(yaw, pitch, roll) for yaw in (-60, -20, 0, 35, 60) for pitch in (-40, 0, 15, 40) for roll in (-45, 0, 20)
]


@pytest.mark.parametrize("pose", POSES, ids=str)
@pytest.mark.parametrize("towards", [AHEAD, UPPER_LEFT])
def test_angles_are_found_again_wherever_the_face_is(pose, towards):
    assert head_pose(picture(pose, towards), ASPECT) == pytest.approx(pose, abs=1.0)


@pytest.mark.parametrize("pose", POSES[::5], ids=str)
def test_angles_are_found_again_in_an_upright_picture(pose):
    assert head_pose(picture(pose, UPPER_LEFT, aspect=9 / 16), 9 / 16) == pytest.approx(pose, abs=1.0)


@pytest.mark.parametrize("pose", POSES, ids=str)
def test_angles_are_found_again_from_the_68_points_of_other_models(pose):
    landmarks = picture(pose, UPPER_LEFT, by_point=POINTS_68)[:68]
    assert head_pose(landmarks, ASPECT, POINTS_68) == pytest.approx(pose, abs=1.0)


@pytest.mark.parametrize("distance_mm", [300, 3000])
@pytest.mark.parametrize("pose", POSES[::5], ids=str)
def test_angles_are_found_again_from_near_and_far(pose, distance_mm):
    assert head_pose(picture(pose, distance_mm=distance_mm), ASPECT) == pytest.approx(pose, abs=1.0)


@pytest.mark.parametrize("focal_length", [0.7, 1.5])
def test_another_lens_costs_a_few_degrees(focal_length):
    pose = HeadPose(30, -20, 10)
    assert head_pose(picture(pose, focal_length=focal_length), ASPECT) == pytest.approx(pose, abs=5.0)


def test_points_that_jitter_by_half_a_percent_of_the_face_cost_two_degrees():
    pose, found = HeadPose(20, 10, -5), []
    for noise in np.random.default_rng(1).normal(0, 0.001, (50, 468, 3)):  # the face fills a fifth of the width
        found.append(np.subtract(head_pose(picture(pose) + noise, ASPECT), pose))
    assert np.abs(np.mean(found, axis=0)).max() < 1.0
    assert np.std(found, axis=0).max() < 2.0


def shift_of_the_nose(pose):
    """How far turning a head moves the tip of its nose in the picture: to the right, down."""
    return picture(pose)[4, :2] - picture(HeadPose(0, 0, 0))[4, :2]


def test_positive_yaw_moves_the_nose_to_the_pictures_right():
    assert shift_of_the_nose(HeadPose(20, 0, 0))[0] > 0.01


def test_positive_pitch_moves_the_nose_up():
    assert shift_of_the_nose(HeadPose(0, 20, 0))[1] < -0.01


def test_positive_roll_lowers_the_eye_on_the_right():
    left, right = picture(HeadPose(0, 0, 20))[[33, 263], 1]
    assert right > left + 0.01


def test_angles_undo_the_rotation_they_make():
    for pose in POSES:
        assert angles(rotation_of(pose)) == pytest.approx(pose)


@pytest.mark.parametrize("points", [np.full((468, 3), 0.5), np.linspace((0, 0, 0), (1, 1, 0), 468)])
def test_points_that_are_no_face_are_refused(points):
    with pytest.raises(np.linalg.LinAlgError, match="one place or on one line"):
        head_pose(points, ASPECT)

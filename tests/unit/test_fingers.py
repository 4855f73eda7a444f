"""fingers: gestures of a jointed hand, however it is turned and whoever's it is."""

from __future__ import annotations

import numpy as np
import pytest

from facemoment.fingers import PATTERNS, SHOWN, apart, ramp, recognise, stretched

KNUCKLES = ((-24, -92), (-4, -95), (15, -88), (31, -77))  # mm from the wrist, of a right hand's back, fingers up
BONES = ((43, 25, 20), (47, 28, 20), (43, 27, 20), (34, 19, 18))
THUMB_BONES = (45, 33, 27)
FIST, HOOK = 85, 45  # degrees that each joint of a folded, of a half bent finger is bent

OUT, BESIDE, ACROSS = ((-50, 0), (-40, 0), (-35, 0)), ((-40, 0), (-8, 10), (0, 10)), ((-40, 30), (40, 30), (60, 10))
"""Where each bone of a thumb points: degrees clockwise from the middle finger, and degrees towards the palm's side."""


def turned(vector, axis, degrees):
    axis, radians = np.array(axis, float), np.radians(degrees)
    axis /= np.linalg.norm(axis)
    cos, sin = np.cos(radians), np.sin(radians)
    return vector * cos + np.cross(axis, vector) * sin + axis * (axis @ vector) * (1 - cos)


def hand(*, thumb=OUT, bent=(0, 0, 0, 0), spread=(-8, 0, 7, 15)):
    """The 21 points, in mm, of a right hand seen from its back: x right, y down, z away; folding goes along +z."""
    points = np.zeros((21, 3))
    at = points[1] = np.array([-22.0, -18.0, 8.0])
    for joint, (length, (way, inwards)) in enumerate(zip(THUMB_BONES, thumb, strict=True), start=2):
        bone = turned(np.array([0.0, -length, 0.0]), (1, 0, 0), -inwards)
        at = points[joint] = at + turned(bone, (0, 0, 1), way)
    for finger, (knuckle, bones) in enumerate(zip(KNUCKLES, BONES, strict=True)):
        at = points[5 + 4 * finger] = np.array([*knuckle, 0.0])
        for joint, length in enumerate(bones, start=1):
            bone = turned(np.array([0.0, -length, 0.0]), (1, 0, 0), -bent[finger] * joint)
            at = points[5 + 4 * finger + joint] = at + turned(bone, (0, 0, 1), spread[finger])
    return points


F = FIST
HANDS = {
    "v_sign": hand(thumb=ACROSS, bent=(0, 0, F, F), spread=(-18, 10, 0, 0)),
    "open_palm": hand(),
    "fist": hand(thumb=ACROSS, bent=(F, F, F, F)),
    "pointing": hand(thumb=ACROSS, bent=(0, F, F, F)),
    "call": hand(bent=(F, F, F, 0)),
    "rock": hand(thumb=ACROSS, bent=(0, F, F, 0)),
    "four": hand(thumb=ACROSS),
}
THUMB_BESIDE_FIST = hand(bent=(F, F, F, F))


def rolled(points, degrees):
    """Turned in the picture, clockwise."""
    return np.array([turned(point, (0, 0, 1), degrees) for point in points])


@pytest.mark.parametrize("gesture", HANDS)
def test_gesture_of_a_jointed_hand_is_recognised(gesture):
    assert recognise(HANDS[gesture]).gesture == gesture


@pytest.mark.parametrize("gesture", HANDS)
@pytest.mark.parametrize("axis_and_degrees", [((0, 1, 0), 180), ((0, 1, 0), 60), ((1, 0, 0), 30), ((0, 0, 1), -35)])
def test_gesture_is_recognised_however_the_hand_is_turned(gesture, axis_and_degrees):
    points = np.array([turned(point, *axis_and_degrees) for point in HANDS[gesture]])
    assert recognise(points).gesture == gesture


@pytest.mark.parametrize("gesture", HANDS)
def test_left_hand_shows_what_the_right_hand_shows(gesture):
    assert recognise(HANDS[gesture] * (-1, 1, 1)) == pytest.approx(recognise(HANDS[gesture]))


@pytest.mark.parametrize("gesture", HANDS)
def test_size_and_unit_do_not_matter(gesture):
    assert recognise(HANDS[gesture] / 1000).score == pytest.approx(recognise(HANDS[gesture]).score)


@pytest.mark.parametrize("gesture", HANDS)
def test_jitter_of_two_millimetres_changes_no_gesture(gesture):
    noise = np.random.default_rng(1).normal(0, 2, (30, 21, 3))
    assert {recognise(HANDS[gesture] + each).gesture for each in noise} == {gesture}


@pytest.mark.parametrize("degrees", [45, 60, 75, 90])
def test_fist_that_lies_on_its_side_with_the_thumb_on_top_is_thumbs_up(degrees):
    assert recognise(rolled(THUMB_BESIDE_FIST, degrees)).gesture == "thumbs_up"


@pytest.mark.parametrize("degrees", [45, 60, 75, 90])
def test_fist_that_lies_on_its_side_with_the_thumb_below_is_thumbs_down(degrees):
    assert recognise(rolled(THUMB_BESIDE_FIST, 180 + degrees)).gesture == "thumbs_down"


@pytest.mark.parametrize("degrees", [-45, -20, 0, 15, 130])
def test_thumb_that_ends_no_higher_than_the_knuckles_or_no_lower_is_neither(degrees):
    assert recognise(rolled(THUMB_BESIDE_FIST, degrees)) == ("none", 0.0)


def test_thumb_that_is_guessed_to_stick_out_towards_the_camera_is_not_up():
    points = hand(thumb=BESIDE, bent=(F, F, F, F))
    points[3:5, 2] += 40, 70  # its bones as long as they can be taken for: seen from the front, depth is a guess
    assert stretched(points)[0] > SHOWN
    assert recognise(points) == ("none", 0.0)


@pytest.mark.parametrize("gesture", ["v_sign", "pointing", "call", "rock"])
def test_fingers_of_a_hand_that_hangs_show_nothing(gesture):
    assert recognise(rolled(HANDS[gesture], 130)) == ("none", 0.0)


def test_call_is_shown_by_a_hand_that_lies_sideways():
    assert recognise(rolled(HANDS["call"], 80)).gesture == "call"


def test_two_fingers_together_are_no_v_sign():
    assert recognise(hand(thumb=ACROSS, bent=(0, 0, F, F), spread=(0, 0, 0, 0))).gesture == "none"


def test_fingers_are_the_further_apart_the_more_they_are_spread():
    degrees = [apart(hand(spread=(-each, 0, 0, 0))) for each in (2, 8, 14, 25)]
    assert degrees == sorted(degrees)
    assert degrees[0] == 0.0
    assert degrees[-1] == 1.0


def test_thumb_and_two_fingers_are_no_v_sign():
    assert recognise(hand(bent=(0, 0, F, F), spread=(-18, 10, 0, 0))).gesture == "none"


@pytest.mark.parametrize("gesture", ["open_palm", "four"])
def test_open_hand_that_lies_sideways_shows_nothing(gesture):
    assert recognise(rolled(HANDS[gesture], 90)).gesture == "none"


def test_hooked_fingers_are_not_stretched():
    assert max(stretched(hand(bent=(HOOK, HOOK, HOOK, HOOK)))[1:]) < 0.5


def off_the_palm(points):
    """All four fingers straight, at a right angle to the palm."""
    points = points.copy()
    for finger, bones in enumerate(BONES):
        points[6 + 4 * finger : 9 + 4 * finger] = points[5 + 4 * finger] + np.outer(np.cumsum(bones), (0, 0, 1))
    return points


def test_fingers_that_are_straight_but_folded_at_the_knuckle_are_not_stretched():
    assert stretched(off_the_palm(hand()))[1:] == (0.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("thumb", [OUT, ACROSS])
@pytest.mark.parametrize("degrees", [0, 60, 240])
def test_fingers_that_are_straight_are_no_fist_and_make_no_thumb_up_or_down(thumb, degrees):
    assert recognise(rolled(off_the_palm(hand(thumb=thumb)), degrees)) == ("none", 0.0)


def test_thumb_beside_the_hand_is_not_held_out():
    assert stretched(hand(thumb=BESIDE))[0] < 0.5


def test_nothing_is_shown_with_a_score_of_zero():
    assert recognise(hand(thumb=BESIDE, bent=(0, 0, 0, F))) == ("none", 0.0)


def test_what_is_shown_has_at_least_the_least_score():
    scores = [recognise(points).score for points in HANDS.values()]
    assert min(scores) >= SHOWN
    assert max(scores) <= 1.0


def test_every_gesture_but_none_has_a_pattern():
    from typing import get_args

    from facemoment.vision import GestureName

    assert {*PATTERNS, "none"} == set(get_args(GestureName))


def test_ramp_rises_or_falls_between_its_ends_and_no_further():
    assert [ramp(value, 1.0, 3.0) for value in (0, 1, 2, 3, 4)] == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert [ramp(value, 3.0, 1.0) for value in (0, 1, 2, 3, 4)] == [1.0, 1.0, 0.5, 0.0, 0.0]

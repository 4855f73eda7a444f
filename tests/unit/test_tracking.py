"""tracking: an id stays with its owner, and with nobody else."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from facemoment.tracking import Box, Tracker, distance, overlap

FRAME_NS = 40_000_000
MAX_AGE_NS = 500_000_000
LEFT, RIGHT = Box(0.1, 0.3, 0.2, 0.3), Box(0.6, 0.3, 0.2, 0.3)


@pytest.fixture
def tracker():
    return Tracker(MAX_AGE_NS)


def moved(box, dx, dy=0.0):
    return box._replace(x=box.x + dx, y=box.y + dy)


def test_ids_rise_from_zero_in_the_order_of_the_boxes(tracker):
    assert tracker.update([LEFT, RIGHT], 0) == [0, 1]


def test_an_id_follows_its_box_whatever_the_order(tracker):
    tracker.update([LEFT, RIGHT], 0)
    assert tracker.update([moved(RIGHT, 0.02), moved(LEFT, 0.02)], FRAME_NS) == [1, 0]


def test_no_boxes_give_no_ids(tracker):
    assert tracker.update([], 0) == []


def test_jitter_changes_no_id(tracker):
    shaken = np.random.default_rng(1).normal(0, 0.01, (200, 2, 4))
    for frame, noise in enumerate(shaken):
        boxes = [Box(*(np.array(box) + each)) for box, each in zip((LEFT, RIGHT), noise, strict=True)]
        assert tracker.update(boxes, frame * FRAME_NS) == [0, 1]


@pytest.mark.parametrize("apart", [0.0, 0.1])
def test_faces_that_cross_keep_their_ids(tracker, apart):
    left, right = moved(LEFT, 0, -apart / 2), moved(RIGHT, 0, apart / 2)
    for frame in range(25):
        boxes = [moved(left, 0.02 * frame), moved(right, -0.02 * frame)]
        assert tracker.update(boxes, frame * FRAME_NS) == [0, 1]


def test_a_face_hidden_while_it_crosses_another_comes_out_with_its_id(tracker):
    for frame in range(25):
        boxes = [moved(RIGHT, -0.02 * frame), moved(LEFT, 0.02 * frame)]
        hidden = overlap(*boxes) > 0.5
        assert tracker.update(boxes[: 1 if hidden else 2], frame * FRAME_NS) == ([0] if hidden else [0, 1])


@pytest.mark.parametrize(("away_ns", "expected"), [(MAX_AGE_NS, 0), (MAX_AGE_NS + 1, 1)])
def test_a_face_keeps_its_id_for_as_long_as_the_age_allows(tracker, away_ns, expected):
    tracker.update([LEFT], 0)
    assert tracker.update([LEFT], away_ns) == [expected]


def test_an_id_that_has_ended_is_not_given_again(tracker):
    tracker.update([LEFT, RIGHT], 0)
    tracker.update([], MAX_AGE_NS + 1)
    assert tracker.update([RIGHT, LEFT], MAX_AGE_NS + 2) == [2, 3]


def test_owners_that_have_gone_are_forgotten(tracker):
    def size_after(n_boxes):
        tracker.reset()
        for i in range(n_boxes):
            tracker.update([LEFT], i * (MAX_AGE_NS + 1))
        return len(pickle.dumps(tracker))

    assert size_after(1000) < size_after(10) + 50


def test_a_box_far_from_every_track_is_another_owners(tracker):
    tracker.update([LEFT], 0)
    assert tracker.update([RIGHT], FRAME_NS) == [1]


def test_a_box_of_quite_another_size_in_the_same_place_is_another_owners(tracker):
    tracker.update([LEFT], 0)
    small = Box(0.18, 0.42, 0.04, 0.06)
    assert tracker.update([small], FRAME_NS) == [1]


def test_two_boxes_never_share_an_id(tracker):
    tracker.update([LEFT], 0)
    assert tracker.update([moved(LEFT, 0.05), LEFT], FRAME_NS) == [1, 0]


def test_reset_begins_at_zero_with_nobody_known(tracker):
    tracker.update([LEFT, RIGHT], 0)
    tracker.reset()
    assert tracker.update([RIGHT], 0) == [0]


def test_two_frames_of_one_event_time_are_tracked(tracker):
    tracker.update([LEFT], 0)
    assert tracker.update([moved(LEFT, 0.02)], 0) == [0]


def test_overlap_of_boxes_that_share_a_third():
    assert overlap(Box(0, 0, 2, 1), Box(1, 0, 2, 1)) == pytest.approx(1 / 3)


def test_overlap_of_boxes_apart_is_zero():
    assert overlap(LEFT, RIGHT) == 0.0


def test_distance_is_in_mean_sizes_of_the_boxes():
    assert distance(Box(0, 0, 1, 1), Box(0, 2, 3, 3)) == pytest.approx((0.5**2 + 1.5**2) ** 0.5)

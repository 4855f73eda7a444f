"""gesture and pose, but for MediaPipe: scripted models in its place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from facemoment.extractors.gesture import GestureExtractor
from facemoment.extractors.pose import PoseExtractor
from facemoment.hand_models import FoundHand
from visualbase.frame import Frame

FPS = 10
PICTURE = np.zeros((270, 480, 3), np.uint8)


def frame(number):
    return Frame(PICTURE, frame_id=number, t_ns=round(number * 1e9 / FPS))


class ScriptedModel:
    """Stands for `PoseModels` and its only `PoseModel`."""

    def __init__(self, seen):
        self._seen = iter(seen)
        self.calls = []

    def take(self):
        self.calls.append("take")
        return self

    def find(self, rgb):
        return next(self._seen)

    def reset(self):
        self.calls.append("reset")

    def close(self):
        self.calls.append("close")


def body(left_wrist=(0.62, 0.8), visibility=1.0):
    """The 33 points of a person who faces the camera."""
    points = np.full((33, 4), 0.5, np.float32)
    points[:, 3] = visibility
    points[[11, 12], :2] = (0.6, 0.5), (0.4, 0.5)
    points[[15, 16], :2] = left_wrist, (0.38, 0.8)
    points[[23, 24], :2] = (0.56, 0.95), (0.44, 0.95)
    return points


def watched(seen):
    """What `pose` says of each frame, and its model."""
    extractor = PoseExtractor()
    extractor.models = ScriptedModel(seen)
    return [extractor.extract(frame(number)) for number in range(len(seen))], extractor


def test_no_person_gives_zeros_and_an_empty_list():
    [said], _ = watched([None])
    assert (set(said.signals.values()), said.data) == ({0.0}, [])


def test_raised_hand_is_a_signal():
    [said], _ = watched([body(left_wrist=(0.7, 0.2))])
    assert {name for name, value in said.signals.items() if value == 1.0} >= {"left_hand_raised", "hands_raised"}
    assert said.signals["right_hand_raised"] == 0.0


def waving(number):
    return body(left_wrist=(0.7 + 0.08 * math.sin(2 * math.pi * 1.5 * number / FPS), 0.2))


def test_waving_hand_is_a_signal():
    said, _ = watched([waving(number) for number in range(2 * FPS)])
    assert said[-1].signals["hand_wave"] == said[-1].data[0].hand_wave >= 0.5


def test_raised_hand_that_is_still_does_not_wave():
    said, _ = watched([waving(0)] * 2 * FPS)
    assert max(each.signals["hand_wave"] for each in said) == 0.0


def test_box_lies_around_the_points_in_sight_and_inside_the_picture():
    points = body(left_wrist=(1.2, 0.2))
    points[27:29] = 0.5, 3.0, 0.0, 0.1  # ankles that are guessed
    [said], _ = watched([points])
    [pose] = said.data
    assert (pose.x, pose.y, pose.x + pose.w, pose.y + pose.h) == pytest.approx((0.38, 0.2, 1.0, 0.95))


def test_reset_forgets_the_wave_and_where_the_person_was():
    _, extractor = watched([waving(number) for number in range(2 * FPS)])
    extractor.models._seen = iter([waving(0)])
    extractor.reset()
    assert extractor.extract(frame(2 * FPS)).signals["hand_wave"] == 0.0
    assert extractor.models.calls == ["take", "reset"]


def test_stream_gives_back_its_model_once():
    _, extractor = watched([None, None])
    extractor.close()
    extractor.close()
    assert extractor.models.calls == ["take", "close"]


def fist(x=0.3, label="Left"):
    """Points that show nothing in particular, in a place."""
    points = np.random.default_rng(1).random((21, 3)).astype(np.float32)
    place = points * 0.1 + np.array([x, 0.4, 0.0], np.float32)
    return FoundHand(place, points, label, 0.9)


class ScriptedHands:
    """Stands for `HandModels`."""

    def __init__(self, seen):
        self._seen = iter(seen)

    def find(self, rgb):
        return next(self._seen)


def shown(seen, extractor=None):
    extractor = extractor or GestureExtractor()
    extractor.models = ScriptedHands(seen)
    return [extractor.extract(frame(number)) for number in range(len(seen))]


def test_no_hand_gives_zeros_and_an_empty_list():
    [said] = shown([[]])
    assert (set(said.signals.values()), said.data) == ({0.0}, [])


def test_hands_are_counted_and_mediapipes_left_is_the_persons_right():
    [said] = shown([[fist(0.2, "Left"), fist(0.7, "Right")]])
    assert said.signals["hands"] == 2.0
    assert [hand.handedness for hand in said.data] == ["right", "left"]


def test_each_hand_keeps_its_id_in_whatever_order_they_come():
    first, second = shown([[fist(0.2), fist(0.7)], [fist(0.71), fist(0.21)]])
    assert [hand.track_id for hand in first.data] == [0, 1]
    assert [hand.track_id for hand in second.data] == [1, 0]


def test_ids_begin_anew_in_another_epoch():
    extractor = GestureExtractor()
    shown([[fist(0.2), fist(0.7)]], extractor)
    extractor.reset()
    [said] = shown([[fist(0.7)]], extractor)
    assert [hand.track_id for hand in said.data] == [0]


def test_signal_is_the_best_score_of_the_hands_that_show_a_gesture(monkeypatch):
    answers = iter([("rock", 0.6), ("rock", 0.8), ("none", 0.0)])
    from facemoment import fingers

    monkeypatch.setattr("facemoment.extractors.gesture.recognise", lambda _: fingers.Shown(*next(answers)))
    [said] = shown([[fist(0.1), fist(0.4), fist(0.7)]])
    assert {name: value for name, value in said.signals.items() if value} == {"hands": 3.0, "rock": 0.8}

"""gesture and pose, but for MediaPipe: scripted models in its place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from facemoment.backends.found import FoundPerson
from facemoment.backends.mediapipe import MediaPipePose
from facemoment.body import COCO
from facemoment.extractors.gesture import GestureExtractor
from facemoment.extractors.pose import PoseExtractor
from facemoment.hand_models import FoundHand
from facemoment.pose_models import WARM_UP_FRAMES, PoseModels
from facemoment.tracking import Box
from visualbase.frame import Frame

FPS = 10
PICTURE = np.zeros((270, 480, 3), np.uint8)


def frame(number):
    return Frame(PICTURE, frame_id=number, t_ns=round(number * 1e9 / FPS))


class ScriptedModel:
    """Stands for `PoseModel`."""

    def __init__(self, seen=()):
        self.seen = iter(seen)
        self.calls = []

    def find(self, rgb):
        return next(self.seen, None)

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
    """What `pose: mediapipe` says of each frame."""
    extractor = PoseExtractor()
    extractor.models = MediaPipePose(PoseModels(lambda: ScriptedModel([None] * WARM_UP_FRAMES + seen), width=64))
    return [extractor.extract(frame(number)) for number in range(len(seen))]


def test_no_person_gives_zeros_and_an_empty_list():
    [said] = watched([None])
    assert (set(said.signals.values()), said.data) == ({0.0}, [])


def test_raised_hand_is_a_signal():
    [said] = watched([body(left_wrist=(0.7, 0.2))])
    assert {name for name, value in said.signals.items() if value == 1.0} >= {"left_hand_raised", "hands_raised"}
    assert said.signals["right_hand_raised"] == 0.0


def waving(number):
    return body(left_wrist=(0.7 + 0.08 * math.sin(2 * math.pi * 1.5 * number / FPS), 0.2))


def test_waving_hand_is_a_signal():
    said = watched([waving(number) for number in range(2 * FPS)])
    assert said[-1].signals["hand_wave"] == said[-1].data[0].hand_wave >= 0.5


def test_raised_hand_that_is_still_does_not_wave():
    said = watched([waving(0)] * 2 * FPS)
    assert max(each.signals["hand_wave"] for each in said) == 0.0


def test_box_lies_around_the_points_in_sight_and_inside_the_picture():
    points = body(left_wrist=(1.2, 0.2))
    points[27:29] = 0.5, 3.0, 0.0, 0.1  # ankles that are guessed
    [said] = watched([points])
    [pose] = said.data
    assert (pose.x, pose.y, pose.x + pose.w, pose.y + pose.h) == pytest.approx((0.38, 0.2, 1.0, 0.95))


class ScriptedPersons:
    """Stands for a backend that finds several persons: a list of them for each frame."""

    about = {"device": "cpu", "model": "scripted"}

    def __init__(self, seen):
        self._seen = iter(seen)

    def find(self, frame):
        return next(self._seen)


def person(x, number=None, confidence=0.9):
    """Somebody whose middle is at x; raises the left hand, and waves, if a number is given."""
    points = (body() if number is None else waving(number))[list(COCO)][:, [0, 1, 3]]
    points[:, 0] += x - 0.5
    return FoundPerson(Box(x - 0.15, 0.1, 0.3, 0.9), confidence, points)


def several(seen, extractor=None):
    """What `pose` says of each frame."""
    extractor = extractor or PoseExtractor()
    extractor.models = ScriptedPersons(seen)
    return [extractor.extract(frame(number)) for number in range(len(seen))]


def test_persons_are_counted_and_keep_their_ids_in_whatever_order_they_come():
    first, second = several([[person(0.2), person(0.8)], [person(0.81), person(0.21)]])
    assert first.signals["persons"] == 2.0
    assert [each.track_id for each in first.data] == [0, 1]
    assert [each.track_id for each in second.data] == [1, 0]


def test_only_the_one_who_waves_is_said_to_wave():
    said = several([[person(0.2), person(0.8, number)] for number in range(2 * FPS)])
    still, waver = said[-1].data
    assert (still.hand_wave, still.left_hand_raised) == (0.0, False)
    assert said[-1].signals["hand_wave"] == waver.hand_wave >= 0.5


def test_wave_goes_on_when_the_order_of_persons_changes():
    turns = [[person(0.2), person(0.8, number)][:: 1 if number % 2 else -1] for number in range(2 * FPS)]
    assert several(turns)[-1].signals["hand_wave"] >= 0.5


def test_wave_of_one_who_has_gone_is_forgotten():
    there = [[person(0.8, number)] for number in range(2 * FPS)]
    said = several([*there, *[[]] * FPS, [person(0.8, 0)]])
    assert (said[-1].data[0].track_id, said[-1].signals["hand_wave"]) == (1, 0.0)


def test_no_more_waves_are_remembered_than_there_are_persons_followed():
    extractor = PoseExtractor()
    several([[person(0.2), person(0.8)], *[[]] * FPS, [person(0.2)]], extractor)
    assert list(extractor._waves) == [2]


def test_reset_forgets_the_waves_and_who_is_who():
    extractor = PoseExtractor()
    several([[person(0.8, number)] for number in range(2 * FPS)], extractor)
    extractor.reset()
    [said] = several([[person(0.8, 2 * FPS)]], extractor)
    assert (said.data[0].track_id, said.signals["hand_wave"]) == (0, 0.0)


def test_backend_stands_in_the_metadata():
    [said] = several([[]])
    assert said.metadata == {"device": "cpu", "model": "scripted"}


@pytest.fixture
def made():
    """The models that `PoseModels` makes for streams."""
    return []


@pytest.fixture
def models(made):
    def make():
        made.append(ScriptedModel())
        return made[-1]

    return PoseModels(make, width=64)


def test_each_stream_has_a_model_of_its_own_and_the_first_takes_the_warm_one(made, models):
    for stream in ("a", "b", "a"):
        models.find(PICTURE, stream, epoch=1)
    assert len(made) == 2


def test_a_model_forgets_the_person_in_a_new_epoch_of_its_stream(made, models):
    for stream, epoch in (("a", 1), ("a", 1), ("a", 1), ("b", 1), ("a", 2)):
        models.find(PICTURE, stream, epoch)
    assert [model.calls for model in made] == [["reset"], []]


def test_all_models_are_closed_once(made, models):
    for stream in "ab":
        models.find(PICTURE, stream, epoch=1)
    models.close()
    models.close()
    assert [model.calls for model in made] == [["close"], ["close"]]


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

"""gesture and pose: MediaPipe itself, in its own venv, on real pictures.

This process has no MediaPipe: a script runs in `.venvs/face` and answers in JSON.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MEDIA = ROOT.parent / "shared" / "media"
PYTHON = ROOT / ".venvs/face/bin/python"
PICTURES = ("img_mpgest_rock_1.jpg", "img_hand_thumb_up.jpg", "img_mpgest_none_3.jpg", "img_sk_page.png")
ROCK, THUMB_UP, THUMB_DOWN, PAGE = PICTURES

LOOK = """
import sys
import cv2, msgspec
from facemoment.extractors.gesture import GestureExtractor
from facemoment.extractors.pose import PoseExtractor
from visualbase.frame import Frame

answers = {}
loaders = {GestureExtractor: GestureExtractor.load_models, PoseExtractor: PoseExtractor.backends["mediapipe"]}
for extractor, load in loaders.items():
    models = load({})
    stream = extractor({})
    stream.models = models
    for epoch, path in enumerate(sys.argv[1:]):
        stream.reset()
        for t_ns in range(2):  # found, then followed
            seen = stream.extract(Frame(cv2.imread(path), frame_id=t_ns, t_ns=t_ns, epoch=epoch))
        answers.setdefault(extractor.name, []).append({"signals": seen.signals, "data": seen.data})
    stream.close()
    stream.close()
    models.close()
sys.stdout.buffer.write(msgspec.json.encode(answers, enc_hook=lambda array: array.tolist()))
"""


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[str, dict[str, Any]]]:
    """What each extractor says about each picture: its signals and its data."""
    if not PYTHON.exists():
        pytest.skip("no .venvs/face: run venvs/build.py face")
    if not MEDIA.is_dir():
        pytest.skip("no ../shared/media beside this checkout")
    command = [PYTHON, "-c", LOOK, *(MEDIA / name for name in PICTURES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return {name: dict(zip(PICTURES, answers, strict=True)) for name, answers in json.loads(done.stdout).items()}


@pytest.mark.parametrize(("name", "gesture"), [(ROCK, "rock"), (THUMB_UP, "thumbs_up"), (THUMB_DOWN, "thumbs_down")])
def test_gesture_is_the_one_a_person_sees(seen, name, gesture):
    signals = seen["gesture"][name]["signals"]
    assert {shown for shown, score in signals.items() if shown != "hands" and score} == {gesture}


def test_score_of_a_gesture_is_the_signal(seen):
    [hand] = seen["gesture"][ROCK]["data"]
    assert seen["gesture"][ROCK]["signals"]["rock"] == hand["score"] >= 0.5


@pytest.mark.parametrize(
    ("name", "handedness"), [(ROCK, ["right"]), (THUMB_UP, ["left"]), (THUMB_DOWN, ["left", "right"])]
)
def test_handedness_is_the_persons_own(seen, name, handedness):
    assert sorted(hand["handedness"] for hand in seen["gesture"][name]["data"]) == handedness


def test_hand_keeps_its_id_while_it_is_followed_and_ids_begin_anew_in_an_epoch(seen):
    assert [hand["track_id"] for hand in seen["gesture"][ROCK]["data"]] == [0]
    assert [hand["track_id"] for hand in seen["gesture"][THUMB_UP]["data"]] == [0]


def test_box_of_the_hand_lies_where_the_hand_is(seen):
    [hand] = seen["gesture"][ROCK]["data"]
    assert 0.1 < hand["x"] < 0.23 < hand["x"] + hand["w"] < 0.35
    assert 0.2 < hand["y"] < 0.33 < hand["y"] + hand["h"] < 0.45


def test_person_with_a_raised_right_hand_is_seen_so(seen):
    signals = seen["pose"][ROCK]["signals"]
    raised = {name: signals[name] for name in ("left_hand_raised", "right_hand_raised", "hands_raised")}
    assert raised == {"left_hand_raised": 0.0, "right_hand_raised": 1.0, "hands_raised": 1.0}


def test_pose_has_17_and_33_points(seen):
    [pose] = seen["pose"][ROCK]["data"]
    assert (len(pose["keypoints"]), len(pose["landmarks"])) == (17, 33)


def test_still_hand_does_not_wave(seen):
    assert seen["pose"][ROCK]["signals"]["hand_wave"] == 0.0


def test_picture_without_people_gives_zeros_and_empty_lists(seen):
    for name in ("gesture", "pose"):
        assert set(seen[name][PAGE]["signals"].values()) == {0.0}
        assert seen[name][PAGE]["data"] == []


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("gesture", {"hands": 1}, "unknown field `hands`"),
        ("gesture", {"max_hands": 0}, ">= 1 - at `$.max_hands`; allowed are max_hands (1 to 8)"),
        ("gesture", {"min_confidence": 2}, "<= 1.0 - at `$.min_confidence`"),
        ("gesture", {"max_age_s": 0}, "> 0.0 - at `$.max_age_s`"),
        ("pose", {"model_complexity": 2}, "unknown field `model_complexity`; allowed are"),
        ("pose", {"max_persons": 0}, ">= 1 - at `$.max_persons`"),
        ("pose", {"min_confidence": "high"}, "got `str` - at `$.min_confidence`"),
    ],
)
def test_bad_configuration_is_refused_with_its_key_and_what_is_allowed(name, config, message):
    from facemoment.extractors.gesture import GestureExtractor  # need no MediaPipe until models are loaded
    from facemoment.extractors.pose import PoseExtractor

    loaders = {
        "gesture": [GestureExtractor, GestureExtractor.load_models],
        "pose": [PoseExtractor, *PoseExtractor.backends.values()],
    }
    for refuse in loaders[name]:
        with pytest.raises(ValueError, match=rf"^{name}: .*allowed") as caught:
            refuse(config)
        assert message in str(caught.value)

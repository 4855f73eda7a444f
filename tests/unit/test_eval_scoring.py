"""scoring: what `make eval` makes of what was seen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from media import HANDS_IN_SIGHT, SEEN_BY_EYE, load
from scoring import FalseSpan, Presence, Truth, confusion, false_spans, presence_is_false

MEDIA = Path(__file__).parents[3] / "shared/media"
VIDEO = {
    "tolerance_s": 0.2,
    "faces": [{"start": 0, "end": 4, "count": 3}, {"start": 0, "end": 1.5, "count": 1}],
    "hands": [],
}


def test_numbers_of_overlapping_intervals_add():
    truth = Truth.of_video(VIDEO, "faces")
    assert [truth.count(t_s) for t_s in (1.0, 2.0, 4.0)] == [4, 3, 0]


def test_kind_that_the_truth_does_not_tell_has_none():
    assert Truth.of_video(VIDEO, "persons") is None
    assert Truth.of_image({"faces": 1}, "hands") is None


def test_empty_list_means_that_nothing_is_there():
    assert Truth.of_video(VIDEO, "hands").judged([(1.0, 2)]) == [(1.0, 0, 2)]


def test_frames_near_an_edge_are_not_judged():
    seen = [(t_s, 0) for t_s in (0.1, 0.3, 1.4, 1.6, 1.8, 3.9, 4.1, 4.3)]
    assert [t_s for t_s, *_ in Truth.of_video(VIDEO, "faces").judged(seen)] == [0.3, 1.8, 4.3]


def test_outside_the_intervals_of_a_truth_that_is_not_whole_nothing_is_judged():
    truth = replace(Truth.of_video(VIDEO, "faces"), is_whole=False)
    assert [t_s for t_s, *_ in truth.judged([(3.0, 0), (4.5, 1)])] == [3.0]


def test_files_that_are_named_by_hand_are_among_the_media():
    if not MEDIA.is_dir():
        pytest.skip("no ../shared/media beside this checkout")
    assert {media.path.name for media in load(MEDIA)} >= HANDS_IN_SIGHT | set(SEEN_BY_EYE)


def test_picture_is_judged():
    assert Truth.of_image({"faces": 2}, "faces").judged([(0.0, 1)]) == [(0.0, 2, 1)]


VERDICTS = [(0.0, 1, 1), (0.1, 1, 3), (0.2, 1, 0), (0.3, 0, 1), (0.4, 0, 1), (0.5, 0, 0)]


def test_presence_counts_frames_by_what_is_there_and_what_was_seen():
    assert Presence.of(VERDICTS) == Presence(2, 2, 1, 1, pytest.approx((2 + 1 + 1 + 1) / 6))


def test_precision_and_recall_are_shares_of_frames():
    presence = Presence.of(VERDICTS)
    assert (presence.precision, presence.recall) == (pytest.approx(2 / 4), pytest.approx(2 / 3))


def test_shares_of_nothing_are_unknown():
    presence = Presence.of([(0.0, 0, 0)])
    assert (presence.precision, presence.recall) == (None, None)


def test_false_frames_in_a_row_are_one_span():
    assert false_spans(VERDICTS, presence_is_false) == [
        FalseSpan(0.2, 0.2, 1, "1", "0"),
        FalseSpan(0.3, 0.4, 2, "0", "1"),
    ]


def test_confusion_counts_pairs():
    assert confusion([("rock", "rock"), ("rock", "none"), ("rock", "rock")]) == {"rock": {"rock": 2, "none": 1}}

"""How `make eval-ocr` and `make eval-scene` judge."""

from __future__ import annotations

import pytest
from cut_scoring import f1
from cut_scoring import score as score_cuts
from text_scoring import distance
from text_scoring import score as score_text
from written import WRITTEN

TIMES_S = [n / 10 for n in range(100)]


def judged(reports, cuts_s=(5.0,), gradual_s=()):
    return score_cuts(TIMES_S, reports, cuts_s, gradual_s, tolerance=2)


@pytest.mark.parametrize(("report", "late"), [(48, -2), (50, 0), (52, 2)])
def test_a_report_within_two_frames_of_a_cut_finds_it(report, late):
    assert judged([report]).hits == (late,)


@pytest.mark.parametrize("report", [47, 53])
def test_a_report_three_frames_off_is_false_and_the_cut_is_missed(report):
    scored = judged([report])
    assert (scored.hits, scored.missed, scored.false) == ((), (5.0,), (TIMES_S[report],))


def test_a_cut_is_found_once():
    assert judged([50, 51]).false == (5.1,)


def test_a_report_within_a_gradual_transition_is_neither_right_nor_false():
    scored = judged([70], cuts_s=(), gradual_s=[(6.5, 7.5)])
    assert (scored.hits, scored.false, scored.gradual) == ((), (), (7.0,))


def test_f1_is_the_harmonic_mean_of_precision_and_recall():
    assert f1(hits=3, missed=1, false=2) == pytest.approx(2 * 0.6 * 0.75 / (0.6 + 0.75))
    assert f1(0, 0, 0) is None


@pytest.mark.parametrize(
    ("truth", "read", "edits"), [("abc", "abc", 0), ("abc", "", 3), ("abc", "xabc", 1), ("kitten", "sitting", 3)]
)
def test_distance_is_levenshteins(truth, read, edits):
    assert distance(truth, read, whole=True) == edits


@pytest.mark.parametrize(("read", "edits"), [("xx abc yy", 0), ("xx abd yy", 1), ("", 3), ("c", 2)])
def test_text_around_the_truth_is_no_error_where_that_is_not_all_there_is(read, edits):
    assert distance("abc", read, whole=False) == edits


def test_accuracy_is_over_all_characters_of_all_pictures():
    scored = score_text([(0.0, "abcdefghi", "abcdefghi"), (1.0, "x", "y")], whole=True)
    assert scored.characters == pytest.approx(0.9)
    assert scored.worst == (1.0, "x", "y")


def test_spaces_count_in_one_of_the_two_accuracies():
    scored = score_text([(0.0, "ab cd", "abcd")], whole=True)
    assert (scored.characters, scored.spaced) == (1.0, 0.8)


def test_numbers_of_the_counting_video_are_not_judged_where_they_change():
    at = WRITTEN["wpt_counting.mp4"].at
    assert [at(0.1), at(0.5), at(9.7), at(1.0)] == ["1", "2", "30", None]


def test_composed_video_has_the_text_of_its_parts_at_their_times():
    at = WRITTEN["composed_scenes_A.mp4"].at
    assert [at(5.0), at(12.0), at(14.5), at(20.0)] == [None, "ROYAL OPERA HOUSE", "2", None]

"""ocr's own part: what is waited for, places in the picture, configuration. RapidOCR is not here."""

from __future__ import annotations

import re

import numpy as np
import pytest

from visualbase.frame import Frame
from visualpath_ocr.extractor import OcrExtractor
from visualpath_ocr.matching import match_confidence
from visualpath_ocr.text_models import FoundText

PICTURE = np.zeros((100, 200, 3), np.uint8)
SQUARE = np.array([[20, 10], [60, 10], [60, 30], [20, 30]], np.float64)


class ScriptedModels:
    """Stands for `TextModels`."""

    def __init__(self, *lines):
        self._lines = lines

    def find(self, bgr):
        return [FoundText(text, confidence, corners) for text, confidence, corners in self._lines]


def read(*lines, **config):
    """What ocr says of a picture with these lines."""
    extractor = OcrExtractor(config)
    extractor.models = ScriptedModels(*lines)
    return extractor.extract(Frame(PICTURE, frame_id=0, t_ns=0))


def sure(pattern, *lines):
    return match_confidence(re.compile(pattern), lines)


def test_a_match_within_a_line_is_as_sure_as_that_line():
    assert sure("B1", ("gate A7", 0.99), ("gate B12", 0.9)) == 0.9


def test_a_match_over_several_lines_is_as_sure_as_the_least_of_them():
    assert sure("ROYAL OPERA", ("THE", 0.1), ("ROYAL", 0.9), ("OPERA", 0.7), ("HOUSE", 0.2)) == 0.7


def test_of_several_matches_the_best_counts():
    assert sure("exit", ("exit", 0.6), ("exit", 0.8), ("exit", 0.7)) == 0.8


def test_the_space_between_lines_belongs_to_none():
    assert sure(r"a ", ("a", 0.9), ("b", 0.1)) == 0.9


@pytest.mark.parametrize("lines", [[], [("gate", 0.9)]])
def test_without_a_match_it_is_0(lines):
    assert sure("exit", *lines) == 0.0


def test_a_pattern_that_can_match_nothing_at_all_is_no_match_where_there_is_no_text():
    assert sure("x*") == 0.0


def test_letter_case_does_not_matter_to_the_pattern():
    assert read(("EXIT", 0.9, SQUARE), pattern="exit").signals["match"] == 0.9


def test_letter_case_matters_where_the_pattern_says_so():
    assert read(("EXIT", 0.9, SQUARE), pattern="(?-i:exit)").signals["match"] == 0.0


def test_without_a_pattern_there_is_no_match_signal():
    assert read(("EXIT", 0.9, SQUARE)).signals == {"count": 1.0, "conf": 0.9}


def test_a_picture_without_text_gives_zeros_and_an_empty_list():
    seen = read(pattern="exit")
    assert (seen.signals, seen.data) == ({"count": 0.0, "conf": 0.0, "match": 0.0}, [])


def test_places_are_fractions_of_the_picture():
    [text] = read(("EXIT", 0.9, SQUARE)).data
    assert (text.x, text.y, text.w, text.h) == pytest.approx((0.1, 0.1, 0.2, 0.2))
    assert np.allclose(text.corners, SQUARE / (200, 100))


def test_places_lie_inside_the_picture():
    [text] = read(("EXIT", 0.9, SQUARE - (30, 15))).data
    assert (text.x, text.y) == (0.0, 0.0)
    assert text.corners.min() == 0.0


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"words": ["exit"]}, "unknown field `words`"),
        ({"max_side": 100}, ">= 320 - at `$.max_side`"),
        ({"min_confidence": 0}, "> 0.0 - at `$.min_confidence`"),
        ({"threads": 0}, ">= 1 - at `$.threads`"),
        ({"pattern": 7}, "got `int` - at `$.pattern`"),
    ],
)
def test_bad_configuration_is_refused_with_its_key_and_what_is_allowed(config, message):
    for refuse in (OcrExtractor, OcrExtractor.load_models):
        with pytest.raises(ValueError, match=r"^ocr: .*allowed are") as caught:
            refuse(config)
        assert message in str(caught.value)


def test_a_pattern_that_is_no_regular_expression_is_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"ocr: pattern '\(exit' is no regular expression: missing \)"):
        OcrExtractor({"pattern": "(exit"})

"""scene's own part: which change is a cut, and what is said of the scene a frame is in. PySceneDetect is not here."""

from __future__ import annotations

import numpy as np
import pytest

from visualbase.frame import Frame
from visualpath.process.host import ExtractorHost
from visualpath_scene.cuts import CutJudge
from visualpath_scene.extractor import Scene, SceneExtractor

S = 1_000_000_000
PICTURE = np.zeros((4, 4, 3), np.uint8)


def cuts(scores, times_s=None, threshold=0.1, ratio=2.0, min_scene_s=0.5):
    """The places at which a judge says cut; pictures come each second."""
    judge = CutJudge(threshold, ratio, round(min_scene_s * S))
    times = times_s or range(len(scores))
    said = [judge.is_cut(score, round(t_s * S)) for score, t_s in zip(scores, times, strict=True)]
    return [place for place, cut in enumerate(said) if cut]


def test_a_large_change_after_small_ones_is_a_cut():
    assert cuts([None, 0.01, 0.3, 0.01]) == [2]


def test_a_change_below_the_threshold_is_none():
    assert cuts([None, 0.01, 0.09]) == []


def test_pictures_that_all_differ_from_one_another_give_no_cut():
    assert cuts([None, 0.30, 0.35, 0.28, 0.4, 0.33]) == []


def test_a_change_that_stands_out_of_such_pictures_is_a_cut():
    assert cuts([None, 0.15, 0.15, 0.31, 0.15]) == [3]


def test_the_first_change_of_all_is_none_as_there_is_nothing_to_compare_it_with():
    assert cuts([None, 0.9, 0.01, 0.9]) == [3]


def test_a_picture_without_a_score_makes_the_next_change_the_first():
    assert cuts([None, 0.01, None, 0.9, 0.01]) == []


def test_without_a_ratio_the_threshold_decides_alone():
    assert cuts([None, 0.30, 0.35, 0.28], ratio=0.0) == [2, 3]


def test_a_cut_too_soon_after_the_last_is_none():
    assert cuts([None, 0.01, 0.9, 0.01, 0.9, 0.01, 0.9], times_s=[0, 0.1, 0.2, 0.3, 0.6, 0.7, 0.8]) == [2, 6]


def test_a_scene_need_not_last_as_long_before_the_first_cut():
    assert cuts([None, 0.01, 0.9], times_s=[0, 0.04, 0.08]) == [2]


def test_a_reset_forgets_the_last_cut():
    judge = CutJudge(0.1, 2.0, 10 * S)
    assert [judge.is_cut(score, t_ns) for t_ns, score in enumerate([None, 0.01, 0.9])][-1]
    judge.reset()
    assert [judge.is_cut(score, t_ns) for t_ns, score in enumerate([None, 0.01, 0.9])][-1]


class ScriptedMeter:
    """Stands for `ChangeMeter`."""

    def __init__(self, scores):
        self._scores = iter(scores)

    def change(self, bgr):
        return next(self._scores)


def meters(*scores):
    """What makes a meter for each stream and epoch, each with the whole script before it."""
    return lambda: ScriptedMeter(scores)


def watched(frames, scores, **config):
    """What scene says of frames, given as (frame_id, seconds) and maybe epoch, by the host as everywhere."""
    script = meters(*scores)

    class Scripted(SceneExtractor):
        @classmethod
        def load_models(cls, config):
            return script

    host = ExtractorHost(Scripted, "scene", config)
    host.open()
    said = []
    for frame_id, t_s, *epoch in frames:
        frame = Frame(PICTURE, frame_id=frame_id, t_ns=round(t_s * S), stream="cam1", epoch=epoch[0] if epoch else 1)
        said += host.handle(frame).observations
    host.close()
    return said


def test_a_cut_is_said_on_the_first_frame_of_its_scene_alone():
    said = watched([(n, n / 10) for n in range(4)], [None, 0.01, 0.6, 0.01])
    assert [each.signals["cut"] for each in said] == [0.0, 0.0, 1.0, 0.0]


def test_the_score_is_that_of_the_picture_and_0_without_one_before_it():
    said = watched([(n, n / 10) for n in range(3)], [None, 0.01, 0.6])
    assert [each.signals["score"] for each in said] == [0.0, 0.01, 0.6]


def test_age_counts_event_time_from_the_scenes_first_frame():
    said = watched([(0, 7.0), (1, 7.2), (5, 8.0), (6, 9.5)], [None, 0.01, 0.6, 0.01])
    assert [each.signals["age_s"] for each in said] == [0.0, pytest.approx(0.2), 0.0, 1.5]


def test_a_scene_after_frames_that_were_left_out_says_between_which_two_the_cut_lies():
    said = watched([(0, 7.0), (1, 7.2), (5, 8.0), (6, 9.5)], [None, 0.01, 0.6, 0.01])
    assert said[0].data == Scene(number=0, frame_id=0, t_ns=7 * S, gap_ns=0)
    assert said[2].data == said[3].data == Scene(number=1, frame_id=5, t_ns=8 * S, gap_ns=800_000_000)


def test_a_new_epoch_begins_with_scene_0_and_nothing_to_compare_with():
    said = watched([(0, 0), (1, 1), (2, 2), (0, 0, 2), (1, 1, 2)], [None, 0.01, 0.6])
    assert [each.data.number for each in said] == [0, 0, 1, 0, 0]
    assert [each.signals["score"] for each in said] == [0.0, 0.01, 0.6, 0.0, 0.01]


def test_each_stream_has_a_meter_of_its_own():
    script = meters(None, 0.5)
    first, second = SceneExtractor(), SceneExtractor()
    first.models = second.models = script
    for stream in (first, second, first):
        said = stream.extract(Frame(PICTURE, frame_id=0, t_ns=0))
    assert said.signals["score"] == 0.5


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"limit": 0.5}, "unknown field `limit`"),
        ({"threshold": 27}, "<= 1.0 - at `$.threshold`"),
        ({"threshold": 0}, "> 0.0 - at `$.threshold`"),
        ({"ratio": -1}, ">= 0.0 - at `$.ratio`"),
        ({"ratio": "high"}, "got `str` - at `$.ratio`"),
        ({"min_scene_s": 61}, "<= 60.0 - at `$.min_scene_s`"),
    ],
)
def test_bad_configuration_is_refused_with_its_key_and_what_is_allowed(config, message):
    for refuse in (SceneExtractor, SceneExtractor.load_models):
        with pytest.raises(ValueError, match=r"^scene: .*allowed are") as caught:
            refuse(config)
        assert message in str(caught.value)

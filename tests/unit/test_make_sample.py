"""The demo's video: its script, and that its pictures follow the script."""

from __future__ import annotations

import importlib.util
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[2] / "deploy" / "sample" / "make_sample.py"


@pytest.fixture(scope="module")
def sample():
    pytest.importorskip("av", reason="make_sample.py encodes with PyAV")
    spec = importlib.util.spec_from_file_location("make_sample", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_faces_are_apart_from_each_other_and_from_both_ends(sample):
    truth = sample.truth()
    times = [0, *(t for face in truth["faces"] for t in (face["start_ns"], face["end_ns"])), truth["duration_ns"]]
    assert all(later - earlier >= 1_500_000_000 for earlier, later in pairwise(times))


def test_truth_is_on_the_edges_of_frames(sample):
    truth = sample.truth()
    for face in truth["faces"]:
        for key in ("start_ns", "end_ns"):
            assert face[key] * truth["fps"] % 10**9 == 0


def test_portrait_is_there_from_its_first_frame_to_the_one_before_its_end(sample):
    truth = sample.truth()
    step = 1 / truth["fps"]
    for face in truth["faces"]:
        start_s, end_s = face["start_ns"] / 1e9, face["end_ns"] / 1e9
        seen = [sample.appearance_at(t) is not None for t in (start_s - step, start_s, end_s - step, end_s)]
        assert seen == [False, True, True, False]


def test_gain_is_lowest_half_way_and_one_at_both_ends(sample):
    pose = sample.Pose(0, 0, 1)
    seen = sample.Appearance("x", 2.0, 4.0, pose, pose, darkest=0.25)
    assert [seen.gain(t) for t in (2.0, 2.5, 3.0, 3.5, 4.0)] == [1.0, 0.625, 0.25, 0.625, 1.0]


def test_paste_centres_the_photograph_and_leaves_the_rest(sample):
    picture = np.zeros((20, 40, 3), np.float32)
    sample.paste(picture, np.full((8, 8, 3), 200, np.float32), sample.Pose(20, 10, 0.5))
    rows, columns = np.nonzero(picture[:, :, 0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 11, 18, 21)


def test_paste_cuts_off_what_is_outside(sample):
    picture = np.zeros((20, 40, 3), np.float32)
    sample.paste(picture, np.full((8, 8, 3), 200, np.float32), sample.Pose(0, 20, 1))
    assert np.count_nonzero(picture[:, :, 0]) == 4 * 4


def test_first_picture_is_background_alone(sample):
    portrait = np.full((512, 512, 3), 255, np.float32)
    first = next(sample.pictures(portrait))
    assert first.shape == (sample.HEIGHT, sample.WIDTH, 3)
    assert first.dtype == np.uint8
    assert first.max() < 245  # the photograph's border


def test_background_is_the_same_every_time(sample):
    np.testing.assert_array_equal(sample.background(), sample.background())

"""expression: hsemotion without ONNX Runtime: what the model is given, and what becomes of what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facemoment.backends.hsemotion import DEVIATION, EMOTIONS, MEAN, cut_out, input_size, normalised, understood
from facemoment.vision import Face
from visualpath.core.errors import ModelError


def logits(**given):
    return np.array([given.get(name, 0.0) for name in EMOTIONS], np.float32)


def test_emotions_add_up_to_1_and_follow_the_softmax():
    emotions, mood = understood(logits(happy=np.log(3.0)))
    assert sum(emotions.values()) == pytest.approx(1)
    assert emotions["happy"] == pytest.approx(3 / 10)
    assert emotions["anger"] == pytest.approx(1 / 10)
    assert mood == {}


def test_large_logits_do_not_overflow():
    emotions, _ = understood(logits(sad=1e4))
    assert emotions["sad"] == 1.0


def test_a_model_of_seven_emotions_does_not_know_contempt():
    emotions, _ = understood(np.arange(7, dtype=np.float32))
    assert list(emotions) == ["anger", "disgust", "fear", "happy", "neutral", "sad", "surprise"]


@pytest.mark.parametrize("count", [7, 8])
def test_valence_and_arousal_stand_at_the_end(count):
    emotions, mood = understood(np.array([9.0, *[0.0] * (count - 1), 0.5, -0.25], np.float32))
    assert (len(emotions), mood) == (count, {"valence": 0.5, "arousal": -0.25})
    assert emotions["anger"] > 0.99


def test_valence_and_arousal_stay_within_their_bounds():
    assert understood(np.array([*logits(), 1.3, -1.2]))[1] == {"valence": 1.0, "arousal": -1.0}


def test_picture_is_normalised_channel_by_channel():
    batch = normalised(np.full((50, 30, 3), (255, 0, 51), np.uint8), 224)
    assert (batch.shape, batch.dtype) == ((1, 3, 224, 224), np.float32)
    assert batch[0, :, 100, 100] == pytest.approx((np.array([1, 0, 0.2]) - MEAN) / DEVIATION)
    assert np.ptp(batch, axis=(2, 3)).max() < 1e-5


def face(x, y, w, h):
    return Face(track_id=0, x=x, y=y, w=w, h=h, confidence=1.0)


def test_cut_out_is_the_box_in_rgb():
    bgr = np.zeros((100, 200, 3), np.uint8)
    bgr[30:60, 40:100] = 10, 20, 30
    part = cut_out(bgr, face(0.2, 0.3, 0.3, 0.3))
    assert part.shape == (30, 60, 3)
    assert part.reshape(-1, 3).tolist() == [[30, 20, 10]] * 1800


@pytest.mark.parametrize("box", [(1.0, 1.0, 0.0, 0.0), (0.5, 0.5, 0.0, 0.001)])
def test_a_box_without_area_is_a_pixel(box):
    assert cut_out(np.zeros((100, 200, 3), np.uint8), face(*box)).shape == (1, 1, 3)


@pytest.mark.parametrize(
    ("shape", "name", "size"),
    [((1, 3, 224, 224), "any.onnx", 224), (("batch_size", 3, 260, 260), "enet_b0_8.onnx", 260),
     (("n", 3, "h", "w"), "enet_b0_8_best_vgaf.onnx", 224), ((None, 3, None, None), "enet_b2_8.onnx", 260)],
)  # fmt: skip
def test_size_is_the_models_own_and_by_its_name_where_it_leaves_it_open(shape, name, size):
    assert input_size(Path(name), shape) == size


def test_a_model_that_takes_no_pictures_is_refused():
    with pytest.raises(ModelError, match=r"x\.onnx wants an input of shape \(1, 224\)"):
        input_size(Path("x.onnx"), (1, 224))

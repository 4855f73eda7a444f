"""expression: what a scripted face shows, wherever it is, however large, and turned by a few degrees."""

from __future__ import annotations

import numpy as np
import pytest

from facemoment.extractors.expression import ExpressionExtractor
from facemoment.head_pose import HeadPose, rotation_of
from facemoment.mesh_expression import expression
from facemoment.vision import Expression, Face
from visualbase.frame import Frame
from visualpath.core.observation import Observation
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.messages import Obs, ObservationBody

ASPECT = 16 / 9
EYE_WIDTH = 0.3  # all lengths in distances between the outer corners of the eyes, as in the module
REST = {"mouth_width": 0.55, "corners_raised": 0.0, "lips_apart": 0.01, "eye_opening": 0.3, "brows": 0.23}
SMILE = {**REST, "mouth_width": 0.76, "corners_raised": 0.12}
SURPRISE = {**REST, "lips_apart": 0.28, "brows": 0.32}


def mesh(mouth_width, corners_raised, lips_apart, eye_opening, brows):
    """Vertices, of shape (468, 3), of a face that looks into the camera; x right, y down, z away."""
    points = np.zeros((468, 3))
    for side, (outer, above, above2, inner, below, below2), brow in (
        (-1, (33, 160, 158, 133, 153, 144), (105, 66, 107)),
        (1, (263, 387, 385, 362, 380, 373), (334, 296, 336)),
    ):
        lid = eye_opening * EYE_WIDTH / 2
        for vertex, across, down in (
            (outer, 0.5, 0), (above, 0.4, -lid), (above2, 0.3, -lid),
            (inner, 0.2, 0), (below, 0.3, lid), (below2, 0.4, lid),
        ):  # fmt: skip
            points[vertex] = side * across, down, 0
        points[list(brow)] = side * 0.3, -brows, -0.1
    points[168], points[2] = (0, -0.05, -0.2), (0, 0.5, -0.2)
    points[13], points[14] = (0, 0.8 - lips_apart / 2, -0.2), (0, 0.8 + lips_apart / 2, -0.2)
    points[61], points[291] = ((side * mouth_width / 2, 0.8 - corners_raised, -0.1) for side in (-1, 1))
    return points


def picture(points, pose=(0, 0, 0), size=0.1, centre=(0.5, 0.5), aspect=ASPECT):
    """Landmarks as `face` gives them; `size`: distance between the eyes in fractions of the picture's width."""
    turned = points @ rotation_of(HeadPose(*pose)).T * size * (1, aspect, 1)
    return np.asarray(turned + np.array([*centre, 0]), np.float32)


def read(face, **where):
    return expression(0, picture(mesh(**face), **where), where.get("aspect", ASPECT))


def test_face_at_rest_shows_nothing():
    seen = read(REST)
    assert (seen.smile, seen.mouth_open, seen.eyes_closed, seen.brow_raise) == (0, 0, 0, 0)
    assert seen.emotions == {"happy": 0, "surprise": 0, "neutral": 1}


def test_broad_smile_is_happy_and_nothing_else():
    seen = read(SMILE)
    assert seen.smile == 1
    assert seen.emotions == {"happy": 1, "surprise": 0, "neutral": 0}


@pytest.mark.parametrize("part", ["mouth_width", "corners_raised"])
def test_wide_mouth_or_raised_corners_alone_are_no_smile(part):
    assert read({**REST, part: SMILE[part]}).smile == 0


def test_open_mouth_below_raised_brows_is_surprise():
    emotions = read(SURPRISE).emotions
    assert max(emotions, key=emotions.get) == "surprise"
    assert emotions["surprise"] > 0.9


@pytest.mark.parametrize("part", ["lips_apart", "brows"])
def test_open_mouth_or_raised_brows_alone_are_no_surprise(part):
    assert read({**REST, part: SURPRISE[part]}).emotions["surprise"] == 0


def test_closed_eyes_are_no_surprise():
    assert read({**SURPRISE, "eye_opening": 0.1}).emotions["surprise"] == 0


@pytest.mark.parametrize(("opening", "closed"), [(0.3, 0.0), (0.18, 0.5), (0.1, 1.0)])
def test_eyes_close_by_degrees(opening, closed):
    assert read({**REST, "eye_opening": opening}).eyes_closed == pytest.approx(closed, abs=1e-4)


@pytest.mark.parametrize(("apart", "is_open"), [(0.03, 0.0), (0.17, 0.5), (0.4, 1.0)])
def test_mouth_opens_by_degrees(apart, is_open):
    assert read({**REST, "lips_apart": apart}).mouth_open == pytest.approx(is_open, abs=1e-4)


HALF = {"mouth_width": 0.66, "corners_raised": 0.07, "lips_apart": 0.17, "eye_opening": 0.18, "brows": 0.29}


@pytest.mark.parametrize(
    "where",
    [
        {"pose": (30, 0, 0)},
        {"pose": (0, -25, 0)},
        {"pose": (-20, 15, 40)},
        {"size": 0.02, "centre": (0.9, 0.1)},
        {"aspect": 3 / 4},
    ],
    ids=str,
)
def test_turning_size_place_and_shape_of_the_picture_change_nothing(where):
    here, there = read(HALF), read(HALF, **where)
    for name in ("smile", "mouth_open", "eyes_closed", "brow_raise"):
        assert 0.2 < getattr(here, name) < 0.8
        assert getattr(there, name) == pytest.approx(getattr(here, name), abs=0.01)


def face(track_id, size, shown=None):
    landmarks = None if shown is None else picture(mesh(**shown))
    return Face(track_id=track_id, x=0.1, y=0.1, w=size, h=size, confidence=0.9, landmarks=landmarks)


def extracted(faces, frame=None):
    extractor = ExpressionExtractor()
    extractor.models = extractor.backends["mesh"]({})
    frame = frame or Frame(np.zeros((9, 16, 1), np.uint8), frame_id=0, t_ns=0, width=1280, height=720)
    return extractor.extract(frame, {"face": [Observation(data=faces)]})


def test_signals_are_those_of_the_largest_face():
    seen = extracted([face(0, 0.1, REST), face(1, 0.3, SMILE)])
    assert seen.signals == {
        "smile": 1, "mouth_open": 0, "eyes_closed": 0, "brow_raise": 0, "happy": 1, "surprise": 0, "neutral": 0,
    }  # fmt: skip


def test_every_face_with_landmarks_is_read_in_the_order_of_face():
    seen = extracted([face(4, 0.1, REST), face(3, 0.2), face(1, 0.3, SMILE)])
    assert [(each.track_id, each.smile) for each in seen.data] == [(4, 0), (1, 1)]


def test_nothing_is_invented_for_a_largest_face_without_landmarks():
    assert extracted([face(0, 0.1, SMILE), face(1, 0.3)]).signals == {}


def test_no_face_gives_an_empty_list():
    assert extracted([]) == Observation(signals={}, data=[], metadata={"device": "cpu"})


def test_shape_of_the_picture_is_the_originals_where_it_is_known():
    small = np.zeros((2, 2, 1), np.uint8)
    known = extracted([face(0, 0.1, HALF)], Frame(small, frame_id=0, t_ns=0, width=1280, height=720))
    assert known.data[0].smile == pytest.approx(read(HALF).smile)


def test_faces_are_read_from_the_wire_as_from_this_process():
    here = [face(0, 0.1, HALF)]
    said = Obs(
        source="face", instance="face", stream="cam1", epoch=1, seq=0, frame_id=0, t_ns=0, mono_ns=0, bound_ns=0,
        observations=[ObservationBody(data=here)],
    )  # fmt: skip
    heard = Codec(Obs, max_bytes=1 << 20).decode(encode(said))
    assert extracted(heard.observations[0].data) == extracted(here)


@pytest.mark.parametrize("config", [{"device": "cuda"}, {"smile": 1}, {"threads": 0}, {"max_faces": 0}])
def test_bad_configuration_is_refused_with_what_is_allowed(config):
    for refuse in (ExpressionExtractor, *ExpressionExtractor.backends.values()):
        with pytest.raises(ValueError, match=r"^expression: .*allowed are backend \(mesh or hsemotion\)"):
            refuse(config)


def test_every_field_of_an_expression_is_within_0_and_1():
    for shown in (REST, SMILE, SURPRISE, HALF):
        seen: Expression = read(shown)
        values = [seen.smile, seen.mouth_open, seen.eyes_closed, seen.brow_raise, *seen.emotions.values()]
        assert all(0 <= value <= 1 for value in values)

"""face without MediaPipe: what becomes of the boxes and meshes that the models find."""

from __future__ import annotations

import math

import numpy as np
import pytest

from facemoment.backends.mediapipe import MediaPipeFaces
from facemoment.extractors.face import FaceConfig, FaceExtractor, camera_gaze
from facemoment.face_models import Detection, square_around, visible
from facemoment.head_pose import FACE_MODEL, HeadPose
from facemoment.tracking import Box
from visualbase.frame import Frame

FRAME_NS = 40_000_000
LEFT, RIGHT, SMALL = Box(0.1, 0.3, 0.2, 0.3), Box(0.6, 0.3, 0.3, 0.4), Box(0.45, 0.1, 0.05, 0.05)


def found(box, confidence=0.9):
    x, y = box.centre
    return Detection(box, confidence, right_eye=(x - box.w / 5, y), left_eye=(x + box.w / 5, y))


def frontal_mesh(box):
    """A mesh in the middle of a box, of a face that looks into the camera, in a picture as wide as it is high."""
    mesh = np.zeros((468, 3), np.float32)
    mesh[list(FACE_MODEL)] = np.array(list(FACE_MODEL.values())) / 200 * box.w
    return mesh + np.array([*box.centre, 0], np.float32)


class ScriptedModels:
    """In place of MediaPipe: the faces of each frame are given, and which of them a mesh fits."""

    def __init__(self, *frames, no_mesh=()):
        self.frames = list(frames)
        self.no_mesh = no_mesh
        self.fitted = []

    def detect(self, rgb):
        return self.frames.pop(0)

    def landmarks(self, rgb, face):
        self.fitted.append(face.box)
        return None if face.box in self.no_mesh else frontal_mesh(face.box)


def extracted(models, config=None, frames=1):
    """What the extractor says of the last of so many frames."""
    extractor = FaceExtractor(config)
    extractor.models = MediaPipeFaces(models, FaceConfig.parse(config or {}).max_faces)
    picture = np.zeros((100, 100, 3), np.uint8)
    return [extractor.extract(Frame(picture, frame_id=i, t_ns=i * FRAME_NS)) for i in range(frames)][-1]


def test_no_face_gives_zeros_and_says_nothing_of_a_head():
    seen = extracted(ScriptedModels([]))
    assert (seen.signals, seen.data) == ({"count": 0, "conf": 0, "area": 0}, [])


def test_head_pose_of_a_face_that_looks_into_the_camera():
    [face] = extracted(ScriptedModels([found(Box(0.4, 0.4, 0.2, 0.2))])).data
    assert (face.yaw, face.pitch, face.roll) == pytest.approx((0, 0, 0), abs=2)
    assert face.gaze > 0.8
    assert face.landmarks.shape == (468, 3)


def test_signals_of_the_head_are_those_of_the_largest_face():
    seen = extracted(ScriptedModels([found(LEFT, 0.9), found(RIGHT, 0.6)]))
    largest = seen.data[1]
    head = {name: getattr(largest, name) for name in ("yaw", "pitch", "roll", "gaze")}
    assert seen.signals == {"count": 2, "conf": 0.9, "area": pytest.approx(0.12), **head}


def test_signals_of_a_head_without_a_mesh_are_absent():
    seen = extracted(ScriptedModels([found(LEFT), found(RIGHT)], no_mesh=[RIGHT]))
    assert set(seen.signals) == {"count", "conf", "area"}
    assert [face.yaw is None for face in seen.data] == [False, True]


@pytest.mark.parametrize(("max_faces", "fitted"), [(0, []), (1, [RIGHT]), (2, [RIGHT, LEFT])])
def test_mesh_is_fitted_to_the_largest_faces_only(max_faces, fitted):
    models = ScriptedModels([found(SMALL), found(LEFT), found(RIGHT)])
    seen = extracted(models, {"max_faces": max_faces})
    assert models.fitted == fitted
    assert len(seen.data) == 3


def test_a_face_keeps_its_id_when_another_is_surer():
    models = ScriptedModels([found(LEFT), found(RIGHT)], [found(RIGHT), found(LEFT)])
    assert [face.track_id for face in extracted(models, frames=2).data] == [1, 0]


def test_ids_begin_again_in_a_new_epoch():
    extractor = FaceExtractor()
    extractor.models = MediaPipeFaces(ScriptedModels([found(LEFT)], [found(RIGHT)]), max_faces=4)
    frame = Frame(np.zeros((100, 100, 3), np.uint8), frame_id=0, t_ns=0)
    extractor.extract(frame)
    extractor.reset()
    assert [face.track_id for face in extractor.extract(frame).data] == [0]


@pytest.mark.parametrize(("max_age_s", "track_id"), [(0.03, 1), (0.05, 0)])
def test_id_is_forgotten_after_max_age(max_age_s, track_id):
    models = ScriptedModels([found(LEFT)], [found(LEFT)])
    [face] = extracted(models, {"max_age_s": max_age_s}, frames=2).data
    assert face.track_id == track_id


def test_box_over_the_edge_is_clipped_and_says_how_much_is_inside():
    [face] = extracted(ScriptedModels([found(Box(-0.1, 0.8, 0.4, 0.4))])).data
    assert (face.x, face.y, face.w, face.h) == pytest.approx((0, 0.8, 0.3, 0.2))
    assert face.inside == pytest.approx(0.375)


@pytest.mark.parametrize(
    ("yaw", "pitch", "gaze"),
    [(0, 0, 1), (5, 0, 0.5), (-5, 7.5, 0.25), (10, 0, 0), (-20, 0, 0), (0, 15, 0), (20, 30, 0)],
)
def test_camera_gaze_falls_with_both_angles_and_never_below_zero(yaw, pitch, gaze):
    assert camera_gaze(HeadPose(yaw, pitch, 30)) == pytest.approx(gaze)


@pytest.mark.parametrize(
    "box", [Box(1.0, 0.2, 0.1, 0.1), Box(-0.2, 0.2, 0.2, 0.1), Box(0.2, 1.1, 0.1, 0.1), Box(0, 0, 0, 1)]
)
def test_a_box_outside_the_picture_or_empty_is_no_face(box):
    assert not visible(box)


def test_mesh_is_fitted_in_a_square_of_pixels():
    roi = square_around(found(LEFT), 1600, 900)
    assert roi["width"] * 1600 == pytest.approx(roi["height"] * 900) == pytest.approx(1.5 * 0.2 * 1600)


def test_mesh_is_fitted_upright_as_the_eyes_are():
    leaning = found(LEFT)._replace(right_eye=(0.1, 0.4), left_eye=(0.2, 0.5))
    assert square_around(leaning, 1000, 1000)["rotation"] == pytest.approx(math.radians(45))

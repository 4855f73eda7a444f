"""face, and what expression reads from it: MediaPipe itself, in its own venv, on real pictures and the demo's video.

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
FACE, CORE = ROOT / ".venvs/face/bin/python", ROOT / ".venvs/core/bin/python"
FACES = {"img_sk_astronaut.png": 1, "img_faceapi_sample1.jpg": 3, "img_sk_page.png": 0}
SMILING_MAN, TWO_HEADS = (f"preview_head-pose-face-detection-{who}.gif" for who in ("male", "female-and-male"))
EDGE_FRAMES = 2  # detection may come and go this much beside the truth

LOOK = """
import json, sys
import cv2, msgspec, numpy
from facemoment.extractors.expression import ExpressionExtractor
from facemoment.extractors.face import FaceExtractor
from visualbase.frame import Frame

def pictures(path):
    video = cv2.VideoCapture(path)
    while (read := video.read())[0]:
        height, width = read[1].shape[:2]
        yield cv2.resize(read[1], (640, 640 * height // width), interpolation=cv2.INTER_AREA)

def looked(models, paths):
    for path in paths:
        face = FaceExtractor()  # one for each stream; they share the models
        face.models = models
        frames = [Frame(picture, frame_id=i, t_ns=i * 40_000_000) for i, picture in enumerate(pictures(path))]
        seen = [face.extract(frame) for frame in frames]
        expression = ExpressionExtractor()
        expression.models = ExpressionExtractor.backends["mesh"]({})
        read = [expression.extract(*each) for each in zip(frames, ({"face": [one]} for one in seen))]
        yield [{**told(one), "expression": told(other)} for one, other in zip(seen, read)]

def told(seen):
    return {"signals": seen.signals, "data": msgspec.to_builtins(seen.data, enc_hook=numpy.ndarray.tolist)}

models = FaceExtractor.backends["mediapipe"]({})
print(json.dumps(list(looked(models, sys.argv[1:]))))
models.close()
"""


def run(python: Path, *args: object) -> str:
    """Run a Python of another venv and return what it prints; skip the test where it is not built."""
    if not python.exists():
        name = python.parts[-3]
        pytest.skip(f"no .venvs/{name}: run venvs/build.py {name}")
    done = subprocess.run([python, *map(str, args)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def seen() -> dict[str, dict[str, Any]]:
    """What the extractor says about each picture: its signals and its data."""
    if not MEDIA.is_dir():
        pytest.skip("no ../shared/media beside this checkout")
    answers = json.loads(run(FACE, "-c", LOOK, *(MEDIA / name for name in FACES)))
    return {name: answer[0] for name, answer in zip(FACES, answers, strict=True)}


@pytest.mark.parametrize("name", FACES)
def test_faces_are_counted(seen, name):
    assert seen[name]["signals"]["count"] == FACES[name] == len(seen[name]["data"])


def test_box_lies_on_the_astronauts_face(seen):
    [face] = seen["img_sk_astronaut.png"]["data"]
    nose_x, nose_y = 225 / 512, 124 / 512
    assert face["x"] < nose_x < face["x"] + face["w"]
    assert face["y"] < nose_y < face["y"] + face["h"]
    assert 0.1 < face["w"] < 0.3


@pytest.mark.parametrize("name", FACES)
def test_boxes_lie_inside_the_picture(seen, name):
    for face in seen[name]["data"]:
        assert 0 <= face["x"] < face["x"] + face["w"] <= 1
        assert 0 <= face["y"] < face["y"] + face["h"] <= 1


def test_signals_are_those_of_the_best_and_the_largest_face(seen):
    told = seen["img_faceapi_sample1.jpg"]
    assert told["signals"]["conf"] == told["data"][0]["confidence"] == max(f["confidence"] for f in told["data"])
    assert told["signals"]["area"] == max(f["w"] * f["h"] for f in told["data"])


def test_picture_without_a_face_gives_zeros_and_an_empty_list(seen):
    nothing = {"signals": {}, "data": []}
    expected = {"signals": {"count": 0.0, "conf": 0.0, "area": 0.0}, "data": [], "expression": nothing}
    assert seen["img_sk_page.png"] == expected


@pytest.mark.parametrize("name", FACES)
def test_landmarks_lie_around_their_box(seen, name):
    for face in seen[name]["data"]:
        points = face["landmarks"]
        x, y = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
        assert len(points) == 468
        assert face["x"] < x < face["x"] + face["w"]
        assert face["y"] < y < face["y"] + face["h"]


def test_astronaut_looks_into_the_camera_and_smiles(seen):
    told = seen["img_sk_astronaut.png"]
    assert max(abs(told["signals"][angle]) for angle in ("yaw", "pitch", "roll")) < 8
    assert told["signals"]["gaze"] > 0.5
    assert told["expression"]["signals"]["smile"] > 0.7


def test_heads_of_three_women_are_turned_and_lean_as_one_sees(seen):
    left, middle, right = sorted(seen["img_faceapi_sample1.jpg"]["data"], key=lambda face: face["x"])
    assert left["yaw"] < -20  # to the picture's left
    assert middle["pitch"] < -12  # she looks down
    assert middle["roll"] < -15  # the top of her head leans to the left
    assert right["roll"] > 35


def test_eyes_of_the_woman_who_looks_down_are_closed_and_the_others_are_open(seen):
    told = seen["img_faceapi_sample1.jpg"]
    by_place = sorted(zip(told["data"], told["expression"]["data"], strict=True), key=lambda pair: pair[0]["x"])
    assert [round(expression["eyes_closed"]) for _, expression in by_place] == [0, 1, 0]


@pytest.fixture(scope="module")
def heads() -> dict[str, list[dict[str, Any]]]:
    """What the extractors say about each frame of two short films of heads."""
    if not MEDIA.is_dir():
        pytest.skip("no ../shared/media beside this checkout")
    names = (SMILING_MAN, TWO_HEADS)
    return dict(zip(names, json.loads(run(FACE, "-c", LOOK, *(MEDIA / name for name in names))), strict=True))


def test_man_smiles_until_he_closes_his_eyes(heads):
    frames = [frame["expression"]["signals"] for frame in heads[SMILING_MAN]]
    assert all(frame["smile"] > 0.8 for frame in frames[:58])
    assert max(frame["eyes_closed"] for frame in frames[:58]) < 0.5
    assert max(frame["eyes_closed"] for frame in frames[58:]) > 0.8


def test_two_who_lean_apart_keep_their_ids_and_their_yaws(heads):
    frames = heads[TWO_HEADS]
    assert all({face["track_id"] for face in frame["data"]} == {0, 1} for frame in frames)
    for frame in frames:
        woman, man = sorted(frame["data"], key=lambda face: face["x"])
        assert woman["yaw"] < -20
        assert -5 < man["yaw"] < 25


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"confidence": 0.5}, "unknown field `confidence`"),
        ({"model_selection": 2}, "`$.model_selection`; allowed are"),
        ({"min_confidence": 0}, "> 0.0 - at `$.min_confidence`"),
        ({"min_confidence": 1.5}, "<= 1.0 - at `$.min_confidence`"),
        ({"min_confidence": "high"}, "got `str` - at `$.min_confidence`"),
        ({"max_faces": 17}, "<= 16 - at `$.max_faces`"),
        ({"max_age_s": 0}, "> 0.0 - at `$.max_age_s`"),
        ({"device": "cuda"}, "'cuda' - at `$.device`"),
        ({"parts": ["heads"]}, "'heads' - at `$.parts[0]`"),
    ],
)
def test_bad_configuration_is_refused_with_its_key_and_what_is_allowed(config, message):
    from facemoment.extractors.face import FaceExtractor  # needs no MediaPipe until models are loaded

    for refuse in (FaceExtractor, *FaceExtractor.backends.values()):
        with pytest.raises(ValueError, match=r"^face: .*allowed are") as caught:
            refuse(config)
        assert message in str(caught.value)


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[list[float], dict[str, Any]]:
    """Number of faces found in each frame of the demo's video, and the truth."""
    portraits = list(ROOT.glob(".venvs/sample/lib/python*/site-packages/skimage/data/astronaut.png"))
    if not portraits:
        pytest.skip("no .venvs/sample: run venvs/build.py sample")
    video = tmp_path_factory.mktemp("demo") / "demo.mp4"
    run(CORE, ROOT / "deploy/sample/make_sample.py", "--portrait", portraits[0], "--out", video)
    [frames] = json.loads(run(FACE, "-c", LOOK, video))
    return [frame["signals"]["count"] for frame in frames], json.loads(video.with_suffix(".json").read_text())


def intervals(truth: dict[str, Any]) -> list[tuple[int, int]]:
    """Return the truth's intervals in frames, ends exclusive."""
    return [tuple(face[key] * truth["fps"] // 10**9 for key in ("start_ns", "end_ns")) for face in truth["faces"]]


def test_demo_has_the_frames_it_says(demo):
    counts, truth = demo
    assert len(counts) == truth["frames"]


def test_demo_faces_are_found_where_the_truth_has_them(demo):
    counts, truth = demo
    for start, end in intervals(truth):
        assert sum(count >= 1 for count in counts[start:end]) >= 0.9 * (end - start)


def test_demo_has_no_face_where_the_truth_has_none(demo):
    counts, truth = demo
    near = {i for start, end in intervals(truth) for i in range(start - EDGE_FRAMES, end + EDGE_FRAMES)}
    assert [i for i, count in enumerate(counts) if count and i not in near] == []

"""face: insightface, expression: hsemotion and pose: yolo: the real libraries, in venvs of their own, on tiny models.

The models fire where a picture is pure green (tiny_models.py), so that what must come out is known exactly. This
process has none of the libraries: a script runs in the venv, drives the host as a daemon does, and answers in JSON.
"""

from __future__ import annotations

import ctypes
import json
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import tiny_models
from chain import Chain
from tiny_models import AGE, CELL, FACE_POINTS, FACE_SIDES, HIPS, LOGITS_OF_GREEN, MOOD, PERSON, SEEN, WRIST_UP

from facemoment.backends.hsemotion import EMOTIONS
from facemoment.head_pose import POINTS_68, HeadPose, rotation_of
from visualpath_protocol.endpoints import FUSION

ROOT = Path(__file__).parents[2]
VENVS = ROOT / ".venvs"
WIDTH, HEIGHT = 640, 360
GREY_ABOVE = (WIDTH - HEIGHT) // 2  # what yolo's letterbox adds
PLANTED_HEAD = HeadPose(yaw=20, pitch=-10, roll=5)
FACE_CELLS = ((4, 3), (12, 6))
PERSON_CELLS = ((3, 6), (15, 9))  # of the letterbox

LOOK = """
import json, sys
import msgspec, numpy
from facemoment.vision import Face
from visualbase.frame import Frame
from visualpath.core.errors import PluginError
from visualpath.core.observation import Observation
from visualpath.plugin.discovery import load_extractor
from visualpath.process.host import ExtractorHost

asked = json.loads(sys.argv[1])
host = ExtractorHost(load_extractor(asked["plugin"]), asked["plugin"], asked["config"])
try:
    host.open()
except PluginError as error:
    print(json.dumps({"refused": str(error)}))
    sys.exit()
answers = []
faces = [Observation(data=msgspec.convert(asked["faces"], list[Face]))]
for number, squares in enumerate(asked["frames"]):
    picture = numpy.full((asked["scale"] * 360, asked["scale"] * 640, 3), 90, numpy.uint8)
    for x, y, w, h in squares:
        picture[y : y + h, x : x + w] = 0, 255, 0
    handled = host.handle(Frame(picture, frame_id=number, t_ns=number * 10**8, stream="cam"), {"face": faces})
    answers += handled.observations
host.close()
answers = [{"signals": each.signals, "data": each.data, "metadata": each.metadata} for each in answers]
sys.stdout.buffer.write(msgspec.json.encode({"seen": answers}, enc_hook=lambda array: array.tolist()))
"""


def planted_points():
    """The 68 points of a head that is turned, from -1 to 1 over the square that InsightFace cuts out around a face."""
    points = np.zeros((68, 2))
    turned = np.array(list(POINTS_68.values())) @ rotation_of(PLANTED_HEAD).T
    points[list(POINTS_68)] = turned[:, :2] / 150
    return points


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    tiny_models.write_all(folder, planted_points())
    return folder


def look(venv, plugin, config, frames, faces=(), scale=1, **environ):
    """What an extractor says of pictures with green squares (x, y, width, height), or why it cannot start."""
    python = VENVS / venv / "bin/python"
    if not python.exists():
        pytest.skip(f"no .venvs/{venv}: run venvs/build.py {venv}")
    asked = {"plugin": plugin, "config": config, "frames": frames, "faces": faces, "scale": scale}
    command = [python, "-c", LOOK, json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, env=environ or None)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def face_square(cell, scale=1):
    return [CELL * scale * cell[0], CELL * scale * cell[1], CELL * scale, CELL * scale]


def person_square(cell, scale=1):
    return [CELL * scale * cell[0], (CELL * cell[1] - GREY_ABOVE) * scale, CELL * scale, CELL * scale]


def insightface(models, **config):
    return {"backend": "insightface", "model": str(models / "pack"), **config}


@pytest.fixture(scope="module")
def faces(models):
    """What `face` says of a grey picture, and of one with two faces, at both sizes."""
    frames = [[], [face_square(cell) for cell in FACE_CELLS]]
    small = look("insight", "face", insightface(models), frames)["seen"]
    large = look("insight", "face", insightface(models), [[face_square(c, 2) for c in FACE_CELLS]], scale=2)["seen"]
    return {"none": small[0], "two": small[1], "two, large": large[0]}


def corner(cell):
    return CELL * cell[0], CELL * cell[1]


def by_place(seen):
    return sorted(seen["data"], key=lambda each: each["x"])


def test_no_face_is_found_where_none_was_planted(faces):
    assert (faces["none"]["data"], faces["none"]["signals"]) == ([], {"count": 0, "conf": 0, "area": 0})


@pytest.mark.parametrize("picture", ["two", "two, large"])
def test_faces_are_in_the_boxes_that_were_planted(faces, picture):
    for face, cell in zip(by_place(faces[picture]), FACE_CELLS, strict=True):
        (x, y), (left, up, right, down) = corner(cell), FACE_SIDES
        sides = ((x - left * CELL) / WIDTH, (y - up * CELL) / HEIGHT)
        assert (face["x"], face["y"]) == pytest.approx(sides, abs=1e-6)
        assert face["w"] == pytest.approx((left + right) * CELL / WIDTH, abs=1e-6)
        assert face["h"] == pytest.approx((up + down) * CELL / HEIGHT, abs=1e-6)
        assert face["confidence"] > 0.99


@pytest.mark.parametrize("picture", ["two", "two, large"])
def test_key_points_of_faces_are_where_they_were_planted(faces, picture):
    for face, cell in zip(by_place(faces[picture]), FACE_CELLS, strict=True):
        expected = (np.array(FACE_POINTS) * CELL + corner(cell)) / (WIDTH, HEIGHT)
        assert np.array(face["keypoints"]) == pytest.approx(expected, abs=1e-6)


def test_68_points_are_where_they_were_planted_in_the_square_around_the_box(faces):
    (left, up, right, down), half = FACE_SIDES, 0.75 * CELL  # the square is 1.5 times the box's longer side
    for face, cell in zip(by_place(faces["two"]), FACE_CELLS, strict=True):
        middle = np.array(corner(cell)) + CELL / 2 * np.array([right - left, down - up])
        expected = (planted_points() * half * max(left + right, up + down) + middle) / (WIDTH, HEIGHT)
        assert np.array(face["landmarks68"]) == pytest.approx(expected, abs=1e-4)


def test_heads_are_turned_as_they_were_planted_with_the_signs_of_vision(faces):
    for face in faces["two"]["data"]:
        assert (face["yaw"], face["pitch"], face["roll"]) == pytest.approx(PLANTED_HEAD, abs=5)


def test_embedding_has_length_1_and_the_planted_direction(faces):
    for face in faces["two"]["data"]:
        assert len(face["embedding"]) == 512
        assert face["embedding"][:3] == pytest.approx([0.6, 0.8, 0.0])


def test_age_and_gender_are_those_that_were_planted(faces):
    assert [(face["age"], face["gender"]) for face in faces["two"]["data"]] == [(AGE, "male")] * 2


def test_device_model_and_backend_stand_in_the_metadata(faces):
    assert faces["two"]["metadata"] == {"model": "pack", "device": "cpu", "backend": "insightface"}


def test_a_face_that_moves_keeps_its_id(models):
    frames = [[face_square((4, 3)), face_square((12, 6))], [face_square((5, 3)), face_square((11, 6))]]
    seen = look("insight", "face", insightface(models), frames)["seen"]
    assert [[face["track_id"] for face in by_place(each)] for each in seen] in ([[0, 1]] * 2, [[1, 0]] * 2)


def test_of_no_more_faces_than_are_wanted_more_than_a_box_is_told(models):
    seen = look("insight", "face", insightface(models, max_faces=1), [[face_square(cell) for cell in FACE_CELLS]])
    assert sorted(face["age"] or 0 for face in seen["seen"][0]["data"]) == [0, AGE]


def test_parts_that_are_not_wanted_are_not_told(models):
    [seen] = look("insight", "face", insightface(models, parts=["embedding"]), [[face_square((4, 3))]])["seen"]
    [face] = seen["data"]
    assert [face[name] is None for name in ("embedding", "yaw", "landmarks68", "age")] == [False, True, True, True]


@pytest.fixture
def broken_pack(tmp_path):
    def make(**files):
        for name, content in files.items():
            (tmp_path / f"{name}.onnx").write_bytes(content)
        return {"backend": "insightface", "model": str(tmp_path)}

    return make


def test_a_pack_without_models_is_refused_by_its_folder(broken_pack, tmp_path):
    answer = look("insight", "face", broken_pack(), [])
    assert answer["refused"].endswith(f"{tmp_path} is no folder of ONNX models")


def test_a_pack_without_a_detector_is_refused(broken_pack, models):
    answer = look("insight", "face", broken_pack(age=(models / "pack/genderage.onnx").read_bytes()), [])
    assert "has no model that detects faces" in answer["refused"]


def test_a_model_of_a_pack_that_is_cut_short_is_refused(broken_pack, models):
    answer = look("insight", "face", broken_pack(det=(models / "pack/det.onnx").read_bytes()[:-100]), [])
    assert "cannot be loaded" in answer["refused"]


def test_weights_that_are_not_here_are_refused_with_the_command_and_not_downloaded(tmp_path):
    answer = look("insight", "face", {"backend": "insightface"}, [], VISUALPATH_MODELS_DIR=str(tmp_path))
    assert "run `vpctl models pull buffalo_l`" in answer["refused"]
    assert list(tmp_path.iterdir()) == []


def yolo(models, **config):
    return {"backend": "yolo", "model": str(models / "pose.onnx"), **config}


@pytest.fixture(scope="module")
def persons(models):
    """What `pose` says of a grey picture, and of one with two persons, at both sizes."""
    frames = [[], [person_square(cell) for cell in PERSON_CELLS]]
    small = look("onnx", "pose", yolo(models), frames)["seen"]
    large = look("onnx", "pose", yolo(models), [[person_square(c, 2) for c in PERSON_CELLS]], scale=2)["seen"]
    return {"none": small[0], "two": small[1], "two, large": large[0]}


def middle_of_person(cell):
    return np.array([(cell[0] + 0.5) * CELL, (cell[1] + 0.5) * CELL - GREY_ABOVE])


def test_no_person_is_found_where_none_was_planted(persons):
    assert persons["none"]["data"] == []
    assert set(persons["none"]["signals"].values()) == {0.0}


@pytest.mark.parametrize("picture", ["two", "two, large"])
def test_persons_are_in_the_boxes_that_were_planted(persons, picture):
    for person, cell in zip(by_place(persons[picture]), PERSON_CELLS, strict=True):
        (x, y), (w, h) = middle_of_person(cell), PERSON
        box = [(x - w / 2) / WIDTH, (y - h / 2) / HEIGHT, w / WIDTH, h / HEIGHT]
        top, bottom = max(box[1], 0.0), min(box[1] + box[3], 1.0)
        assert [person[side] for side in "xywh"] == pytest.approx([box[0], top, box[2], bottom - top], abs=1e-6)


@pytest.mark.parametrize("picture", ["two", "two, large"])
def test_key_points_of_persons_are_where_they_were_planted(persons, picture):
    for person, cell in zip(by_place(persons[picture]), PERSON_CELLS, strict=True):
        expected = np.full((17, 3), SEEN)
        expected[:, :2] = (middle_of_person(cell) + HIPS) / (WIDTH, HEIGHT)
        for number, x, y in WRIST_UP.values():
            expected[number, :2] = (middle_of_person(cell) + np.array([x, y])) / (WIDTH, HEIGHT)
        assert np.array(person["keypoints"]) == pytest.approx(expected, abs=1e-6)


def test_raised_left_hands_are_seen_and_no_others(persons):
    signals = persons["two"]["signals"]
    assert (signals["persons"], signals["left_hand_raised"], signals["right_hand_raised"]) == (2, 1, 0)


def test_a_model_that_is_no_pose_model_is_refused_by_its_name(models):
    answer = look("onnx", "pose", {"backend": "yolo", "model": str(models / "emotions.onnx")}, [])
    assert "emotions.onnx has outputs of shape (1, 8), not one of (1, 56, any)" in answer["refused"]


def test_a_file_that_is_no_model_is_refused_by_its_name(tmp_path):
    path = tmp_path / "notes.onnx"
    path.write_text("no model")
    assert f"{path} cannot be loaded" in look("onnx", "pose", {"backend": "yolo", "model": str(path)}, [])["refused"]


SHARED = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import numpy
from visualpath.plugin.onnx import OnnxModel

model = OnnxModel(Path(sys.argv[1]), "cpu")
pictures = [numpy.full((1, 3, 224, 224), level, numpy.float32) for level in range(8)]
alone = [model.run(picture)[0] for picture in pictures]
with ThreadPoolExecutor(8) as pool:
    for _ in range(20):
        at_once = list(pool.map(lambda picture: model.run(picture)[0], pictures))
        assert all(numpy.array_equal(a, b) for a, b in zip(alone, at_once))
assert len({answer.tobytes() for answer in alone}) == 8
print("same")
"""


def test_threads_that_share_a_session_each_get_their_own_answer(models):
    python = VENVS / "onnx/bin/python"
    if not python.exists():
        pytest.skip("no .venvs/onnx: run venvs/build.py onnx")
    command = [python, "-c", SHARED, str(models / "emotions.onnx")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.stdout == "same\n", done.stderr


GREEN_FACE = {"track_id": 7, "x": 0.2, "y": 0.25, "w": 0.2, "h": 0.5, "confidence": 0.9}
GREY_FACE = {**GREEN_FACE, "track_id": 3, "x": 0.6, "w": 0.1}
GREEN_SQUARE = [128, 90, 128, 180]


def hsemotion(models, name):
    return {"backend": "hsemotion", "model": str(models / f"{name}.onnx")}


def softmax(logits):
    shares = np.exp(np.array(logits))
    return dict(zip(EMOTIONS, (shares / shares.sum()).tolist(), strict=True))


def emotions_of_grey():
    """The model's logits grow with the mean of the normalised green channel."""
    grey, green = ((level - 0.456) / 0.224 for level in (90 / 255, 1.0))
    return softmax(np.array(LOGITS_OF_GREEN) * grey / green)


@pytest.fixture(scope="module")
def expressions(models):
    return {
        name: look("onnx", "expression", hsemotion(models, name), [[GREEN_SQUARE]], [GREEN_FACE, GREY_FACE])["seen"][0]
        for name in ("emotions", "mood")
    }


def test_emotions_are_those_of_the_pixels_in_each_face(expressions):
    green, grey = expressions["emotions"]["data"]
    assert (green["track_id"], grey["track_id"]) == (7, 3)
    assert green["emotions"] == pytest.approx(softmax(LOGITS_OF_GREEN), abs=1e-5)
    assert grey["emotions"] == pytest.approx(emotions_of_grey(), abs=1e-5)


def test_emotions_of_the_largest_face_are_signals(expressions):
    assert expressions["emotions"]["signals"] == pytest.approx(softmax(LOGITS_OF_GREEN), abs=1e-5)


def test_a_model_of_moods_tells_valence_and_arousal_besides(expressions):
    signals = expressions["mood"]["signals"]
    assert (signals["valence"], signals["arousal"]) == pytest.approx(MOOD)
    assert signals["happy"] == pytest.approx(softmax(LOGITS_OF_GREEN)["happy"], abs=1e-5)


def test_a_model_that_says_something_else_is_refused_by_its_name(models):
    answer = look("onnx", "expression", {"backend": "hsemotion", "model": str(models / "pose.onnx")}, [])
    assert "pose.onnx has outputs of shape (1, 56, 8400)" in answer["refused"]


IMPORT_ALL = """
from visualpath.plugin.discovery import load_extractor
load_extractor("pose")
import onnxruntime
onnxruntime.SessionOptions()
"""


def test_onnxruntime_keeps_no_telemetry_in_a_plug_ins_home(tmp_path):
    environ = {"HOME": str(tmp_path)}  # no CI= nor ORT_*: either would silence it
    subprocess.run([VENVS / "onnx" / "bin" / "python", "-c", IMPORT_ALL], env=environ, check=True, timeout=60)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == []


def has_gpu():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


without_gpu = pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")
with_gpu = pytest.mark.skipif(not has_gpu(), reason="this machine has no GPU")

FLAVOURS = [("insight", "face"), ("insight-gpu", "face"), ("onnx", "pose"), ("onnx-gpu", "pose")]


def planted(models, plugin):
    return (insightface(models), [face_square((4, 3))]) if plugin == "face" else (yolo(models), [person_square((3, 6))])


@without_gpu
@pytest.mark.parametrize(("venv", "plugin"), FLAVOURS)
def test_gpu_that_is_asked_for_and_is_not_there_is_refused_with_the_reason(models, venv, plugin):
    config, _ = planted(models, plugin)
    reason = "there is no NVIDIA driver" if "gpu" in venv else "this venv has onnxruntime for the CPU"
    refused = look(venv, plugin, {**config, "device": "gpu"}, [])["refused"]
    assert "device: gpu was asked for, but " in refused
    assert reason in refused


@without_gpu
@pytest.mark.parametrize(("venv", "plugin"), FLAVOURS)
def test_auto_goes_on_without_a_gpu_and_says_so_in_the_metadata(models, venv, plugin):
    config, squares = planted(models, plugin)
    [seen] = look(venv, plugin, config, [squares])["seen"]
    assert len(seen["data"]) == 1
    assert seen["metadata"]["device"] == "cpu"
    assert ("no NVIDIA driver" in seen["metadata"].get("no_gpu", "")) == ("gpu" in venv)


@with_gpu
@pytest.mark.parametrize(("venv", "plugin"), [each for each in FLAVOURS if "gpu" in each[0]])
def test_gpu_is_used_where_there_is_one(models, venv, plugin):
    config, squares = planted(models, plugin)
    [seen] = look(venv, plugin, {**config, "device": "gpu"}, [squares])["seen"]
    assert (len(seen["data"]), seen["metadata"]["device"]) == (1, "gpu")


@pytest.mark.parametrize(
    ("plugin", "backends"),
    [("face", ["insightface", "mediapipe"]), ("pose", ["yolo", "mediapipe"]), ("expression", ["hsemotion", "mesh"])],
)
def test_a_venv_with_all_backends_steps_down_where_weights_are_missing(models, tmp_path, plugin, backends):
    files = {"face": models / "pack", "pose": models / "pose.onnx", "expression": models / "mood.onnx"}
    used = []
    for path in (files[plugin], tmp_path / "missing.onnx"):
        [seen] = look("people", plugin, {"backends": backends, "model": str(path)}, [[]])["seen"]
        used.append((seen["metadata"]["backend"], "missing.onnx" in seen["metadata"].get("degraded", "")))
    assert used == [(backends[0], False), (backends[1], True)]


CHAIN = """
state_dir: state
venvs_dir: {venvs}
streams:
  cam: {{source: {folder}/planted.mp4, loop: true, ready_timeout: 60s}}
extractors:
  face: {{venv: insight, config: {{backend: insightface, model: {folder}/pack}}}}
  expression: {{venv: onnx, depends: [face], config: {{backend: hsemotion, model: {folder}/mood.onnx}}}}
  pose: {{venv: onnx, config: {{backend: yolo, model: {folder}/pose.onnx}}}}
fusion:
  rules:
    - label: planted
      when: {{all: [face.count == 2, face.area > 0.0533, face.area < 0.0534, face.yaw > 15, face.yaw < 25,
        expression.valence == 0.5, expression.arousal == -0.25, pose.persons == 2, pose.left_hand_raised == 1]}}
      for: 300ms
      cooldown: 2s
clip: {{dir: clips, pre: 1s, post: 1s}}
"""


def write_video(path, squares, frames=50):
    """A second of grey, then one with green squares, at 25 a second."""
    with av.open(str(path), "w") as video:
        stream = video.add_stream("libx264", rate=25, options={"crf": "10"})
        stream.width, stream.height, stream.pix_fmt = 2 * WIDTH, 2 * HEIGHT, "yuv420p"
        for number in range(frames):
            picture = np.full((2 * HEIGHT, 2 * WIDTH, 3), 90, np.uint8)
            for x, y, w, h in squares if number >= frames // 2 else ():
                picture[y : y + h, x : x + w] = 0, 255, 0
            video.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        video.mux(stream.encode())


def test_all_three_see_what_was_planted_in_a_live_chain_and_a_clip_comes_of_it(models):
    for venv in ("core", "insight", "onnx"):
        if not (VENVS / venv / "bin/python").exists():
            pytest.skip(f"no .venvs/{venv}: run venvs/build.py {venv}")
    squares = [face_square(cell, 2) for cell in FACE_CELLS] + [person_square(cell, 2) for cell in PERSON_CELLS]
    write_video(models / "planted.mp4", squares)
    with Chain(CHAIN.format(venvs=VENVS, folder=models), {}) as chain:
        chain.up()
        chain.wait_for_flow(60)
        chain.wait(lambda: chain.ask("clip", "clips", {"limit": 10})["clips"], "a clip of the planted moment", 60)
        counters = chain.status(FUSION)["counters"]
    assert counters["triggers"] >= 1

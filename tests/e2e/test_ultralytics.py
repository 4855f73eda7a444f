"""pose: ultralytics: Ultralytics' own code, in the venv ultra, on models that it makes itself and has never trained.

`yolo` must see the same in the ONNX file that Ultralytics exports from the same weights. The venv is 6 GB and its code
under AGPL-3.0, so nothing builds it unasked: without it all of this is skipped.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

PYTHON = Path(__file__).parents[2] / ".venvs/ultra/bin/python"
pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="no .venvs/ultra (AGPL-3.0, 6 GB): run venvs/build.py ultra"
)

WIDTH, HEIGHT = 640, 360
FRAMES = 3
PERSONS = 5
AGREE = 0.1 / WIDTH  # a tenth of a pixel; measured: 0.02. Both count in 32 bits, in another order

MAKE = """
import sys
import numpy, torch
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel, PoseModel

pictures = torch.from_numpy(numpy.load(f"{sys.argv[1]}/pictures.npy")[:2]).permute(0, 3, 1, 2) / 255
pictures = torch.nn.functional.pad(pictures, (0, 0, 12, 12))
for kind, make in (("yolov8n-pose", PoseModel), ("yolo11n-pose", PoseModel), ("yolov8n", DetectionModel)):
    torch.manual_seed(1)
    model = YOLO(f"{kind}.yaml")
    model.model = make(f"{kind}.yaml", nc=1, verbose=False)
    model.model.task = model.task
    for norm in (each for each in model.model.modules() if isinstance(each, torch.nn.BatchNorm2d)):
        norm.momentum = 1.0  # what no training has set: else all places look alike to later layers
    with torch.no_grad():
        model.model.train()(pictures)
    for last in (branch[-1] for branch in model.model.model[-1].cv3):
        torch.nn.init.constant_(last.bias, -1.0)  # some places are sure of a person, most are not
    model.save(f"{sys.argv[1]}/{kind}.pt")
    if "pose" in kind:
        YOLO(f"{sys.argv[1]}/{kind}.pt").export(format="onnx", imgsz=(384, 640), simplify=False, opset=17)
"""

LOOK = """
import json, sys
import msgspec, numpy
from visualbase.frame import Frame
from visualpath.core.errors import PluginError
from visualpath.plugin.discovery import load_extractor
from visualpath.process.host import ExtractorHost

host = ExtractorHost(load_extractor("pose"), "pose", json.loads(sys.argv[1]))
try:
    host.open()
except PluginError as error:
    print(json.dumps({"refused": str(error)}))
    sys.exit()
pictures = numpy.load(sys.argv[2])
answers = []
for number, picture in enumerate(pictures):
    answers += host.handle(Frame(picture, frame_id=number, t_ns=number * 10**8, stream="cam"), {}).observations
host.close()
threads = sys.modules["torch"].get_num_threads() if "torch" in sys.modules else 0
answers = [{"signals": each.signals, "data": each.data, "metadata": each.metadata} for each in answers]
answer = {"seen": answers, "threads": threads}
sys.stdout.buffer.write(msgspec.json.encode(answer, enc_hook=lambda array: array.tolist()))
"""


def run(script, *args, home):
    environ = {"PATH": os.environ["PATH"], "HOME": str(home)}
    command = [PYTHON, "-c", script, *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, env=environ, cwd=home)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """The same picture, of squares in all colours, several times."""
    squares = np.random.default_rng(7).integers(0, 256, (HEIGHT // 20, WIDTH // 20, 3), np.uint8)
    picture = squares.repeat(20, axis=0).repeat(20, axis=1)
    path = tmp_path_factory.mktemp("models") / "pictures.npy"
    np.save(path, np.stack([picture] * FRAMES))
    return path


@pytest.fixture(scope="module")
def models(pictures) -> Path:
    """Weights as .pt, and as ONNX for pictures of 640 x 384, which is what Ultralytics makes of one of 640 x 360."""
    folder = pictures.parent
    environ = {"YOLO_CONFIG_DIR": str(folder), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    run(f"import os; os.environ.update({environ})\n{MAKE}", folder, home=folder)
    (folder / "broken.pt").write_bytes(b"no model")
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def look(models, pictures, home):
    """What `pose` says of the pictures with a model's file, or why it cannot start."""

    def look(backend, file, **config):
        config = {"backend": backend, "model": str(models / file), "device": "cpu", "max_persons": PERSONS, **config}
        at = home if backend == "ultralytics" else models  # ONNX Runtime keeps something in the home folder
        return json.loads(run(LOOK, json.dumps(config), pictures, home=at).splitlines()[-1])

    return look


@pytest.fixture(scope="module")
def seen(look):
    return look("ultralytics", "yolov8n-pose.pt", threads=2)


def numbers(person):
    return [person[key] for key in ("x", "y", "w", "h", "confidence")]


@pytest.mark.parametrize("kind", ["yolov8n-pose", "yolo11n-pose"])
def test_yolo_sees_the_same_persons_in_what_is_exported(look, kind):
    theirs = look("ultralytics", f"{kind}.pt")["seen"][0]["data"]
    ours = look("yolo", f"{kind}.onnx")["seen"][0]["data"]
    assert len(theirs) == len(ours) == PERSONS
    for their, our in zip(theirs, ours, strict=True):
        assert numbers(their) == pytest.approx(numbers(our), abs=AGREE)
        clipped = np.clip(np.array(our["keypoints"]), 0, 1)
        assert np.array(their["keypoints"]) == pytest.approx(clipped, abs=AGREE)


def test_persons_keep_their_ids_from_frame_to_frame(seen):
    ids = [[person["track_id"] for person in frame["data"]] for frame in seen["seen"]]
    assert ids == [list(range(PERSONS))] * FRAMES


def test_model_and_device_stand_in_the_metadata(seen):
    said = {"backend": "ultralytics", "model": "yolov8n-pose", "device": "cpu"}
    assert said.items() <= seen["seen"][0]["metadata"].items()


def test_as_many_threads_are_used_as_were_asked_for(seen):
    assert seen["threads"] == 2


def test_nothing_is_written_into_the_home_folder(seen, home):
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("yolov8n-pose.onnx", "yolov8n-pose.onnx is no .pt file"),
        ("yolov8n.pt", "yolov8n.pt is for detect with key points of shape ()"),
        ("broken.pt", "broken.pt cannot be loaded"),
        ("nothing.pt", "there is no"),
    ],
)
def test_a_file_that_is_no_model_of_poses_is_refused_with_the_reason(look, file, why):
    assert why in look("ultralytics", file)["refused"]


def test_gpu_that_is_asked_for_and_is_not_there_is_refused_with_the_reason(look):
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        refused = look("ultralytics", "yolov8n-pose.pt", device="gpu")["refused"]
        assert "device: gpu was asked for, but this venv's PyTorch" in refused
    else:
        pytest.skip("this machine has a GPU")

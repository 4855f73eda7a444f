"""What MediaPipe itself does after a picture that it fails on, in its own venv; no media are needed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

PYTHON = Path(__file__).parents[2] / ".venvs/face/bin/python"

BREAK = """
import json, os
import numpy
from facemoment.extractors.face import FaceExtractor
from facemoment.extractors.gesture import GestureExtractor
from facemoment.extractors.pose import PoseExtractor
from visualbase.frame import Frame

def look(stream, height, frame_id):
    picture = numpy.zeros((height, 640, 3), numpy.uint8)
    stream.extract(Frame(picture, frame_id=frame_id, t_ns=frame_id, stream="cam", epoch=frame_id // 4))

def failures(stream):
    failed = []
    for frame_id in range(12):
        try:
            look(stream, 0 if frame_id in (1, 3, 8) else 360, frame_id)  # the frame after 3 is of another epoch
        except RuntimeError:
            failed.append(frame_id)
    return failed

answers = {}
loaders = {FaceExtractor: FaceExtractor.backends["mediapipe"], GestureExtractor: GestureExtractor.load_models,
           PoseExtractor: PoseExtractor.backends["mediapipe"]}
for extractor, load in loaders.items():
    stream = extractor({})
    stream.models = load({})
    look(stream, 360, 0)
    threads = len(os.listdir("/proc/self/task"))
    failed = failures(stream)
    answers[extractor.name] = {"failed": failed, "more threads": len(os.listdir("/proc/self/task")) - threads}
    stream.models.close()
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def answers():
    if not PYTHON.exists():
        pytest.skip("no .venvs/face: run venvs/build.py face")
    done = subprocess.run([PYTHON, "-c", BREAK], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", ["face", "gesture", "pose"])
def test_only_the_pictures_that_it_cannot_look_at_fail(answers, name):
    assert answers[name]["failed"] == [1, 3, 8]


@pytest.mark.parametrize("name", ["face", "gesture", "pose"])
def test_a_broken_graph_leaves_no_threads(answers, name):
    assert answers[name]["more threads"] <= 0

"""ocr and scene: RapidOCR and PySceneDetect themselves, in their own venvs, through the host and in the live chain."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from chain import STREAM, VENVS, Chain
from sampled import MEDIA, frames, looker
from text_scoring import score
from written import BOOK, PAGE

from visualpath.core.observation import Observation

BOOK_PICTURE, PAGE_PICTURE, FACE_PICTURE = "img_cv_imageTextN.png", "img_sk_page.png", "img_faceapi_sample1.jpg"
COUNTER = "psd_counter.mp4"
COUNTER_CUTS_S = (1.0, 2.0)
FRAME_S = 0.1
PATIENCE_S = 60.0


@pytest.fixture(scope="module", autouse=True)
def _what_it_takes() -> None:
    for name in ("ocr", "scene", "core"):
        if not (VENVS / name / "bin/python").exists():
            pytest.skip(f"no .venvs/{name}: run venvs/build.py {name}")
    if not MEDIA.is_dir():
        pytest.skip("no ../shared/media beside this checkout")


def seen_by(extractor: str, *names: str, **config: Any) -> list[list[Observation[Any]]]:
    """What an extractor says of each frame of each file."""
    with looker(extractor, config) as look:
        seen = [[observation for _, observation in look.look(MEDIA / name)] for name in names]
    assert look.errors == []
    return seen


@pytest.fixture(scope="module")
def read() -> dict[str, Observation[Any]]:
    """What ocr says of three pictures."""
    names = BOOK_PICTURE, PAGE_PICTURE, FACE_PICTURE
    return {name: one[0] for name, one in zip(names, seen_by("ocr", *names, pattern="np.zeros_like"), strict=True)}


@pytest.mark.parametrize(("name", "truth"), [(BOOK_PICTURE, BOOK), (PAGE_PICTURE, PAGE)])
def test_characters_of_a_page_are_read(read, name, truth):
    text = " ".join(line["text"] for line in read[name].data)
    assert score([(0.0, truth, text)], whole=True).characters >= 0.99


def test_lines_lie_below_one_another_where_they_stand(read):
    lines = read[BOOK_PICTURE].data
    assert len(lines) == 13
    assert [line["y"] for line in lines] == sorted(line["y"] for line in lines)
    assert all(line["x"] >= 0 and line["x"] + line["w"] <= 1 and 0.04 < line["h"] < 0.1 for line in lines)
    assert lines[-1]["y"] + lines[-1]["h"] > 0.9


def test_a_line_is_wider_than_high_between_its_corners(read):
    for line in read[BOOK_PICTURE].data:
        (left, top), (right, _), (_, bottom), _ = line["corners"]
        assert right - left > 3 * (bottom - top) > 0


def test_pattern_is_found_where_it_stands_and_nowhere_else(read):
    assert read[PAGE_PICTURE].signals["match"] > 0.9
    assert read[BOOK_PICTURE].signals["match"] == 0.0


def test_picture_without_text_gives_zeros_and_an_empty_list(read):
    assert read[FACE_PICTURE].signals == {"count": 0.0, "conf": 0.0, "match": 0.0}
    assert read[FACE_PICTURE].data == []


def test_models_are_loaded_before_the_first_picture_with_the_threads_that_are_asked_for():
    script = """
import json, os
import cv2
from visualpath_ocr.extractor import OcrExtractor
models = OcrExtractor.load_models({"threads": 1})
sessions = [part.session.session for part in (models._engine.text_det, models._engine.text_rec)]
threads = [session.get_session_options().intra_op_num_threads for session in sessions]
models.close()
print(json.dumps([*threads, cv2.getNumThreads()]))
"""
    assert json.loads(in_venv("ocr", script)) == [1, 1, 1]


def test_ocr_never_asks_the_network_for_a_model_that_is_missing(tmp_path):
    script = """
import socket
from visualpath_ocr import text_models
socket.create_connection = socket.getaddrinfo = lambda *_, **__: print("asked the network")
text_models.RECOGNITION = "missing.onnx"
try:
    text_models.TextModels(640, 0.5, 1).warm_up((720, 1280))
except FileNotFoundError as error:
    print(error)
"""
    said = in_venv("ocr", script)
    assert "missing.onnx does not exist" in said
    assert "asked the network" not in said


def test_scene_survives_pictures_that_change_their_size():
    script = """
import json
import numpy as np
from visualbase.frame import Frame
from visualpath_scene.extractor import SceneExtractor
scene = SceneExtractor()
scene.models = SceneExtractor.load_models({})
sizes = [(90, 160), (90, 160), (60, 80), (60, 80), (60, 80)]
colours = [0, 1, 2, 3, 250]
said = [
    scene.extract(Frame(np.full((*size, 3), colour, np.uint8), frame_id=n, t_ns=n * 10**9)).signals["cut"]
    for n, (size, colour) in enumerate(zip(sizes, colours))
]
print(json.dumps(said))
"""
    assert json.loads(in_venv("scene", script)) == [0.0, 0.0, 0.0, 0.0, 1.0]


def in_venv(name: str, script: str) -> str:
    """What a script prints, run by a venv's Python."""
    command = [VENVS / name / "bin/python", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def cut_times_s(seen: list[Observation[Any]]) -> list[float]:
    return [round(each.t_ns / 1e9, 3) for each in seen if each.signals["cut"]]


def test_cuts_are_at_the_frames_at_which_a_person_sees_them():
    counter, stage = seen_by("scene", COUNTER, "short_hamilton_clip.mp4")
    assert cut_times_s(counter) == list(COUNTER_CUTS_S)
    assert cut_times_s(stage) == [1.519, 3.588, 7.892]


def test_a_phone_that_is_swung_gives_no_cut():
    [swung] = seen_by("scene", "mpy_fire2.mp4")
    assert cut_times_s(swung) == []
    assert max(each.signals["score"] for each in swung) > 0.15  # above the threshold: that alone would not do


def test_of_every_third_frame_the_cut_is_said_on_the_next_that_is_looked_at():
    with looker("scene") as look:
        [*seen] = (observation for _, observation in look.look(MEDIA / COUNTER, every=3))
    cuts = [each.data for each in seen if each.signals["cut"]]
    for cut, truth_s in zip(cuts, COUNTER_CUTS_S, strict=True):
        assert cut["t_ns"] - cut["gap_ns"] < round(truth_s * 1e9) <= cut["t_ns"]


def test_the_evaluation_sees_every_frame_of_a_file():
    assert [frame.frame_id for frame in frames(MEDIA / COUNTER, epoch=1)] == list(range(30))


CONFIG = f"""
state_dir: state
venvs_dir: {VENVS}
streams:
  {STREAM}: {{source: "{MEDIA / COUNTER}", ready_timeout: 60s}}
extractors:
  ocr: {{venv: ocr, config: {{pattern: 'PTS ?= ?[12]\\.\\ds'}}}}
  scene: {{venv: scene}}
fusion:
  window: 2s
  rules:
    - {{label: cut, when: scene.cut >= 1, cooldown: 0s}}
    - {{label: text, when: ocr.match >= 0.5, cooldown: 10s}}
clip: {{dir: clips, pre: 200ms, post: 200ms}}
"""


@pytest.fixture(scope="module")
def triggers() -> list[dict[str, Any]]:
    """What the live chain kept clips of, in the order of event time."""
    with Chain(CONFIG, {}) as chain:
        chain.up()
        chain.wait(lambda: has_all(chain.config.clips_dir), "clips of both cuts and of the text", PATIENCE_S)
        found = kept(chain.config.clips_dir)
    return sorted(found, key=lambda trig: trig["t_start_ns"])


def kept(folder: Path) -> list[dict[str, Any]]:
    """The triggers of all clips."""
    sidecars = [json.loads(path.read_text()) for path in folder.rglob("*.json")]
    return [trig for sidecar in sidecars for trig in sidecar["triggers"]]


def has_all(folder: Path) -> bool:
    labels = [trig["label"] for trig in kept(folder)]
    return labels.count("cut") >= len(COUNTER_CUTS_S) and "text" in labels


def test_in_the_live_chain_a_rule_keeps_each_cut(triggers):
    times_s = [trig["t_start_ns"] / 1e9 for trig in triggers if trig["label"] == "cut"]
    assert times_s == pytest.approx(COUNTER_CUTS_S, abs=3 * FRAME_S)


def test_in_the_live_chain_a_rule_keeps_the_moment_at_which_a_text_comes(triggers):
    [text] = [trig for trig in triggers if trig["label"] == "text"]
    assert 1.0 <= text["t_start_ns"] / 1e9 < 3.0

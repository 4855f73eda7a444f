"""pose: ultralytics without Ultralytics: what is refused, and on what device it runs."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from facemoment.backends import ultralytics
from facemoment.backends.ultralytics import UltralyticsPose, chosen_device, libraries, load
from facemoment.extractors.pose import load_ultralytics
from visualpath.core.errors import DeviceUnavailable, ModelError, ModelMissingError, PluginError

PATH = Path("some.pt")


def torch(available, built_for="13.2"):
    return SimpleNamespace(
        cuda=SimpleNamespace(is_available=lambda: available),
        version=SimpleNamespace(cuda=built_for),
        __version__="2.15.0",
    )


def library(task="pose", shape=(17, 3)):
    return SimpleNamespace(YOLO=lambda path: SimpleNamespace(task=task, model=SimpleNamespace(kpt_shape=shape)))


@pytest.mark.parametrize(
    ("asked", "available", "chosen"),
    [("auto", True, "gpu"), ("auto", False, "cpu"), ("cpu", True, "cpu"), ("cpu", False, "cpu"), ("gpu", True, "gpu")],
)
def test_device_is_the_one_that_was_asked_for_or_the_best_there_is(asked, available, chosen):
    assert chosen_device(torch(available), asked) == chosen


@pytest.mark.parametrize(("built_for", "why"), [("13.2", "finds no GPU"), (None, "is a build for the CPU")])
def test_gpu_that_is_asked_for_and_is_not_there_is_refused_with_the_reason(built_for, why):
    with pytest.raises(DeviceUnavailable, match=why):
        chosen_device(torch(False, built_for), "gpu")


def test_a_model_of_people_s_points_is_loaded():
    assert load(library(), PATH).task == "pose"


@pytest.mark.parametrize(("task", "shape"), [("detect", ()), ("pose", (21, 3)), ("pose", (17, 2)), ("detect", (17, 3))])
def test_a_model_for_something_else_is_refused_by_its_name(task, shape):
    with pytest.raises(ModelError, match=r"some\.pt is for (pose|detect) with key points of shape"):
        load(library(task, shape), PATH)


def test_a_file_that_cannot_be_loaded_is_refused_with_what_ultralytics_says():
    def broken(path):
        raise EOFError("no model")

    with pytest.raises(ModelError, match=r"some\.pt cannot be loaded: no model"):
        load(SimpleNamespace(YOLO=broken), PATH)


def test_an_onnx_file_is_refused_with_what_it_must_be():
    with pytest.raises(ModelError, match="yolo11n-pose-pt"):
        UltralyticsPose(Path("some.onnx"), "cpu", 1, 0.5, 8)


def test_a_path_where_nothing_is_is_refused_before_ultralytics_could_look_for_it_elsewhere(tmp_path):
    with pytest.raises(ModelMissingError):
        load_ultralytics({"model": str(tmp_path / "yolo11n-pose.pt")})


@pytest.fixture
def imported(monkeypatch):
    """What importing does, by name of the library: by default nothing; and the environment as it was, afterwards."""
    for name in (*ultralytics.ENVIRON, "YOLO_CONFIG_DIR"):
        monkeypatch.setenv(name, "")
    outcomes = {}

    def import_module(name):
        if name in outcomes:
            raise outcomes[name]
        return name

    monkeypatch.setattr(ultralytics, "import_module", import_module)
    libraries.cache_clear()
    yield outcomes
    libraries.cache_clear()


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("ultralytics", ImportError("No module named 'ultralytics'")),
        ("torchvision", RuntimeError("operator torchvision::nms does not exist")),
    ],
)
def test_a_venv_in_which_it_cannot_work_is_told_with_the_one_in_which_it_can(imported, name, error):
    imported[name] = error
    with pytest.raises(PluginError, match="venv ultra"):
        libraries()


def test_ultralytics_is_imported_offline_and_may_install_nothing(imported):
    libraries()
    assert {name: ultralytics.os.environ[name] for name in ultralytics.ENVIRON} == {
        "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false",
    }  # fmt: skip

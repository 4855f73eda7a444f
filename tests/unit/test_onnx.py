"""plugin.onnx with a scripted onnxruntime: what is asked for, and what is said of what one gets."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from visualpath.core.errors import DeviceUnavailable, ModelError, PluginError
from visualpath.plugin import onnx
from visualpath.plugin.onnx import CPU, CUDA, OnnxModel, Used, providers, used_device

TENSORRT = "TensorrtExecutionProvider"


class Session:
    """A session that runs on what it is told to, whatever it was asked for."""

    inputs = (SimpleNamespace(name="images", shape=[1, 3, 8, 8]),)

    def __init__(self, used):
        self._used = used

    def get_providers(self):
        return self._used

    falls_back = True

    def disable_fallback(self):
        self.falls_back = False

    def get_inputs(self):
        return self.inputs

    def run(self, names, feed):
        if feed["images"].shape != (1, 3, 8, 8):
            raise RuntimeError("INVALID_ARGUMENT : Got invalid dimensions for input")
        return [feed["images"] + 1]


@pytest.fixture
def machine(monkeypatch):
    """Say what this venv and machine have; returns what was asked of sessions."""
    asked = []

    def set_up(wheels=("onnxruntime",), available=(CPU,), driver=False, used=(CPU,)):
        def session(path, options, providers):
            asked.append((path, options.intra_op_num_threads, providers))
            if path.endswith("broken.onnx"):
                raise RuntimeError("INVALID_PROTOBUF : Protobuf parsing failed.")
            return Session(list(used))

        runtime = SimpleNamespace(
            get_available_providers=lambda: list(available), InferenceSession=session, SessionOptions=SimpleNamespace,
            preload_dlls=lambda: asked.append("preload"),
        )  # fmt: skip
        monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
        monkeypatch.setattr(onnx, "_installed", lambda name: name in wheels)
        monkeypatch.setattr(onnx, "_has_driver", lambda: driver)
        onnx._warn_once.cache_clear()
        return asked

    return set_up


GPU_WHEEL = {"wheels": ("onnxruntime-gpu",), "available": (TENSORRT, CUDA, CPU)}
BOTH_WHEELS = {"wheels": ("onnxruntime", "onnxruntime-gpu"), "available": ("AzureExecutionProvider", CPU)}
WORKING_GPU = {**GPU_WHEEL, "driver": True, "used": (CUDA, CPU)}


def test_cpu_is_asked_for_alone_where_it_is_asked_for(machine):
    machine(**WORKING_GPU)
    assert providers("cpu") == [CPU]


@pytest.mark.parametrize("device", ["auto", "gpu"])
def test_gpu_comes_first_where_there_may_be_one(machine, device):
    asked = machine(**WORKING_GPU)
    assert providers(device) == [CUDA, CPU]
    assert asked == ["preload"]


def test_auto_asks_an_onnxruntime_that_knows_no_gpu_for_the_cpu(machine):
    machine()
    assert providers("auto") == [CPU]


@pytest.mark.parametrize(
    ("has", "reason"),
    [
        ({}, "this venv has onnxruntime for the CPU: choose one with onnxruntime-gpu"),
        (BOTH_WHEELS, "onnxruntime and onnxruntime-gpu are both installed"),
        (GPU_WHEEL, "onnxruntime uses CPUExecutionProvider: there is no NVIDIA driver here"),
        ({**GPU_WHEEL, "driver": True}, "it needs CUDA 13 and cuDNN 9"),
    ],
    ids=["wheel for the CPU", "both wheels", "no driver", "no CUDA"],
)
def test_gpu_that_cannot_be_had_is_refused_with_the_reason(machine, has, reason):
    machine(**has)
    with pytest.raises(DeviceUnavailable, match=f"^device: gpu was asked for, but .*{reason}"):
        OnnxModel(Path("x.onnx"), "gpu")


def test_gpu_that_one_of_several_sessions_does_not_use_is_refused(machine):
    machine(**WORKING_GPU)
    with pytest.raises(DeviceUnavailable):
        used_device([Session([CUDA, CPU]), Session([CPU])], "gpu")


def test_sessions_do_not_leave_the_gpu_by_themselves(machine):
    machine(**WORKING_GPU)
    sessions = [Session([CUDA, CPU]), Session([CUDA, CPU])]
    used_device(sessions, "auto")
    assert [session.falls_back for session in sessions] == [False, False]


def test_a_gpu_that_works_is_used(machine):
    machine(**WORKING_GPU)
    assert OnnxModel(Path("x.onnx"), "auto").used == Used("gpu")


@pytest.mark.parametrize("has", [GPU_WHEEL, BOTH_WHEELS], ids=["wheel for the GPU", "both wheels"])
def test_auto_without_a_gpu_in_a_venv_for_one_warns_once_and_says_why(machine, caplog, has):
    machine(**has)
    with caplog.at_level(logging.WARNING):
        used = [OnnxModel(Path("x.onnx"), "auto").used for _ in range(3)]
    assert {each.device for each in used} == {"cpu"}
    assert [record.getMessage() for record in caplog.records] == [f"runs on the CPU: {used[0].no_gpu}"]


def test_why_there_is_no_gpu_goes_into_the_metadata(machine):
    machine(**GPU_WHEEL)
    about = OnnxModel(Path("x.onnx"), "auto").used.about(Path("models/yolo11n-pose.onnx"))
    assert about == {"model": "yolo11n-pose", "device": "cpu", "no_gpu": onnx.why_no_gpu()}


@pytest.mark.parametrize(("has", "device"), [({}, "auto"), (GPU_WHEEL, "cpu")])
def test_cpu_where_no_gpu_is_wanted_is_no_reason_to_warn(machine, caplog, has, device):
    machine(**has)
    with caplog.at_level(logging.INFO):
        assert OnnxModel(Path("x.onnx"), device).used == Used("cpu")
    assert caplog.records == []


def test_a_session_has_one_thread_unless_more_are_given(machine):
    asked = machine()
    OnnxModel(Path("x.onnx"), "cpu")
    OnnxModel(Path("x.onnx"), "cpu", threads=4)
    assert [threads for _, threads, _ in asked] == [1, 4]


def test_a_model_is_run_by_the_name_of_its_input(machine):
    machine()
    assert OnnxModel(Path("x.onnx")).run(np.zeros((1, 3, 8, 8)))[0].max() == 1


def test_a_file_that_is_no_model_is_refused_by_its_name(machine):
    machine()
    with pytest.raises(ModelError, match=r"^broken\.onnx cannot be loaded: INVALID_PROTOBUF"):
        OnnxModel(Path("broken.onnx"))


def test_a_model_with_two_inputs_is_refused(machine, monkeypatch):
    machine()
    monkeypatch.setattr(Session, "inputs", Session.inputs * 2)
    with pytest.raises(ModelError, match=r"^x\.onnx has 2 inputs, not one"):
        OnnxModel(Path("x.onnx"))


def test_a_model_that_cannot_take_its_first_picture_is_refused(machine):
    machine()
    with pytest.raises(ModelError, match=r"^x\.onnx takes no input of shape \(1, 3, 9, 9\)"):
        OnnxModel(Path("x.onnx")).warm_up(np.zeros((1, 3, 9, 9)))


def test_a_venv_without_onnxruntime_is_told_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(PluginError, match="let it run in a venv that has one"):
        OnnxModel(Path("x.onnx"))

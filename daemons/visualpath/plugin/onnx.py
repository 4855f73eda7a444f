"""ONNX models in onnxruntime, on the device that was asked for, and never silently on another.

A plug-in's venv holds onnxruntime (venvs/onnx.in) or onnxruntime-gpu (venvs/onnx-gpu.in), never both: they own one
package, and the one that was installed last decides. onnxruntime itself goes on without a word on the CPU where CUDA
cannot start, and lists providers that cannot; what a session really uses is known once it is made.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from visualpath.core.errors import DeviceUnavailable, ModelError, PluginError

log = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "gpu"]
"""auto: a GPU if there is one that works, and a warning where a venv that is made for one has to go without."""

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
DRIVER = "libcuda.so.1"
ERRORS_ONLY = 3

Array = npt.NDArray[Any]


class Used(NamedTuple):
    """What a session runs on; `no_gpu`: why `auto` came down to the CPU, "" if nothing is amiss."""

    device: Literal["cpu", "gpu"]
    no_gpu: str = ""

    def about(self, model: Path) -> dict[str, str]:
        """For `Backend.about`."""
        return {"model": model.stem, "device": self.device, **({"no_gpu": self.no_gpu} if self.no_gpu else {})}


class OnnxModel:
    """One ONNX model with one input. Streams may share it: onnxruntime runs a session for several threads at once.

    Args:
        path: the file.
        device: where it is to run.
        threads: what one picture may use; more than one makes sense only where cores lie idle.

    Attributes:
        used: where it runs.
        input_shape: a dimension that is not fixed is a name, or None.

    Raises:
        ModelError: the file is no model that onnxruntime can load, or has several inputs.
        DeviceUnavailable: the GPU was asked for, and onnxruntime does not use one.
        PluginError: there is no onnxruntime in this venv.
    """

    def __init__(self, path: Path, device: Device = "auto", threads: int = 1) -> None:
        runtime, wanted = _runtime(), providers(device)
        try:
            session = runtime.InferenceSession(str(path), session_options(threads), providers=wanted)
        except Exception as error:  # onnxruntime's own have no base class of theirs
            raise ModelError(f"{path} cannot be loaded: {error}") from error
        if len(session.get_inputs()) != 1:
            raise ModelError(f"{path} has {len(session.get_inputs())} inputs, not one")
        self.used = used_device([session], device)
        self.input_shape: Sequence[int | str | None] = session.get_inputs()[0].shape
        self._path = path
        self._input_name = session.get_inputs()[0].name
        self._session: Any = session

    def run(self, batch: Array) -> list[Array]:
        """All outputs for one input."""
        outputs: list[Array] = self._session.run(None, {self._input_name: np.ascontiguousarray(batch)})
        return outputs

    def warm_up(self, batch: Array) -> list[Array]:
        """The first run, which takes several times as long, and shows whether it takes what it will be given.

        Raises:
            ModelError: it does not.
        """
        try:
            return self.run(batch)
        except Exception as error:
            raise ModelError(f"{self._path} takes no input of shape {batch.shape}: {error}") from error

    def close(self) -> None:
        """Free the session; a run that is under way ends first."""
        self._session = None


def session_options(threads: int) -> Any:
    """How sessions work here: so many threads for each run, and in the log errors alone."""
    options = _runtime().SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = ERRORS_ONLY
    return options


def providers(device: Device) -> list[str]:
    """What to ask onnxruntime for; whether it really uses that, `used_device` says.

    Raises:
        DeviceUnavailable: the GPU was asked for, and this onnxruntime knows none.
        PluginError: there is no onnxruntime in this venv.
    """
    runtime = _runtime()
    if device == "cpu":
        return [CPU]
    if CUDA not in runtime.get_available_providers():
        if device == "gpu":
            raise DeviceUnavailable(f"device: gpu was asked for, but {why_no_gpu()}")
        return [CPU]
    if _has_driver():
        runtime.preload_dlls()  # CUDA and cuDNN out of NVIDIA's wheels, where those are installed
    return [CUDA, CPU]


def used_device(sessions: Sequence[Any], asked: Device) -> Used:
    """Where sessions run, all of them, and stay: a GPU that is lost is an error at each run.

    Raises:
        DeviceUnavailable: the GPU was asked for, and one of them does not use it.
    """
    for session in sessions:
        session.disable_fallback()  # onnxruntime's own: on the CPU from then on, with a line on stdout
    used = {session.get_providers()[0] for session in sessions}
    if used == {CUDA}:
        return Used("gpu")
    why = why_no_gpu() if asked == "gpu" or (asked == "auto" and _installed("onnxruntime-gpu")) else ""
    if asked == "gpu":
        raise DeviceUnavailable(f"device: gpu was asked for, but onnxruntime uses {', '.join(sorted(used))}: {why}")
    if why:
        _warn_once(why)
    return Used("cpu", why)


def why_no_gpu() -> str:
    """What keeps onnxruntime from the GPU."""
    if _installed("onnxruntime") and _installed("onnxruntime-gpu"):
        return (
            "onnxruntime and onnxruntime-gpu are both installed, which hides the GPU: build the venv with one of them"
        )
    if CUDA not in _runtime().get_available_providers():
        return "this venv has onnxruntime for the CPU: choose one with onnxruntime-gpu, as onnx-gpu"
    if not _has_driver():
        return f"there is no NVIDIA driver here ({DRIVER} cannot be loaded)"
    return "CUDA cannot be started; onnxruntime's own reason stands before this, and it needs CUDA 13 and cuDNN 9"


@cache
def _warn_once(why: str) -> None:
    log.warning("runs on the CPU: %s", why)


@cache
def _installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


@cache
def _has_driver() -> bool:
    try:
        ctypes.CDLL(DRIVER)
    except OSError:
        return False
    return True


def _runtime() -> Any:
    try:
        return import_module("onnxruntime")
    except ImportError as error:
        raise PluginError(f"no onnxruntime ({error}): let it run in a venv that has one, as onnx or insight") from error

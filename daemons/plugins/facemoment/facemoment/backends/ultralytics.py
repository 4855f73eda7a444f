"""`pose: ultralytics`: a YOLO pose model as its own library runs it, from a .pt file; several persons.

Ultralytics' code and weights are under AGPL-3.0, which asks for the source of the whole that they become a part of,
even where that is only used over a network. Their venv, `ultra`, is built by hand alone. `pose: yolo` runs what is
exported from the same weights without that code, from a venv of 180 MB in place of 6 GB.

A .pt file is a Python program: whoever wrote it decides what loading it does. Nothing is downloaded or installed.

Key points that lie beside the picture are put onto its edge, and so are boxes: Ultralytics clips both.
"""

from __future__ import annotations

import os
import threading
from functools import cache
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from facemoment.backends.found import FoundPerson
from facemoment.backends.yolo import KEYPOINTS, SAME_PERSON
from facemoment.tracking import Box
from visualbase.frame import Frame
from visualpath.core.errors import DeviceUnavailable, ModelError, PluginError
from visualpath.plugin.onnx import Device, Used

FILE_TYPE = ".pt"
ENVIRON = {"YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false", "YOLO_VERBOSE": "false"}
"""What it reads when it is imported: else it fetches weights and packages that are missing, and counts its users."""
BLANK = 640, 384
"""Width and height of the picture that is looked at for the warm-up."""


class UltralyticsPose:
    """Finds people, each picture on its own.

    Args:
        path: the .pt file.
        device: where it is to run; see `visualpath.plugin.onnx`.
        threads: what one picture may use of the CPU: PyTorch has one number for the whole process.
        min_confidence: persons below this confidence are not reported.
        max_persons: so many at most, the surest.

    Raises:
        ModelError: the file is no such model.
        DeviceUnavailable: the GPU was asked for, and PyTorch cannot use one.
        PluginError: there is no Ultralytics in this venv, or none that works.
    """

    def __init__(self, path: Path, device: Device, threads: int, min_confidence: float, max_persons: int) -> None:
        if path.suffix != FILE_TYPE:
            raise ModelError(f"{path} is no {FILE_TYPE} file: `model: yolo11n-pose-pt`, or the path of one")
        library, torch = libraries()
        used = Used(chosen_device(torch, device))
        self._lock = threading.Lock()
        self._free_gpu = torch.cuda.empty_cache
        self._asked = {
            "device": "cuda:0" if used.device == "gpu" else "cpu",
            "conf": min_confidence,
            "iou": SAME_PERSON,
            "max_det": max_persons,
            "save": False,
            "verbose": False,
        }
        self._model = load(library, path)
        self.about = used.about(path)
        self._warm_up(path)
        torch.set_num_threads(threads)  # after the first picture, at which Ultralytics sets a number of its own

    def _warm_up(self, path: Path) -> None:
        try:
            self._predict(np.zeros((BLANK[1], BLANK[0], 3), np.uint8))
        except Exception as error:
            raise ModelError(f"{path} cannot look at a picture: {error}") from error

    def find(self, frame: Frame) -> list[FoundPerson]:
        """See `PoseBackend`."""
        with self._lock:
            result = self._predict(frame.data)
            boxes = result.boxes.data.cpu().numpy()  # left, top, right, bottom in pixels, confidence, class
            points = result.keypoints.data.cpu().numpy()
        scale = np.array(frame.data.shape[1::-1])
        return [_person(box, keypoints, scale) for box, keypoints in zip(boxes, points, strict=True)]

    def _predict(self, bgr: Any) -> Any:
        [result] = self._model.predict(bgr, **self._asked)
        return result

    def close(self) -> None:
        """Free the model."""
        with self._lock:
            del self._model
            self._free_gpu()


@cache
def libraries() -> tuple[Any, Any]:
    """Ultralytics and PyTorch, imported once: 3 s.

    Raises:
        PluginError: they are not there, or do not fit each other.
    """
    os.environ.update(ENVIRON)
    with TemporaryDirectory() as settings:  # else it would write into the home folder, which a service has not
        os.environ["YOLO_CONFIG_DIR"] = settings
        try:
            library, torch = import_module("ultralytics"), import_module("torch")
            import_module("torchvision")  # its first prediction would: of another build than torch's, that fails
        except (ImportError, RuntimeError) as error:
            raise PluginError(f"no Ultralytics that works ({error}): let `pose` run in the venv ultra") from error
    return library, torch


def chosen_device(torch: Any, asked: Device) -> Any:
    """`cpu` or `gpu`.

    Raises:
        DeviceUnavailable: the GPU was asked for, and PyTorch cannot use one.
    """
    if asked == "cpu" or torch.cuda.is_available():
        return "cpu" if asked == "cpu" else "gpu"
    if asked == "gpu":
        why = "finds no GPU, or no driver for it" if torch.version.cuda else "is a build for the CPU"
        raise DeviceUnavailable(f"device: gpu was asked for, but this venv's PyTorch {torch.__version__} {why}")
    return "cpu"


def load(library: Any, path: Path) -> Any:
    """Ultralytics' model in a file.

    Raises:
        ModelError: it is none, or none of people's 17 points.
    """
    try:
        model = library.YOLO(str(path))
        shape = tuple(getattr(model.model, "kpt_shape", ()))
    except Exception as error:
        raise ModelError(f"{path} cannot be loaded: {error}") from error
    if model.task != "pose" or shape != (KEYPOINTS, 3):
        raise ModelError(f"{path} is for {model.task} with key points of shape {shape}, not ({KEYPOINTS}, 3)")
    return model


def _person(box: Any, points: Any, scale: Any) -> FoundPerson:
    (left, top), (width, height) = box[:2] / scale, (box[2:4] - box[:2]) / scale
    return FoundPerson(
        box=Box(float(left), float(top), float(width), float(height)),
        confidence=float(box[4]),
        keypoints=np.column_stack([points[:, :2] / scale, points[:, 2]]).astype(np.float32),
    )

"""Two small extractors, each on a library that refuses what MediaPipe 0.10.21 asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from visualbase.frame import Frame
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation


class MotionExtractor(BaseExtractor):
    """How far the picture has moved, and how much of it has changed, since the frame before.

    It needs OpenCV 5 (`phaseCorrelateIterative`) and numpy 2 (`bitwise_count`).
    """

    name = "motion"
    input_width = 160
    pixel_format = "gray"

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self.reset()

    def reset(self) -> None:
        self._before: np.ndarray | None = None

    def extract(self, frame: Frame) -> Observation[None]:
        """Returns `dx`, `dy` in pixels at the size asked for, and `changed`, a share in [0, 1]."""
        import cv2

        picture = frame.data[..., 0].astype(np.float32)
        before, self._before = self._before, picture
        if before is None:
            return Observation(signals={"dx": 0.0, "dy": 0.0, "changed": 0.0})
        dx, dy = cv2.phaseCorrelateIterative(before, picture)
        bits = np.packbits(picture > picture.mean()) ^ np.packbits(before > before.mean())
        changed = np.bitwise_count(bits).sum() / picture.size
        return Observation(signals={"dx": float(dx), "dy": float(dy), "changed": float(changed)})


class ContrastExtractor(BaseExtractor):
    """Mean and mean square of the picture by an ONNX model that is written when it starts (onnx, onnxruntime)."""

    name = "contrast"
    input_width = 320
    pixel_format = "gray"

    @classmethod
    def load_models(cls, config: Mapping[str, Any]) -> Any:
        import onnxruntime
        from onnx import TensorProto, helper

        nodes = [
            helper.make_node("ReduceMean", ["picture"], ["mean"], keepdims=0),
            helper.make_node("ReduceSumSquare", ["picture"], ["squares"], keepdims=0),
        ]
        picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, ["height", "width"])
        results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in ("mean", "squares")]
        graph = helper.make_graph(nodes, "contrast", [picture], results)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def extract(self, frame: Frame) -> Observation[None]:
        """Returns `mean` of the grey level and `rms` about it, both in [0, 1]."""
        picture = frame.data[..., 0].astype(np.float32) / 255
        mean, squares = (float(result) for result in self.models.run(None, {"picture": picture}))
        return Observation(signals={"mean": mean, "rms": max(0.0, squares / picture.size - mean * mean) ** 0.5})

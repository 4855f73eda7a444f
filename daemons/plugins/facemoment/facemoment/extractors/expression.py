"""The expressions of the faces that `face` finds: of their landmarks, or of their pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from facemoment.backends.hsemotion import HsEmotions
from facemoment.backends.mesh import MeshExpressions
from facemoment.backends.weights import weights
from facemoment.extractors.settings import Settings
from facemoment.vision import Expression, Face, read
from visualbase.frame import Frame
from visualpath.core.backends import ExpressionBackend
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation
from visualpath.plugin.onnx import Device

HSEMOTION_WIDTH = 640
SCORES = ("smile", "mouth_open", "eyes_closed", "brow_raise", "valence", "arousal")


class ExpressionConfig(Settings, frozen=True):
    """The extractor's `config:` mapping, but for what is the host's; all is for the backend hsemotion.

    Attributes:
        model: name of the weights, as `vpctl models` has it, or a path.
        device: auto, cpu or gpu; see `visualpath.plugin.onnx`.
        threads: what one face may use of the CPU.
        max_faces: so many faces are read, the largest; each costs time.
    """

    extractor = "expression"
    allowed = (
        "backend (mesh or hsemotion); for hsemotion model (a name or path), device (auto, cpu or gpu), threads (1 to "
        "64) and max_faces (1 to 16)"
    )

    model: str = "enet_b0_8_best_vgaf"
    device: Device = "auto"
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    max_faces: Annotated[int, msgspec.Meta(ge=1, le=16)] = 4


def load_mesh(config: Mapping[str, Any]) -> MeshExpressions:
    """The geometry of the landmarks that `face: mediapipe` gives; no model of its own."""
    ExpressionConfig.parse(config)
    return MeshExpressions()


def load_hsemotion(config: Mapping[str, Any]) -> HsEmotions:
    """HSEmotion's models on ONNX Runtime: the venv onnx or onnx-gpu."""
    checked = ExpressionConfig.parse(config)
    return HsEmotions(weights(checked.model), checked.device, checked.threads, checked.max_faces)


class ExpressionExtractor(BaseExtractor):
    """Reads the expressions of faces: by `mesh` of all whose landmarks `face` knows, by `hsemotion` of the largest.

    Signals of the face with the largest box, absent where they are not known of it:
        smile, mouth_open, eyes_closed, brow_raise: see `vision.Expression`; 0 to 1.
        happy, surprise, neutral: its emotions; 0 to 1. Why mesh tells no others: `facemoment.mesh_expression`.
        anger, contempt, disgust, fear, sad, valence, arousal: by hsemotion alone; see `vision.Expression`.

    Data: list of `vision.Expression`, in the order of `face`, without the faces that are not read.

    Args:
        config: see `ExpressionConfig`.

    Raises:
        ValueError: the configuration has an unknown key or a value that is not allowed.
    """

    name = "expression"
    input_width = 1  # of mesh, which needs the proportions alone
    pixel_format = "gray"
    depends = ("face",)
    backends = {"mesh": load_mesh, "hsemotion": load_hsemotion}
    backend_pictures = {"hsemotion": (HSEMOTION_WIDTH, "bgr")}
    backend_settings = {"hsemotion": ExpressionConfig.__struct_fields__}

    models: ExpressionBackend[Face, Expression]

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        ExpressionConfig.parse(self.config)

    def extract(
        self, frame: Frame, seen: Mapping[str, Sequence[Observation[Any]]] | None = None
    ) -> Observation[list[Expression]]:
        """Read the expressions of the faces in one picture, as its backend wants it."""
        faces = read((seen or {}).get("face", ()), Face)
        expressions = list(self.models.read(frame, faces))
        known = {each.track_id: each for each in expressions}
        largest = max(faces, key=lambda face: face.w * face.h, default=None)
        return Observation(
            signals=signals(known[largest.track_id]) if largest and largest.track_id in known else {},
            data=expressions,
            metadata=dict(self.models.about),
        )


def signals(seen: Expression) -> dict[str, float]:
    """The signals of a frame; see `ExpressionExtractor`."""
    scores = {name: getattr(seen, name) for name in SCORES}
    return {**{name: score for name, score in scores.items() if score is not None}, **seen.emotions}

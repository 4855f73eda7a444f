"""The expressions of the faces that `face` finds. Runs wherever numpy does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from facemoment.mesh_expression import expression
from facemoment.vision import Expression, Face, read
from visualbase.frame import Frame
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation


class ExpressionConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The extractor's `config:` mapping.

    Attributes:
        backend: mesh: the geometry of the landmarks that `face` gives; no model of its own.
    """

    backend: Literal["mesh"] = "mesh"

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> ExpressionConfig:
        """Check a mapping.

        Raises:
            ValueError: an unknown key, or a value that is not allowed.
        """
        try:
            return msgspec.convert(dict(config), cls)
        except msgspec.ValidationError as err:
            raise ValueError(f"expression: {err}; allowed is backend (mesh)") from err


class ExpressionExtractor(BaseExtractor):
    """Reads the expression of every face whose landmarks `face` knows; its `max_faces` bounds how many those are.

    Signals, all 0 to 1, of the face with the largest box, and absent where its landmarks are not known:
        smile, mouth_open, eyes_closed, brow_raise: see `vision.Expression`.
        happy, surprise, neutral: its emotions; why no others: `facemoment.mesh_expression`.

    Data: list of `vision.Expression`, in the order of `face`, without the faces whose landmarks are not known.

    Args:
        config: see `ExpressionConfig`.

    Raises:
        ValueError: the configuration has an unknown key or a value that is not allowed.
    """

    name = "expression"
    input_width = 1  # of the picture, it needs the proportions alone
    pixel_format = "gray"
    depends = ("face",)

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        ExpressionConfig.parse(self.config)

    def extract(
        self, frame: Frame, seen: Mapping[str, Sequence[Observation[Any]]] | None = None
    ) -> Observation[list[Expression]]:
        """Read the expressions of one frame's faces; of the picture only its proportions are used."""
        faces = read((seen or {}).get("face", ()), Face)
        height, width = (frame.height, frame.width) if frame.height else frame.data.shape[:2]
        known = {
            face.track_id: expression(face.track_id, face.landmarks, width / height)
            for face in faces
            if face.landmarks is not None
        }
        largest = max(faces, key=lambda face: face.w * face.h, default=None)
        return Observation(
            signals=signals(known[largest.track_id]) if largest and largest.track_id in known else {},
            data=list(known.values()),
        )


def signals(seen: Expression) -> dict[str, float]:
    """The signals of a frame; see `ExpressionExtractor`."""
    scores = {name: getattr(seen, name) for name in ("smile", "mouth_open", "eyes_closed", "brow_raise")}
    return {**scores, **seen.emotions}

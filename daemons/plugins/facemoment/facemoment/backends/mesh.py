"""`expression: mesh`: the geometry of the landmarks that `face: mediapipe` gives. No library, no model."""

from __future__ import annotations

from collections.abc import Sequence

from facemoment.mesh_expression import expression
from facemoment.vision import Expression, Face
from visualbase.frame import Frame


class MeshExpressions:
    """Reads what `mesh_expression` tells. It holds nothing."""

    about = {"device": "cpu"}

    def read(self, frame: Frame, faces: Sequence[Face]) -> list[Expression]:
        """See `ExpressionBackend`; of the picture only its proportions are used."""
        return [
            expression(face.track_id, face.landmarks, aspect(frame)) for face in faces if face.landmarks is not None
        ]

    def close(self) -> None:
        """There is nothing to free."""


def aspect(frame: Frame) -> float:
    """Width by height of the original picture where that is known, else of the one at hand."""
    height, width = (frame.height, frame.width) if frame.height else frame.data.shape[:2]
    return float(width / height)

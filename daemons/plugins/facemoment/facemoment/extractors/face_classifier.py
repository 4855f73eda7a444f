"""Whose picture it is: the roles of the faces that `face` has found. Pure Python; looks at no picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from facemoment.roles import Roles
from facemoment.vision import ClassifiedFace, Face, read
from visualbase.frame import Frame
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation


class FaceClassifierExtractor(BaseExtractor):
    """Says of each face whether it is the main one, the passenger, transient or noise; see `facemoment.roles`.

    Signals:
        faces: number of faces, of all roles.
        main: 1.0: there is a main face; else 0.0.
        passenger: likewise.
        main_score: score of the main face, 0 to 1; 0.0 without one.
        transient, noise: number of faces of that role.

    Data: list of `ClassifiedFace`, in the order of `face`.

    Takes no configuration.
    """

    name = "face_classifier"
    input_width = 1  # the least work for the host that decodes
    pixel_format = "gray"
    depends = ("face",)

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        if self.config:
            raise ValueError(f"face_classifier takes no configuration, found {', '.join(sorted(self.config))}")
        self._roles = Roles()

    def extract(
        self, frame: Frame, seen: Mapping[str, list[Observation[Any]]] | None = None
    ) -> Observation[list[ClassifiedFace]]:
        """Classify the faces of one frame."""
        classified = self._roles.classify(read((seen or {}).get("face", ()), Face), frame.t_ns)
        scores = {role: [face.score for face in classified if face.role == role] for role in ROLES}
        return Observation(
            signals={
                "faces": float(len(classified)),
                "main": float(len(scores["main"])),
                "passenger": float(len(scores["passenger"])),
                "main_score": max(scores["main"], default=0.0),
                "transient": float(len(scores["transient"])),
                "noise": float(len(scores["noise"])),
            },
            data=classified,
        )

    def reset(self) -> None:
        """A new epoch: nobody is known."""
        self._roles.reset()


ROLES = ("main", "passenger", "transient", "noise")

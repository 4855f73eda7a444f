"""An extractor that does nothing, so that all the time is the worker's; in a module that a child can import."""

from __future__ import annotations

from visualbase.frame import Frame
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation


class Idle(BaseExtractor):
    """Says one number of each frame."""

    name = "idle"

    def extract(self, frame: Frame) -> Observation[None]:
        return Observation(signals={"n": 1.0})

"""An extractor that does what the file MOOD says: put into the box to fail there as models do."""

from __future__ import annotations

import os
import time
from pathlib import Path

from visualbase.frame import Frame
from visualpath.core import BaseExtractor, Observation

MOOD = Path("/srv/mood")
GREED_BYTES = 64 << 20


class MoodyExtractor(BaseExtractor):
    """`well`, `hung` (never comes back), `greedy` (takes memory for ever) or `crashing` (ends the process)."""

    name = "moody"
    version = "1"
    input_width = 160
    pixel_format = "gray"

    def extract(self, frame: Frame) -> Observation:
        mood = MOOD.read_text().strip()
        hoard = []
        while mood == "greedy":
            hoard.append(b"\1" * GREED_BYTES)
        while mood == "hung":
            time.sleep(1)
        if mood == "crashing":
            os._exit(3)
        return Observation(signals={"calm": 1.0})

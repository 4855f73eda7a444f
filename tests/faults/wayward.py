"""An extractor that behaves as a file tells it to, frame by frame: the plug-in of the fault scenarios.

The words in the file `mood`: `firing` (its signal `wanted` is 1), `slow` (250 ms a frame), `hung` (it never comes
back), `hungry` (it takes 64 MiB more with each frame), `dead` (its process crashes). None: all is well.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visualbase.frame import Frame
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation

SLOW_S = 0.25
MEAL_BYTES = 64 << 20


class Wayward(BaseExtractor):
    """Takes `ms` (default 5) for a frame, else what its mood says.

    Args:
        config: `mood`, a path; `ms`.
    """

    name = "wayward"
    input_width = 1
    pixel_format = "gray"

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._mood = Path(self.config["mood"])
        self._work_s = self.config.get("ms", 5) / 1e3
        self._eaten: list[bytes] = []

    def extract(self, frame: Frame) -> Observation[None]:
        """Behave."""
        mood = self._mood.read_text().split()
        time.sleep(SLOW_S if "slow" in mood else self._work_s)
        while "hung" in mood:
            time.sleep(3600)
        if "hungry" in mood:
            self._eaten.append(b"\1" * MEAL_BYTES)
        if "dead" in mood:
            os.abort()
        return Observation(signals={"wanted": float("firing" in mood)})

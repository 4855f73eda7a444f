"""An extractor that looks at nothing and takes its time: for benchmarks, and tests of what surrounds a slow model.

Entry point `scripted`. In visualpath.yaml, a model of 58 +- 15 ms whose slow frames reach 95 ms:

    extractors:
      pose:
        plugin: scripted
        config: {mean_ms: 53, sd_ms: 9, tail: {share: 0.15, low_ms: 75, high_ms: 95}, signals: {hands: 2}}
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from visualbase.frame import Frame
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation

Milliseconds = Annotated[float, Meta(ge=0, le=3_600_000)]


class Tail(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the frames takes longer: evenly between two times.

    Attributes:
        share: of all frames, 0 to 1.
        low_ms, high_ms: the two times.
    """

    share: Annotated[float, Meta(ge=0, le=1)]
    low_ms: Milliseconds
    high_ms: Milliseconds

    def __post_init__(self) -> None:
        """The two times stand in order."""
        if self.low_ms > self.high_ms:
            raise ValueError(f"low_ms {self.low_ms:g} is above high_ms {self.high_ms:g}")


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long each frame takes, and what is said about it.

    Attributes:
        mean_ms, sd_ms: of the normal distribution; what it gives below zero is drawn again.
        tail: of slower frames; default: none.
        seed: the same seed gives the same times.
        signals: of every observation.
    """

    mean_ms: Annotated[float, Meta(gt=0, le=3_600_000)]
    sd_ms: Milliseconds = 0.0
    tail: Tail | None = None
    seed: int = 0
    signals: dict[str, float] = {}

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> Script:
        """Read an extractor's configuration.

        Raises:
            ValueError: an unknown key, or a value that is not allowed.
        """
        try:
            return msgspec.convert(config, cls)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None

    def draw_ms(self, chance: random.Random) -> float:
        """Return how long the next frame takes, in ms, above 0."""
        if self.tail is not None and chance.random() < self.tail.share:
            return chance.uniform(self.tail.low_ms, self.tail.high_ms)
        while (drawn_ms := chance.gauss(self.mean_ms, self.sd_ms)) <= 0:
            pass
        return drawn_ms


class ScriptedExtractor(BaseExtractor):
    """Holds its thread for a random time per frame, as a model does, and gives one observation.

    Args:
        config: see `Script`.

    Raises:
        ValueError: the configuration has an unknown key or a value that is not allowed.
    """

    name = "scripted"
    input_width = 1  # the least work for the host that decodes
    pixel_format = "gray"

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._script = Script.parse(self.config)
        self._chance = random.Random(self._script.seed)  # noqa: S311  (no secret hangs on it)

    def extract(self, frame: Frame) -> Observation[None]:
        """Sleep, and say what the script says."""
        time.sleep(self._script.draw_ms(self._chance) / 1e3)
        return Observation(signals=dict(self._script.signals))

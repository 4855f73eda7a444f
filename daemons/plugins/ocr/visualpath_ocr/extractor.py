"""Text in a picture: where it stands, what it says, and whether it is what one waits for. Runs offline."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from visualbase.frame import Frame
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation
from visualpath_ocr.matching import match_confidence
from visualpath_ocr.text_models import FoundText, TextModels

INPUT_WIDTH = 1280
WARM_UP_FRAMES = 2


class OcrConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The extractor's `config:` mapping.

    Attributes:
        max_side: text is looked for in the picture shrunk to so many pixels on its longer side. Small text in large
            pictures wants more, at a cost that grows with the square.
        min_confidence: texts below this are not reported.
        pattern: a regular expression to wait for, in Python's syntax, in any letter case; "": none.
        threads: of the models. More make a frame faster, and take cores from others.
    """

    max_side: Annotated[int, msgspec.Meta(ge=320, le=4096)] = 640
    min_confidence: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    pattern: str = ""
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> OcrConfig:
        """Check a mapping.

        Raises:
            ValueError: an unknown key, or a value that is not allowed.
        """
        try:
            checked = msgspec.convert(dict(config), cls)
        except msgspec.ValidationError as err:
            raise ValueError(
                f"ocr: {err}; allowed are max_side (320 to 4096), min_confidence (above 0, up to 1), pattern (a "
                "regular expression) and threads (1 to 64)"
            ) from err
        try:
            re.compile(checked.pattern)
        except re.error as err:
            raise ValueError(f"ocr: pattern {checked.pattern!r} is no regular expression: {err}") from err
        return checked


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """One line of text; `ocr` gives a list of them, from top to bottom, those side by side from left to right.

    Positions and sizes are fractions of the picture, origin at its top left, x to the right, y down.

    Attributes:
        text: what it says. Spaces between words may be missing.
        confidence: mean over its characters, 0 to 1.
        x, y, w, h: box around the corners.
        corners: float32 of shape (4, 2): x, y; from the text's own top left clockwise.
    """

    text: str
    confidence: float
    x: float
    y: float
    w: float
    h: float
    corners: np.ndarray[Any, np.dtype[np.float32]]


class OcrExtractor(BaseExtractor):
    """Reads text. A frame without text has an empty list.

    Signals:
        count: number of lines.
        conf: the highest confidence, 0 to 1; 0.0 without text.
        match: how sure it is that `pattern` stands there, 0 to 1: see `match_confidence`; absent without a pattern.

    Data: list of `Text`.

    Args:
        config: see `OcrConfig`.

    Raises:
        ValueError: the configuration has an unknown key or a value that is not allowed.
    """

    name = "ocr"
    input_width = INPUT_WIDTH
    pixel_format = "bgr"

    models: TextModels

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        pattern = OcrConfig.parse(self.config).pattern
        self._pattern = re.compile(pattern, re.IGNORECASE) if pattern else None

    @classmethod
    def load_models(cls, config: Mapping[str, Any]) -> TextModels:
        """Load the models and run them: the first runs take longer."""
        checked = OcrConfig.parse(config)
        models = TextModels(checked.max_side, checked.min_confidence, checked.threads)
        for _ in range(WARM_UP_FRAMES):
            models.warm_up((INPUT_WIDTH * 9 // 16, INPUT_WIDTH))
        return models

    def extract(self, frame: Frame) -> Observation[list[Text]]:
        """Read one picture of shape (height, width, 3), in B, G, R order."""
        height, width = frame.data.shape[:2]
        texts = [placed(found, width, height) for found in self.models.find(frame.data)]
        signals = {"count": float(len(texts)), "conf": max((each.confidence for each in texts), default=0.0)}
        if self._pattern is not None:
            signals["match"] = match_confidence(self._pattern, [(each.text, each.confidence) for each in texts])
        return Observation(signals=signals, data=texts)


def placed(found: FoundText, width: int, height: int) -> Text:
    """Make a `Text` of what the models say, in fractions of a picture of this size in pixels."""
    corners = np.clip(found.corners / (width, height), 0.0, 1.0)
    (x, y), (right, bottom) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return Text(
        text=found.text, confidence=found.confidence, x=x, y=y, w=right - x, h=bottom - y,
        corners=corners.astype(np.float32),
    )  # fmt: skip

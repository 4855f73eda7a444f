"""Hands in a picture and what they show: MediaPipe's bundled models, and the geometry of fingers. Runs offline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from facemoment.body import bounds, clipped
from facemoment.extractors.settings import Settings
from facemoment.fingers import PATTERNS, recognise
from facemoment.hand_models import FoundHand, HandModels
from facemoment.tracking import Tracker
from facemoment.vision import Hand
from visualbase.frame import Frame
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation

INPUT_WIDTH = 640
WARM_UP_FRAMES = 2


class GestureConfig(Settings, frozen=True):
    """The extractor's `config:` mapping.

    Attributes:
        max_hands: so many hands at most are found in a picture; each costs time.
        min_confidence: hands below this confidence of the palm detector are not looked for.
        max_age_s: a hand that has been out of sight for longer than this (seconds of event time) comes back under
            another track_id. Above the time between two frames that are looked at.
    """

    extractor = "gesture"
    allowed = "max_hands (1 to 8), min_confidence (above 0, up to 1) and max_age_s (above 0, up to 60)"

    max_hands: Annotated[int, msgspec.Meta(ge=1, le=8)] = 2
    min_confidence: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.5
    max_age_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 0.5


class GestureExtractor(BaseExtractor):
    """Finds hands, and what each of them shows. A frame without hands has an empty list.

    Signals:
        hands: number of hands.
        v_sign, thumbs_up, thumbs_down, open_palm, fist, pointing, call, rock, four: the best score of any hand that
            shows it, 0.5 to 1; 0.0: none does.

    Data: list of `vision.Hand`. How gestures are told apart, and how little that has been tested: `fingers`.

    Args:
        config: see `GestureConfig`.

    Raises:
        ValueError: the configuration has an unknown key or a value that is not allowed.
    """

    name = "gesture"
    input_width = INPUT_WIDTH
    pixel_format = "bgr"

    models: HandModels

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._tracker = Tracker(round(GestureConfig.parse(self.config).max_age_s * 1e9))

    @classmethod
    def load_models(cls, config: Mapping[str, Any]) -> HandModels:
        """Load the models and run them on blank pictures: the first runs take several times as long."""
        checked = GestureConfig.parse(config)
        models = HandModels(checked.max_hands, checked.min_confidence)
        for _ in range(WARM_UP_FRAMES):
            models.find(np.zeros((INPUT_WIDTH * 9 // 16, INPUT_WIDTH, 3), np.uint8))
        return models

    def extract(self, frame: Frame) -> Observation[list[Hand]]:
        """Find the hands in one picture of shape (height, width, 3), in B, G, R order."""
        rgb = frame.data.take([2, 1, 0], axis=2)  # contiguous, and three times as fast as a copy of [..., ::-1]
        found = self.models.find(rgb)
        ids = self._tracker.update([bounds(hand.place) for hand in found], frame.t_ns)
        hands = [described(hand, track_id) for hand, track_id in zip(found, ids, strict=True)]
        return Observation(signals=signals(hands), data=hands)

    def reset(self) -> None:
        """Forget whose hand is whose."""
        self._tracker.reset()


def described(found: FoundHand, track_id: int) -> Hand:
    """Make a `Hand` of what the models say."""
    shown = recognise(found.world)
    return Hand(
        track_id=track_id,
        handedness="right" if found.label == "Left" else "left",  # cameras do not mirror
        confidence=found.confidence,
        **clipped(bounds(found.place))._asdict(),
        gesture=shown.gesture,
        score=shown.score,
        landmarks=found.place,
    )


def signals(hands: list[Hand]) -> dict[str, float]:
    """The signals of a frame; see `GestureExtractor`."""
    best: dict[str, float] = {
        gesture: max((h.score for h in hands if h.gesture == gesture), default=0.0) for gesture in PATTERNS
    }
    return {"hands": float(len(hands)), **best}

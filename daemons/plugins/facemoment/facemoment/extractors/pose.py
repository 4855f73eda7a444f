"""A person's body in a picture, and whether a hand is raised or waves: MediaPipe's bundled model. Runs offline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt

from facemoment.body import COCO, VISIBLE, arms, bounds, clipped
from facemoment.pose_models import PoseModel, PoseModels
from facemoment.vision import Pose
from facemoment.wave import WaveDetector
from visualbase.frame import Frame
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation

INPUT_WIDTH = 480


class PoseConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The extractor's `config:` mapping.

    Attributes:
        min_confidence: a person below this confidence is not reported. It finds "persons" in forearms and animals; at
            0.5, on more than twice as many frames.
    """

    min_confidence: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.7

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> PoseConfig:
        """Check a mapping.

        Raises:
            ValueError: an unknown key, or a value that is not allowed.
        """
        try:
            return msgspec.convert(dict(config), cls)
        except msgspec.ValidationError as err:
            raise ValueError(f"pose: {err}; allowed is min_confidence (above 0, up to 1)") from err


class PoseExtractor(BaseExtractor):
    """Finds the most prominent person: MediaPipe's model knows one. A frame without a person has an empty list.

    Signals:
        persons: 1.0 or 0.0.
        conf: mean visibility of the key points, 0 to 1; 0.0 without a person.
        left_hand_raised, right_hand_raised: 1.0: the wrist is in sight, above the shoulder; else 0.0.
        hands_raised: how many of them, 0 to 2.
        hand_wave: how clearly a raised hand swings to and fro, 0 to 1; 0.5: it has changed its direction twice within
            1.5 s, after swings of 0.4 shoulder widths. Needs 5 frames a second, for fast waves 10.

    Data: list of `vision.Pose`, of one at most.

    Args:
        config: see `PoseConfig`.

    Raises:
        ValueError: the configuration has an unknown key or a value that is not allowed.
    """

    name = "pose"
    input_width = INPUT_WIDTH
    pixel_format = "bgr"

    models: PoseModels

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        PoseConfig.parse(self.config)
        self._model: PoseModel | None = None
        self._waves = (WaveDetector(), WaveDetector())

    @classmethod
    def load_models(cls, config: Mapping[str, Any]) -> PoseModels:
        """Load the model for the first stream and run it: the first runs take several times as long."""
        return PoseModels(PoseConfig.parse(config).min_confidence, INPUT_WIDTH)

    def extract(self, frame: Frame) -> Observation[list[Pose]]:
        """Find the person in one picture of shape (height, width, 3), in B, G, R order."""
        if self._model is None:
            self._model = self.models.take()
        rgb = frame.data.take([2, 1, 0], axis=2)  # contiguous, and three times as fast as a copy of [..., ::-1]
        landmarks = self._model.find(rgb)
        persons = [] if landmarks is None else [self._described(landmarks, frame)]
        return Observation(signals=signals(persons), data=persons)

    def _described(self, landmarks: npt.NDArray[np.float32], frame: Frame) -> Pose:
        keypoints = landmarks[list(COCO)][:, [0, 1, 3]]
        left, right = arms(keypoints, frame.data.shape[1] / frame.data.shape[0])
        wave = max(
            detector.update(frame.t_ns, arm.place) for detector, arm in zip(self._waves, (left, right), strict=True)
        )
        in_sight = keypoints[keypoints[:, 2] >= VISIBLE]
        return Pose(
            **clipped(bounds(in_sight if len(in_sight) else keypoints))._asdict(),
            confidence=float(keypoints[:, 2].mean()),
            keypoints=keypoints,
            landmarks=landmarks,
            left_hand_raised=left.raised,
            right_hand_raised=right.raised,
            hand_wave=wave,
        )

    def reset(self) -> None:
        """Forget where the person was, and how their hands moved."""
        for wave in self._waves:
            wave.reset()
        if self._model is not None:
            self._model.reset()

    def close(self) -> None:
        """Free this stream's model."""
        model, self._model = self._model, None
        if model is not None:
            model.close()


def signals(persons: list[Pose]) -> dict[str, float]:
    """The signals of a frame; see `PoseExtractor`."""
    left, right = (any(getattr(each, f"{side}_hand_raised") for each in persons) for side in ("left", "right"))
    return {
        "persons": float(len(persons)),
        "conf": max((each.confidence for each in persons), default=0.0),
        "left_hand_raised": float(left),
        "right_hand_raised": float(right),
        "hands_raised": float(left + right),
        "hand_wave": max((each.hand_wave for each in persons), default=0.0),
    }

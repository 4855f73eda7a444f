"""People's bodies in a picture, and whether a hand is raised or waves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import msgspec

from facemoment.backends.found import FoundPerson
from facemoment.backends.mediapipe import MediaPipePose
from facemoment.backends.ultralytics import UltralyticsPose
from facemoment.backends.weights import weights
from facemoment.backends.yolo import YoloPose
from facemoment.body import arms, clipped
from facemoment.extractors.settings import Settings
from facemoment.pose_models import PoseModel, PoseModels
from facemoment.tracking import Tracker
from facemoment.vision import Pose
from facemoment.wave import WaveDetector
from visualbase.frame import Frame
from visualpath.core.backends import PoseBackend
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation
from visualpath.plugin.onnx import Device

MEDIAPIPE_WIDTH, YOLO_WIDTH = 480, 640
MEDIAPIPE_CONFIDENCE, YOLO_CONFIDENCE = 0.7, 0.5

Waves = tuple[WaveDetector, WaveDetector]
"""Of the left and the right hand of one person."""


class PoseConfig(Settings, frozen=True):
    """The extractor's `config:` mapping, but for what is the host's.

    Attributes:
        min_confidence: a person below this confidence is not reported. None: 0.7 for mediapipe, which finds "persons"
            in forearms and animals: at 0.5, on more than twice as many frames. 0.5 for yolo and ultralytics, which is a
            guess: above the 0.25 of Ultralytics' predict, for there have been no weights to try it with.
        max_age_s: a person who has been out of sight for longer than this (seconds of event time) comes back under
            another track_id. Above the time between two frames that are looked at.
        model: of yolo and ultralytics: name of the weights, as `vpctl models` has it, or a path. The default is an ONNX
            file, for yolo; ultralytics wants a .pt, as yolo11n-pose-pt.
        device: of yolo and ultralytics: auto, cpu or gpu; see `visualpath.plugin.onnx`.
        threads: of yolo and ultralytics: what one picture may use of the CPU.
        max_persons: of yolo and ultralytics: so many are reported, the surest.
    """

    extractor = "pose"
    allowed = (
        "backend (mediapipe, yolo or ultralytics), min_confidence (above 0, up to 1) and max_age_s (above 0, up to "
        "60); for yolo and ultralytics model (a name or path), device (auto, cpu or gpu), threads (1 to 64) and "
        "max_persons (1 to 32)"
    )

    min_confidence: Annotated[float, msgspec.Meta(gt=0, le=1)] | None = None
    max_age_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 0.5
    model: str = "yolo11n-pose"
    device: Device = "auto"
    threads: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    max_persons: Annotated[int, msgspec.Meta(ge=1, le=32)] = 8


def load_mediapipe(config: Mapping[str, Any]) -> MediaPipePose:
    """The model in MediaPipe's wheel, one person: the venv face."""
    checked = PoseConfig.parse(config)
    make = partial(PoseModel, checked.min_confidence or MEDIAPIPE_CONFIDENCE)
    return MediaPipePose(PoseModels(make, MEDIAPIPE_WIDTH))


def load_yolo(config: Mapping[str, Any]) -> YoloPose:
    """A YOLO pose model on ONNX Runtime, several persons: the venv onnx or onnx-gpu."""
    checked = PoseConfig.parse(config)
    return YoloPose(
        weights(checked.model),
        checked.device,
        checked.threads,
        checked.min_confidence or YOLO_CONFIDENCE,
        checked.max_persons,
    )


def load_ultralytics(config: Mapping[str, Any]) -> UltralyticsPose:
    """The same models as Ultralytics' own code runs them, which is under AGPL-3.0: the venv ultra."""
    checked = PoseConfig.parse(config)
    return UltralyticsPose(
        weights(checked.model),
        checked.device,
        checked.threads,
        checked.min_confidence or YOLO_CONFIDENCE,
        checked.max_persons,
    )


class PoseExtractor(BaseExtractor):
    """Finds people. A frame without a person has an empty list.

    By `mediapipe` the most prominent person alone: its model knows one.

    Signals:
        persons: how many.
        conf: the highest confidence, 0 to 1; 0.0 without a person.
        left_hand_raised, right_hand_raised: 1.0: somebody's wrist is in sight, above the shoulder; else 0.0.
        hands_raised: how many of these two, 0 to 2.
        hand_wave: how clearly a raised hand of somebody swings to and fro, 0 to 1; 0.5: it has changed its direction
            twice within 1.5 s, after swings of 0.4 shoulder widths. Needs 5 frames a second, for fast waves 10.

    Data: list of `vision.Pose`, best confidence first.

    Args:
        config: see `PoseConfig`.

    Raises:
        ValueError: the configuration has an unknown key or a value that is not allowed.
    """

    name = "pose"
    input_width = MEDIAPIPE_WIDTH
    pixel_format = "bgr"
    backends = {"mediapipe": load_mediapipe, "yolo": load_yolo, "ultralytics": load_ultralytics}
    backend_pictures = {"yolo": (YOLO_WIDTH, "bgr"), "ultralytics": (YOLO_WIDTH, "bgr")}
    backend_settings = dict.fromkeys(("yolo", "ultralytics"), ("model", "device", "threads", "max_persons"))

    models: PoseBackend[FoundPerson]

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        self._tracker = Tracker(round(PoseConfig.parse(self.config).max_age_s * 1e9))
        self._waves: dict[int, Waves] = {}

    def extract(self, frame: Frame) -> Observation[list[Pose]]:
        """Find the people in one picture of shape (height, width, 3), in B, G, R order."""
        found = self.models.find(frame)
        ids = self._tracker.update([each.box for each in found], frame.t_ns)
        self._waves = {i: self._waves.get(i) or (WaveDetector(), WaveDetector()) for i in self._tracker.ids}
        aspect = frame.data.shape[1] / frame.data.shape[0]
        persons = [
            described(each, track_id, self._waves[track_id], frame.t_ns, aspect)
            for each, track_id in zip(found, ids, strict=True)
        ]
        return Observation(signals=signals(persons), data=persons, metadata=dict(self.models.about))

    def reset(self) -> None:
        """Forget who is who, and how their hands moved."""
        self._tracker.reset()
        self._waves.clear()


def described(found: FoundPerson, track_id: int, waves: Waves, t_ns: int, aspect: float) -> Pose:
    """What is said of one person; `aspect` is the picture's width divided by its height."""
    left, right = both = arms(found.keypoints, aspect)
    return Pose(
        track_id=track_id,
        **clipped(found.box)._asdict(),
        confidence=found.confidence,
        keypoints=found.keypoints,
        landmarks=found.landmarks,
        left_hand_raised=left.raised,
        right_hand_raised=right.raised,
        hand_wave=max(hand.update(t_ns, arm.place) for hand, arm in zip(waves, both, strict=True)),
    )


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

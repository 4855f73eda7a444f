"""The `config:` of the fusion `highlight`: strict keys, durations with their unit, three presets."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta, field

from visualpath.core.errors import PluginConfigError
from visualpath.core.strict import UNKNOWN_KEY, misfit
from visualpath.core.units import Duration, decode_quantity

Label = Literal[
    "expression", "head-turn", "hand-wave", "camera-gaze", "looking-at-each-other", "v-sign", "thumbs-up"
]  # fmt: skip
LABELS: tuple[Label, ...] = get_args(Label)
Share = Annotated[float, Meta(ge=0, le=1)]
Degrees = Annotated[float, Meta(ge=0, le=180)]
Positive = Annotated[float, Meta(gt=0, le=1e6)]

MS = 1_000_000

PRESETS: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "high_sensitivity": {"expression_z": 1.5, "head_turn": 20.0, "frames": 1, "cooldown": "1.5s"},
    "conservative": {"expression_z": 2.5, "frames": 3, "cooldown": "3s", "gate": {"open_after": "1s"}},
}


class GateSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """When a picture is good enough to decide on.

    Attributes:
        open_after_ns: how long all must be well before the gate opens (key `open_after`).
        close_after_ns: how long something must not be before it closes (key `close_after`).
        max_faces: so many faces at most; one at least.
        confidence: of the detector, at least.
        yaw, pitch: degrees away from the camera, at most.
        inside: share of the box inside the picture, at least; 1 leaves no room for rounding.
        min_area, max_area: of the box, as a share of the picture.
        off_centre: how far the box's middle may be from the picture's, 0 to 1 (on the edge), across or down.
        blur: of `quality`, at least; it depends on camera and scene. The default lets the plainest sharp picture
            through (a head before a bare wall, preview_head-pose-face-detection-male.gif: 63) and keeps most out that
            are as blurred as by a Gaussian of 8 thousandths of the width (2 to 41).
        min_brightness, max_brightness: of `quality`, 0 to 1. A lit face before black, as on a stage, makes a picture of
            0.06 to 0.14 (short_hamilton_clip.mp4, mps_gesture_test_video.mp4).
    """

    open_after_ns: Duration = field(default=Duration(700 * MS), name="open_after")
    close_after_ns: Duration = field(default=Duration(300 * MS), name="close_after")
    max_faces: Annotated[int, Meta(ge=1, le=100)] = 2
    confidence: Share = 0.7
    yaw: Degrees = 25.0
    pitch: Degrees = 20.0
    inside: Share = 0.99
    min_area: Share = 0.005
    max_area: Share = 0.6
    off_centre: Share = 0.8
    blur: Annotated[float, Meta(ge=0, le=1e6)] = 25.0
    min_brightness: Share = 0.05
    max_brightness: Share = 0.95


class HighlightSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What makes a moment.

    Attributes:
        preset: where the values come from that are not given.
        triggers: the kinds of moments that are looked for.
        frames: on so many frames in a row a reason must hold; frames on which its source says nothing do not count.
        cooldown_ns: for how long nothing of a kind fires after a firing of that kind (key `cooldown`).
        max_gap_ns: for how long what a source said stands (key `max_gap`).
        gate: the quality gate.
        ewma_alpha: the weight of the newest value in the running mean that an expression is compared with, where values
            come every 100 ms; at other rates as much as leaves the mean as quick.
        expression_z: by how many standard deviations an expression must rise above that mean, at least.
        expression_value: what it must exceed.
        head_turn: degrees per second towards the camera, at least.
        hand_wave: of `pose`, at least.
        camera_gaze: of `face`, at least.
        each_other: degrees by which two persons must be turned towards each other, each more than this.
    """

    preset: Literal["default", "high_sensitivity", "conservative"] = "default"
    triggers: Annotated[list[Label], Meta(min_length=1)] = field(default_factory=lambda: list(LABELS))
    frames: Annotated[int, Meta(ge=1, le=1000)] = 2
    cooldown_ns: Duration = field(default=Duration(2000 * MS), name="cooldown")
    max_gap_ns: Duration = field(default=Duration(300 * MS), name="max_gap")
    gate: GateSettings = GateSettings()
    ewma_alpha: Annotated[float, Meta(gt=0, le=1)] = 0.1
    expression_z: Positive = 2.0
    expression_value: Share = 0.5
    head_turn: Positive = 30.0
    hand_wave: Annotated[float, Meta(gt=0, le=1)] = 0.5
    camera_gaze: Annotated[float, Meta(gt=0, le=1)] = 0.5
    each_other: Degrees = 15.0

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> HighlightSettings:
        """Read a mapping: what its preset says, overridden by the mapping itself.

        Raises:
            PluginConfigError: an unknown key, or a value that is not allowed.
        """
        try:
            msgspec.convert(dict(config), cls, dec_hook=decode_quantity)  # an error in it is its own, not the preset's
            given = _merged(PRESETS[config.get("preset", "default")], config)
            settings = msgspec.convert(given, cls, dec_hook=decode_quantity)
        except msgspec.ValidationError as error:
            key, message = misfit(error)
            raise PluginConfigError(key, message + _meant(key, message)) from None
        for low, high in (("min_area", "max_area"), ("min_brightness", "max_brightness")):
            if getattr(settings.gate, low) > getattr(settings.gate, high):
                raise PluginConfigError(("gate", low), f"is above {high}, {getattr(settings.gate, high):g}")
        return settings


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    inner = {
        key: _merged(under[key], value)
        for key, value in over.items()
        if isinstance(value, Mapping) and isinstance(under.get(key), Mapping)
    }
    return {**under, **over, **inner}


def _meant(key: tuple[str | int, ...], message: str) -> str:
    """The end of the message: what may be written, where that can be told."""
    if message == UNKNOWN_KEY:
        fields = [f.encode_name for kind in (HighlightSettings, GateSettings) for f in msgspec.structs.fields(kind)]
        near = get_close_matches(str(key[-1]), fields, n=1)
        return f"; did you mean {near[0]!r}?" if near else ""
    if message.startswith("Invalid enum value"):
        return f"; write one of {', '.join(PRESETS if key[0] == 'preset' else LABELS)}"
    return ""

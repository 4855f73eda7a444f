"""Where a new scene begins: cuts, said on the first frame behind them. Runs offline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from visualbase.frame import Frame
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation
from visualpath_scene.change import ChangeMeter
from visualpath_scene.cuts import CutJudge

INPUT_WIDTH = 256
"""PySceneDetect's own command shrinks pictures to about this, too."""


class SceneConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The extractor's `config:` mapping.

    Attributes:
        threshold: a change with a score below this is no cut. The default is PySceneDetect's 27 of 255.
        ratio: nor is one below this many times the score of the frame before; 0: leave that out.
        min_scene_s: nor is one sooner than this after the last cut, in seconds of event time.
    """

    threshold: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.106
    ratio: Annotated[float, msgspec.Meta(ge=0, le=100)] = 2.0
    min_scene_s: Annotated[float, msgspec.Meta(ge=0, le=60)] = 0.5

    @classmethod
    def parse(cls, config: Mapping[str, Any]) -> SceneConfig:
        """Check a mapping.

        Raises:
            ValueError: an unknown key, or a value that is not allowed.
        """
        try:
            return msgspec.convert(dict(config), cls)
        except msgspec.ValidationError as err:
            raise ValueError(
                f"scene: {err}; allowed are threshold (above 0, up to 1), ratio (0 to 100) and min_scene_s (0 to 60)"
            ) from err


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """The scene that a frame belongs to.

    Attributes:
        number: how many came before it in this epoch.
        frame_id: its first frame, of those that were looked at.
        t_ns: event time of that in ns.
        gap_ns: so long before that, in ns, the last frame of the scene before it was looked at: the cut lies between
            the two. 0 for the scene that the epoch begins with.
    """

    number: int
    frame_id: int
    t_ns: int
    gap_ns: int


class SceneExtractor(BaseExtractor):
    """Finds cuts. A gradual transition counts as one only where it jumps.

    Signals:
        cut: 1.0 on the first frame of a scene that a cut leads to, else 0.0.
        score: how much the frame differs from the one that was looked at before it, 0 to 1; 0.0 if there was none.
        age_s: seconds since the scene's first frame.

    Data: `Scene`.

    Args:
        config: see `SceneConfig`.

    Raises:
        ValueError: the configuration has an unknown key or a value that is not allowed.
    """

    name = "scene"
    input_width = INPUT_WIDTH
    pixel_format = "bgr"

    models: type[ChangeMeter]

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        checked = SceneConfig.parse(self.config)
        self._judge = CutJudge(checked.threshold, checked.ratio, round(checked.min_scene_s * 1e9))
        self._meter: ChangeMeter | None = None
        self._scene: Scene | None = None
        self._last_ns = 0

    @classmethod
    def load_models(cls, config: Mapping[str, Any]) -> type[ChangeMeter]:
        """Import PySceneDetect and let it compare two pictures; there is no model to be shared."""
        SceneConfig.parse(config)
        meter = ChangeMeter()
        for _ in range(2):
            meter.change(np.zeros((INPUT_WIDTH * 9 // 16, INPUT_WIDTH, 3), np.uint8))
        return ChangeMeter

    def extract(self, frame: Frame) -> Observation[Scene]:
        """Compare one picture of shape (height, width, 3), in B, G, R order, with the one before."""
        if self._meter is None:
            self._meter = self.models()
        score = self._meter.change(frame.data)
        is_cut = self._judge.is_cut(score, frame.t_ns)
        if self._scene is None or is_cut:
            number, gap_ns = (self._scene.number + 1, frame.t_ns - self._last_ns) if self._scene else (0, 0)
            self._scene = Scene(number=number, frame_id=frame.frame_id, t_ns=frame.t_ns, gap_ns=gap_ns)
        self._last_ns = frame.t_ns
        signals = {"cut": float(is_cut), "score": score or 0.0, "age_s": (frame.t_ns - self._scene.t_ns) / 1e9}
        return Observation(signals=signals, data=self._scene)

    def reset(self) -> None:
        """Forget the last picture and the scene it was in."""
        self._judge.reset()
        self._meter = None
        self._scene = None

    def close(self) -> None:
        """Free the last picture."""
        self._meter = None

"""The one class a plug-in author writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from visualbase.frame import Frame
from visualpath.core.observation import Observation

Extracted = Observation[Any] | list[Observation[Any]] | None


class BaseExtractor(ABC):
    """Looks at frames and says what it sees.

    The host makes one object per stream (trackers and filters belong to one stream) and calls it from
    one thread, frame by frame, in order. It calls `load_models` once per process and sets `models`
    on each object before the first frame, so that heavy models are loaded once and shared.

    Class attributes:
        name: the extractor's name; also its default source name.
        version: the plug-in's own version, reported by `vpctl`.
        input_width: the picture is decoded at the smallest of the scales 1/8 ... 8/8 that is at least
            this wide (pixels); None: full size.
        pixel_format: "bgr" for (height, width, 3), "gray" for (height, width, 1), which decodes faster.

    Args:
        config: the extractor's `config:` mapping from visualpath.yaml; raise ValueError for a bad one.
    """

    name: ClassVar[str] = ""
    version: ClassVar[str] = "1.0.0"
    input_width: ClassVar[int | None] = None
    pixel_format: ClassVar[Literal["bgr", "gray"]] = "bgr"

    models: Any = None

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.config: dict[str, Any] = dict(config or {})

    @classmethod
    def load_models(cls, config: Mapping[str, Any]) -> Any:
        """Load what is heavy and can be shared between streams; the result becomes `self.models`."""
        return None

    @abstractmethod
    def extract(self, frame: Frame) -> Extracted:
        """Look at one frame.

        Returns:
            One observation, several, or None when there was nothing to see. An exception costs the
            host a SKIP for this frame with the exception's text, never the daemon.
        """

    def reset(self) -> None:
        """Forget everything about the past: a new epoch has begun."""

    def close(self) -> None:
        """Give back what this object holds (the host closes shared models that have a `close`)."""

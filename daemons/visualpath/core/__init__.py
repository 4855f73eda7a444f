"""The pure platform core: no clock, socket, thread, file or process.

`from visualpath.core import BaseExtractor, Observation` works; each name is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visualpath.core.extractor import BaseExtractor
    from visualpath.core.fusion import BaseFusion, FusionResult
    from visualpath.core.observation import Observation
    from visualpath.core.trigger import Trigger

__all__ = ["BaseExtractor", "BaseFusion", "FusionResult", "Observation", "Trigger"]

_HOME = {
    "BaseExtractor": "extractor",
    "BaseFusion": "fusion",
    "FusionResult": "fusion",
    "Observation": "observation",
    "Trigger": "trigger",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)

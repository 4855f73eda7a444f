"""Running extractors and deciding: the host, the workers, and what feeds them.

Each name is imported when it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visualpath.process.ipc import FusionProcess
    from visualpath.process.launcher import WorkerLauncher
    from visualpath.process.orchestrator import ExtractorOrchestrator
    from visualpath.process.subprocess_worker import ProcessWorker, VenvWorker
    from visualpath.process.worker import BaseWorker, InlineWorker, ThreadWorker, WorkerResult

__all__ = [
    "BaseWorker",
    "ExtractorOrchestrator",
    "FusionProcess",
    "InlineWorker",
    "ProcessWorker",
    "ThreadWorker",
    "VenvWorker",
    "WorkerLauncher",
    "WorkerResult",
]

_HOME = {
    "BaseWorker": "worker",
    "ExtractorOrchestrator": "orchestrator",
    "FusionProcess": "ipc",
    "InlineWorker": "worker",
    "ProcessWorker": "subprocess_worker",
    "ThreadWorker": "worker",
    "VenvWorker": "subprocess_worker",
    "WorkerLauncher": "launcher",
    "WorkerResult": "worker",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)

"""From an extractor and how far it is to be kept apart to a worker."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visualpath.core.errors import PluginError
from visualpath.core.extractor import BaseExtractor
from visualpath.core.isolation import IsolationLevel
from visualpath.process.subprocess_worker import DEFAULT_START_TIMEOUT_S, DEFAULT_TIMEOUT_S, ProcessWorker, VenvWorker
from visualpath.process.worker import BaseWorker, InlineWorker, ThreadWorker

log = logging.getLogger(__name__)


class WorkerLauncher:
    """Makes workers."""

    @staticmethod
    def create(
        extractor_cls: type[BaseExtractor],
        isolation: IsolationLevel = IsolationLevel.INLINE,
        venv_path: str | Path | None = None,
        config: Mapping[str, Any] | None = None,
        *,
        source: str | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        start_timeout_s: float = DEFAULT_START_TIMEOUT_S,
        fallback: bool = True,
    ) -> BaseWorker:
        """A worker that is ready to work.

        Args:
            extractor_cls: the extractor.
            isolation: where it runs.
            venv_path: the venv's folder, for level VENV.
            config: the extractor's configuration.
            source: the name that its observations carry; None: the class's own.
            timeout_s: how long a frame may take in a process of its own.
            start_timeout_s: how long that process may take to start.
            fallback: where its process cannot be started or does not get ready, work in the caller's thread, and log
                that; it is not isolated then, and what crashed or hung that process may do so here. False: raise.

        Raises:
            PluginError: it cannot start.
        """
        if isolation is IsolationLevel.INLINE:
            return InlineWorker(extractor_cls, config, source)
        if isolation is IsolationLevel.THREAD:
            return ThreadWorker(extractor_cls, config, source)
        try:
            if isolation is IsolationLevel.PROCESS:
                return ProcessWorker(
                    extractor_cls, config, source, timeout_s=timeout_s, start_timeout_s=start_timeout_s
                )
            if venv_path is None:
                raise PluginError(f"extractor {extractor_cls.name!r} is to run in a venv of its own: give venv_path")
            return VenvWorker(
                extractor_cls, venv_path, config, source, timeout_s=timeout_s, start_timeout_s=start_timeout_s
            )
        except PluginError as error:
            if not fallback:
                raise
            log.warning("extractor %r works without isolation: %s", extractor_cls.name, error)
            return InlineWorker(extractor_cls, config, source)

"""From the extractors that a person names to workers in their venvs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from visualpath.core.errors import PluginError
from visualpath.ctl.plugin_venvs import registered
from visualpath.plugin.models import use_models_dir
from visualpath.process.subprocess_worker import VenvWorker
from visualpath.process.worker import BaseWorker
from visualpath.runtime.config import Config

T = TypeVar("T")
log = logging.getLogger(__name__)

FRAME_TIMEOUT_S = 60.0
"""Nobody waits for a live picture here; a slow machine may take its time."""


def start_workers(names: Sequence[str], config: Config | None, venvs_dir: Path) -> list[BaseWorker]:
    """A worker for each extractor, started at the same time.

    One that the configuration names runs as it says; another runs with its defaults, in the first venv that has it
    and in which it starts: one of its own name first, then the others by name.

    Raises:
        PluginError: one of them cannot start, or is in no venv.
    """
    if config is not None:
        use_models_dir(config.models_dir)
    starting = [_in_background(_start, name, config, venvs_dir) for name in names]
    started = [each.result() for each in starting if each.exception() is None]
    for each in starting:
        if each.exception() is not None:
            close_all(started)
            each.result()
    return started


def close_all(workers: Sequence[BaseWorker]) -> None:
    """Close them at the same time: each may take a while."""
    with ThreadPoolExecutor(max(1, len(workers))) as pool:
        for worker in workers:
            pool.submit(worker.close)


def _in_background(function: Callable[..., T], *args: Any) -> Future[T]:
    """In a thread that Ctrl-C need not wait for, as it must for those of a pool."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function(*args))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _start(name: str, config: Config | None, venvs_dir: Path) -> BaseWorker:
    configured = config.extractors.get(name) if config is not None else None
    if configured is not None:
        return VenvWorker(
            configured.plugin, venvs_dir / configured.venv, configured.config, name, timeout_s=FRAME_TIMEOUT_S
        )
    refused: PluginError | None = None
    for venv in venvs_with(name, venvs_dir):
        try:
            return VenvWorker(name, venv, None, name, timeout_s=FRAME_TIMEOUT_S)
        except PluginError as error:
            refused = error
            log.info("%s", error)
    raise refused or PluginError(_unknown(name, config, venvs_dir))


def _unknown(name: str, config: Config | None, venvs_dir: Path) -> str:
    known = set(config.extractors if config is not None else ())
    known |= {each.name for venv in venvs_dir.glob("*/") for each in registered(venv) if each.kind == "extractor"}
    meant = "".join(f"; did you mean {each}?" for each in get_close_matches(name, known, n=1))
    return (
        f"no extractor {name!r} in any venv under {venvs_dir}{meant}; there are {', '.join(sorted(known)) or 'none'}. "
        f"`make venvs` builds those of visualpath; a venv in another place must be named in visualpath.yaml, "
        f"as extractors.{name}.venv"
    )


def venvs_with(extractor: str, venvs_dir: Path) -> list[Path]:
    """The venvs in which a plug-in registers this extractor: one of its own name first, then by name."""
    wanted = ("extractor", extractor)
    having = [v for v in sorted(venvs_dir.glob("*/")) if wanted in {(each.kind, each.name) for each in registered(v)}]
    return sorted(having, key=lambda venv: venv.name != extractor)

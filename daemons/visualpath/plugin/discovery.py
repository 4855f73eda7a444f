"""Plug-ins register in the entry-point groups `visualpath.extractors` and `visualpath.fusions`.

Discovery runs in the venv that the plug-in is installed in; one that cannot be imported never hides the others. The
groups that early documents named are read, too, with a warning.

Some ML libraries report to their makers what they are used for, ONNX Runtime since 1.29 with the names and hashes of
the models. What a box films, and how, is nobody else's business: they are told not to before any of them is imported.
"""

from __future__ import annotations

import logging
import os
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from visualpath.core.errors import PluginError
from visualpath.core.extractor import BaseExtractor
from visualpath.core.fusion import BaseFusion

log = logging.getLogger(__name__)

EXTRACTORS = "visualpath.extractors"
FUSIONS = "visualpath.fusions"
OLD_NAMES = {EXTRACTORS: "analysiscore.extractors", FUSIONS: "analysiscore.fusions"}
"""Of each group, in early documents."""

NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}
"""Environment variables; a value that the operator set stays."""


def discover_extractors() -> dict[str, type[BaseExtractor]]:
    """Every extractor class of this venv by name; one that cannot be imported is logged and left out."""
    return _discover(EXTRACTORS, BaseExtractor)


def discover_fusions() -> dict[str, type[BaseFusion]]:
    """Every fusion class of this venv by name; one that cannot be imported is logged and left out."""
    return _discover(FUSIONS, BaseFusion)


def load_extractor(name: str) -> type[BaseExtractor]:
    """One extractor class; PluginError with the cause if it is not there or cannot be imported."""
    return _load_named(EXTRACTORS, name, BaseExtractor)


def load_fusion(name: str) -> type[BaseFusion]:
    """One fusion class; PluginError with the cause if it is not there or cannot be imported."""
    return _load_named(FUSIONS, name, BaseFusion)


def registered(group: str) -> list[EntryPoint]:
    """What is registered in a group of this venv, or by its old name if no other plug-in has the same name."""
    points = list(entry_points(group=group))
    names = {point.name for point in points}
    old = [point for point in entry_points(group=OLD_NAMES[group]) if point.name not in names]
    for point in old:
        _warn_of_old_name(group, point.name, point.dist.name if point.dist is not None else "the plug-in")
    return points + old


@cache
def _warn_of_old_name(group: str, name: str, distribution: str) -> None:
    """Once for each plug-in."""
    log.warning(
        "plug-in %r is in the entry-point group %s, an old name: write %s in the pyproject.toml of %s",
        name, OLD_NAMES[group], group, distribution,
    )  # fmt: skip


def _discover(group: str, base: type[Any]) -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for point in registered(group):
        try:
            found[point.name] = load(point, base)
        except PluginError as error:
            log.error("%s", error)
    return found


def _load_named(group: str, name: str, base: type[Any]) -> type[Any]:
    points = registered(group)
    point = next((point for point in points if point.name == name), None)
    if point is None:
        installed = ", ".join(sorted({point.name for point in points})) or "none"
        raise PluginError(f"no plug-in {name!r} in the group {group} of this venv; installed here: {installed}")
    return load(point, base)


def load(point: EntryPoint, base: type[Any]) -> type[Any]:
    """The class of an entry point; PluginError with the cause if it cannot be imported, or is no `base`."""
    for variable, value in NO_TELEMETRY.items():
        os.environ.setdefault(variable, value)
    try:
        plugin = point.load()
    except Exception as error:
        raise PluginError(
            f"plug-in {point.name!r} ({point.value}) cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        raise PluginError(f"plug-in {point.name!r} ({point.value}) is no {base.__name__}")
    return plugin

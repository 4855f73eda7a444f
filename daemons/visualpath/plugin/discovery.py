"""Plug-ins register in the entry-point groups `visualpath.extractors` and `visualpath.fusions`.

Discovery runs in the venv that the plug-in is installed in; one that cannot be imported never hides the others.
"""

from __future__ import annotations

import logging
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from visualpath.core.errors import PluginError
from visualpath.core.extractor import BaseExtractor
from visualpath.core.fusion import BaseFusion

log = logging.getLogger(__name__)

EXTRACTORS = "visualpath.extractors"
FUSIONS = "visualpath.fusions"


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


def _discover(group: str, base: type[Any]) -> dict[str, type[Any]]:
    found: dict[str, type[Any]] = {}
    for point in entry_points(group=group):
        try:
            found[point.name] = _load(point, base)
        except PluginError as error:
            log.error("%s", error)
    return found


def _load_named(group: str, name: str, base: type[Any]) -> type[Any]:
    points = entry_points(group=group)
    point = next((point for point in points if point.name == name), None)
    if point is None:
        installed = ", ".join(sorted(points.names)) or "none"
        raise PluginError(f"no plug-in {name!r} in the group {group} of this venv; installed here: {installed}")
    return _load(point, base)


def _load(point: EntryPoint, base: type[Any]) -> type[Any]:
    try:
        plugin = point.load()
    except Exception as error:
        raise PluginError(
            f"plug-in {point.name!r} ({point.value}) cannot be imported: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        raise PluginError(f"plug-in {point.name!r} ({point.value}) is no {base.__name__}")
    return plugin

"""Making the decision of a stream from the configuration, the same way for the daemon, the replay and the library."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec

from visualpath.core.align import AlignParams
from visualpath.core.errors import ConfigError, PluginConfigError, PluginError
from visualpath.core.fusion import BaseFusion
from visualpath.core.stream_fusion import StreamFusion
from visualpath.core.stream_types import Firings
from visualpath.plugin.discovery import load_fusion
from visualpath.runtime.config import Config
from visualpath.runtime.sections import FusionConfig
from visualpath.runtime.yaml_source import YamlSource
from visualpath_protocol.messages import COUNT_MAX


class StreamSetup(msgspec.Struct, kw_only=True, frozen=True):
    """What the decision on one stream depends on, besides the section `fusion`.

    Attributes:
        pace: of the stream.
        expected: the sources that frames wait for, with stride and phase.
        groups: the name by which rules know a source, where it is another than its own.
    """

    pace: str
    expected: dict[str, tuple[int, int]]
    groups: dict[str, str]

    def group_of(self, source: str) -> str:
        """The name by which rules know a source."""
        return self.groups.get(source, source)


def setup_of(config: Config, stream: str) -> StreamSetup:
    """One stream's part of the configuration."""
    extractors = {name: config.extractors[name] for name in config.extractors_of(stream)}
    return StreamSetup(
        pace=config.streams[stream].pace,
        expected={name: (each.stride, each.phase) for name, each in extractors.items() if each.expected},
        groups={name: group for name in config.extractors if (group := config.group_of(name)) != name},
    )


def check_fusion(config: Config) -> None:
    """Whether the decision can be made as visualpath.yaml says; each rule was checked when it was read.

    Raises:
        PluginError: the plug-in cannot start.
        ConfigError: it is not in this venv or cannot be imported, its configuration is wrong, or an extractor that it
            needs is lacking; with file, line and key.
    """
    plugin = config.fusion.plugin
    source = YamlSource(config.path, config.variables)
    try:
        load_fusion(plugin)
    except PluginError as error:
        raise source.error(("fusion", "plugin"), str(error)) from error
    try:
        fusion = make_fusion(config.fusion)
    except PluginConfigError as error:
        raise source.error(error.key, error.message) from error
    groups = {extractor.group for extractor in config.extractors.values()}
    for needed in fusion.depends:
        if needed not in groups:
            raise source.error(("fusion", "plugin"), f"{plugin!r} needs the extractor {needed!r}: add it to extractors")


def make_stream_fusion(
    fusion: FusionConfig, stream: str, setup: StreamSetup, firings: Firings, now: int
) -> StreamFusion:
    """The decision of one stream.

    Args:
        firings: the last firing of each label, from before a restart.
        now: monotonic ns.

    Raises:
        PluginError, ConfigError: the fusion plug-in cannot be made.
    """
    return StreamFusion(
        stream,
        align_params(fusion, setup.pace),
        make_fusion(fusion),
        firings,
        expected=setup.expected,
        group_of=setup.group_of,
        now=now,
    )


def align_params(config: FusionConfig, pace: str) -> AlignParams:
    """The aligner's parameters for a stream.

    The documents' multiplier becomes the allowed lateness beyond the window. A stream that is read as fast
    as it can be has no relation to the clock: there event time may run ahead of it, and only STREAM tells epochs.
    """
    params = AlignParams(
        window_ns=config.window_ns,
        allowed_lateness_ns=round((config.late_arrival_threshold - 1) * config.window_ns),
        idle_timeout_ns=config.idle_timeout_ns,
    )
    if pace != "fast":
        return params
    return replace(params, future_guard_ns=COUNT_MAX, reset_backstep_ns=COUNT_MAX, jump_confirm=0)


def make_fusion(config: FusionConfig) -> BaseFusion:
    """A fresh decision object, one per stream.

    Raises:
        PluginError, ConfigError: it cannot be made.
    """
    plugin: Any = load_fusion(config.plugin)
    if config.plugin == "rules":
        if not config.rules:
            raise ConfigError("fusion.rules is empty: no moment would ever be found; add a rule")
        fusion: BaseFusion = plugin(config.rules)
        return fusion
    try:
        fusion = plugin(config.config)
    except PluginConfigError as error:
        raise PluginConfigError(("fusion", "config", *error.key), error.message) from error
    except Exception as error:
        raise PluginError(f"fusion {config.plugin!r} cannot start: {type(error).__name__}: {error}") from error
    return fusion

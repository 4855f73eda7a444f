"""The section `extractors` of visualpath.yaml: what is written there, and the daemons that come of it.

An extractor with `instances: n` becomes n daemons that share its frames. Rules know them by its name, their group.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any

import msgspec
from msgspec import Meta, field

from visualpath.core.extractor import DropStrategy
from visualpath.core.units import Duration
from visualpath.runtime.yaml_source import YamlSource, nearest
from visualpath_protocol.errors import InvalidName
from visualpath_protocol.messages import check_name

MAX_DAEMONS = 64
"""As many sources as fusion takes."""
MAX_EVERY = 1_000_000
"""Of 30 frames a second: one in 9 hours."""


class ExtractorSection(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One extractor as it is written.

    Attributes:
        plugin: entry point in `visualpath.extractors`; default: the extractor's name.
        venv: folder in `venvs_dir`, or an absolute path.
        streams: the streams it looks at; default: all.
        expected: whether fusion waits for it.
        hang_timeout_ns: how long one inference may take before the source counts as down.
        drop: which frames it leaves out when it is slower than the stream.
        every: with `keyframe_only`: it looks at one of so many frames.
        instances: how many daemons share its frames.
        depends: the extractors whose observations of the same frame it needs.
        config: handed to the plug-in.
    """

    plugin: str = ""
    venv: str = "light"
    streams: list[str] | None = None
    expected: bool = True
    hang_timeout_ns: Duration = field(default=Duration(10_000_000_000), name="hang_timeout")
    drop: DropStrategy = "skip_oldest"
    every: Annotated[int, Meta(ge=2, le=MAX_EVERY)] | None = None
    instances: Annotated[int, Meta(ge=1, le=MAX_DAEMONS)] = 1
    depends: list[str] = []
    config: dict[str, Any] = {}


class ExtractorConfig(ExtractorSection, frozen=True, kw_only=True):
    """One extractor daemon.

    Attributes:
        group: the extractor that it is, or is a part of, as it is written.
        stride, phase: it looks at the frames with `frame_id` mod `stride` = `phase`.
    """

    group: str
    stride: int = 1
    phase: int = 0

    def looks_at(self, frame_id: int) -> bool:
        """Whether it says anything about a frame."""
        return frame_id % self.stride == self.phase


def expand(
    source: YamlSource, sections: Mapping[str, ExtractorSection], streams: Collection[str]
) -> dict[str, ExtractorConfig]:
    """Every extractor daemon by its name.

    Args:
        streams: the streams of the configuration.

    Raises:
        ConfigError: with file, line and key.
    """
    count = 0
    for name, section in sections.items():
        _check(source, name, section, streams)
        count += section.instances
        if count > MAX_DAEMONS:
            message = f"with it there are {count} extractor daemons, fusion takes {MAX_DAEMONS}: take some out"
            raise source.error(("extractors", name), message)
    _check_depends(source, sections, streams)
    daemons = {daemon: config for name in sections for daemon, config in _daemons(source, name, sections)}
    _check_keyframes(source, sections, daemons)
    return daemons


def _check(source: YamlSource, name: str, section: ExtractorSection, streams: Collection[str]) -> None:
    if section.streams == []:
        raise source.error(("extractors", name, "streams"), "name at least one; without this key it looks at all")
    for index, stream in enumerate(section.streams or []):
        if stream not in streams:
            known = nearest(stream, streams)
            raise source.error(("extractors", name, "streams", index), f"no stream is called {stream!r}{known}")
    for key, names in (("streams", section.streams or []), ("depends", section.depends)):
        for index, each in enumerate(names):
            if each in names[:index]:
                raise source.error(("extractors", name, key, index), f"{each!r} stands here twice: take one out")
    if not section.hang_timeout_ns:
        raise source.error(("extractors", name, "hang_timeout"), "must be above 0: every inference would be a hang")
    if section.drop == "keyframe_only" and section.every is None:
        raise source.error(("extractors", name, "drop"), "keyframe_only needs `every: N`, the distance of keyframes")
    if section.drop != "keyframe_only" and section.every is not None:
        raise source.error(("extractors", name, "every"), f"goes with `drop: keyframe_only`, not with {section.drop}")


def _check_depends(source: YamlSource, sections: Mapping[str, ExtractorSection], streams: Collection[str]) -> None:
    for name, section in sections.items():
        for index, other in enumerate(section.depends):
            place = ("extractors", name, "depends", index)
            if other not in sections:
                known = nearest(other, sections)
                raise source.error(place, f"no extractor is called {other!r}{known}")
            unseen = sorted(_streams(section, streams) - _streams(sections[other], streams))
            if unseen:
                raise source.error(place, f"{other!r} does not look at {', '.join(unseen)}, as {name!r} does")
    try:
        TopologicalSorter({name: section.depends for name, section in sections.items()}).prepare()
    except CycleError as error:
        cycle: list[str] = error.args[1][::-1]
        raise source.error(("extractors", cycle[0], "depends"), f"a cycle: {' -> '.join(cycle)}") from None


def _check_keyframes(
    source: YamlSource, sections: Mapping[str, ExtractorSection], daemons: Mapping[str, ExtractorConfig]
) -> None:
    """Whether each daemon has frames that all it depends on look at: those whose number is a multiple of `needed`."""
    order = TopologicalSorter({name: section.depends for name, section in sections.items()}).static_order()
    distance: dict[str, int] = {}
    needed: dict[str, int] = {}
    for name in order:
        needed[name] = math.lcm(*(distance[other] for other in sections[name].depends))
        distance[name] = math.lcm(sections[name].every or 1, needed[name])
    for daemon, config in daemons.items():
        if config.phase % math.gcd(config.stride, needed[config.group]):
            raise source.error(
                ("extractors", config.group, "instances"),
                f"{daemon!r} would never get a frame that {' and '.join(config.depends)} look at, one of "
                f"{needed[config.group]}: write `drop: keyframe_only` and `every: {needed[config.group]}` here, too",
            )


def _streams(section: ExtractorSection, streams: Collection[str]) -> set[str]:
    return set(streams if section.streams is None else section.streams)


def _daemons(
    source: YamlSource, name: str, sections: Mapping[str, ExtractorSection]
) -> Iterator[tuple[str, ExtractorConfig]]:
    section = sections[name]
    written = msgspec.structs.asdict(section) | {"plugin": section.plugin or name}
    every = section.every or 1
    for number in range(section.instances):
        daemon = f"{name}-{number}" if section.instances > 1 else name
        if daemon != name:
            _check_daemon_name(source, name, daemon, sections)
        yield daemon, ExtractorConfig(**written, group=name, stride=section.instances * every, phase=number * every)


def _check_daemon_name(source: YamlSource, name: str, daemon: str, sections: Mapping[str, ExtractorSection]) -> None:
    place = ("extractors", name, "instances")
    if daemon in sections:
        raise source.error(place, f"one of them is called {daemon!r}, which is another extractor: rename that")
    try:
        check_name("extractor", daemon)
    except InvalidName as error:
        raise source.error(place, f"one of them: {error}") from error

"""visualpath.yaml: one file for all daemons, strict, with errors that name file, line and key.

Relative paths are relative to the file. Durations and sizes carry their unit: `500ms`, `256MiB`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import msgspec

from visualbase.address import SCHEMES
from visualpath.core.errors import ConfigError, RuleError
from visualpath.core.rules import RuleConfig
from visualpath.core.strict import UNKNOWN_KEY, misfit
from visualpath.core.units import decode_quantity
from visualpath.runtime.extractors import ExtractorConfig, ExtractorSection, expand
from visualpath.runtime.hooks import HookConfig, check_hooks
from visualpath.runtime.redaction import Redaction, passwords, variables
from visualpath.runtime.sections import (
    ClipConfig,
    FusionConfig,
    LogConfig,
    RecordConfig,
    RingConfig,
    Section,
    StreamConfig,
    TraceConfig,
)
from visualpath.runtime.security import SecurityConfig, check_security
from visualpath.runtime.yaml_source import Key, YamlSource, nearest
from visualpath_protocol.endpoints import (
    CLIP,
    FUSION,
    WATCH,
    Endpoints,
    default_run_dir,
    extractor_daemon,
    frame_daemon,
)
from visualpath_protocol.errors import EndpointError, InvalidName
from visualpath_protocol.keys import Keyring
from visualpath_protocol.messages import check_name
from visualpath_protocol.security import check_address
from visualpath_protocol.sockets import LINKS

S = TypeVar("S")

MIN_TIMEOUT_NS = 100_000_000

RECORD_MIN_BYTES = 8 << 20
"""A file is an eighth of it, and must take the largest OBS."""


class _Root(Section, frozen=True):
    run_dir: str = ""
    state_dir: str = "state"
    venvs_dir: str = ".venvs"
    models_dir: str = "models"
    allow_plain_loopback: bool = False
    endpoints: dict[str, str] = {}
    security: SecurityConfig = SecurityConfig()
    streams: dict[str, Any] = {}
    extractors: dict[str, Any] = {}
    ring: RingConfig = RingConfig()
    fusion: FusionConfig = FusionConfig()
    clip: ClipConfig = ClipConfig()
    log: LogConfig = LogConfig()
    trace: TraceConfig = TraceConfig()
    record: RecordConfig = RecordConfig()
    hooks: dict[str, Any] = {}


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """The whole configuration, checked, with all paths absolute.

    Attributes:
        variables: the values of the `${NAME}` in the file.
    """

    path: Path
    run_dir: Path
    state_dir: Path
    venvs_dir: Path
    models_dir: Path
    ring_dir: Path
    clips_dir: Path
    trace_dir: Path
    record_dir: Path
    allow_plain_loopback: bool
    endpoint_overrides: dict[str, str]
    keys_dir: Path
    keys: Keyring | None
    streams: dict[str, StreamConfig]
    extractors: dict[str, ExtractorConfig]
    ring: RingConfig
    fusion: FusionConfig
    clip: ClipConfig
    log: LogConfig
    trace: TraceConfig
    record: RecordConfig
    hooks: dict[str, HookConfig]
    variables: dict[str, str] = {}

    @property
    def redaction(self) -> Redaction:
        """What keeps secrets of the file out of what is shown."""
        return Redaction(passwords(s.source for s in self.streams.values()) | variables(self.variables))

    def endpoints(self) -> Endpoints:
        """The address of every link."""
        return Endpoints(self.run_dir, self.endpoint_overrides, self.keys)

    def streams_of(self, extractor: str) -> list[str]:
        """The streams an extractor looks at."""
        chosen = self.extractors[extractor].streams
        return list(self.streams) if chosen is None else list(chosen)

    def group_of(self, source: str) -> str:
        """The name that rules know a source by: that of its extractor, of which it may be one of several instances."""
        extractor = self.extractors.get(source)
        return extractor.group if extractor is not None else source

    def extractors_of(self, stream: str) -> list[str]:
        """The extractors that look at a stream."""
        return [name for name in self.extractors if stream in self.streams_of(name)]


def load_config(path: Path, environ: Mapping[str, str] = os.environ) -> Config:
    """Read and check visualpath.yaml.

    Args:
        environ: what `${NAME}` stands for.

    Raises:
        ConfigError: with file, line and key.
    """
    source = YamlSource(path, environ)
    root = _convert(source, source.data, _Root, ())
    base = path.resolve().parent
    run_dir = base / root.run_dir if root.run_dir else default_run_dir(base)
    config = Config(
        path=path.resolve(),
        run_dir=run_dir,
        state_dir=base / root.state_dir,
        venvs_dir=base / root.venvs_dir,
        models_dir=base / root.models_dir,
        ring_dir=base / root.ring.dir if root.ring.dir else Path("/dev/shm") / default_run_dir(base).name,  # noqa: S108
        clips_dir=base / root.clip.dir,
        trace_dir=base / (root.trace.dir or Path(root.state_dir) / "trace"),
        record_dir=base / (root.record.dir or Path(root.state_dir) / FUSION / "record"),
        allow_plain_loopback=root.allow_plain_loopback,
        endpoint_overrides=root.endpoints,
        keys_dir=base / root.security.keys,
        keys=root.security.keyring(base),
        streams=_convert_named(source, "streams", root.streams, StreamConfig),
        extractors=expand(
            source, _convert_named(source, "extractors", root.extractors, ExtractorSection), root.streams
        ),
        ring=root.ring,
        fusion=root.fusion,
        clip=root.clip,
        log=root.log,
        trace=root.trace,
        record=root.record,
        hooks=_convert_named(source, "hooks", root.hooks, HookConfig),
        variables=source.variables,
    )
    _check(config, source)
    check_security(root.security, _daemons(config), source)
    return _with_absolute_sources(config, base)


def _with_absolute_sources(config: Config, base: Path) -> Config:
    streams = {
        name: stream if "://" in stream.source else msgspec.structs.replace(stream, source=str(base / stream.source))
        for name, stream in config.streams.items()
    }
    return msgspec.structs.replace(config, streams=streams)


def _convert_named(source: YamlSource, section: str, entries: dict[str, Any], kind: type[S]) -> dict[str, S]:
    converted: dict[str, S] = {}
    for name, value in entries.items():
        try:
            check_name(section.removesuffix("s"), name)
        except InvalidName as error:
            raise source.error((section, name), str(error)) from error
        converted[name] = _convert(source, {} if value is None else value, kind, (section, name))
    return converted


def _convert(source: YamlSource, value: Any, kind: type[S], key: Key) -> S:
    try:
        return msgspec.convert(value, kind, dec_hook=decode_quantity)
    except msgspec.ValidationError as error:
        where, message = misfit(error)
        place = (*key, *where)
        if message == UNKNOWN_KEY:
            message += nearest(str(where[-1]), _all_keys())
        elif message.startswith("Invalid enum value"):
            message += f"; write {' or '.join(_choices(place))}"
        raise source.error(place, message) from None


def _all_fields() -> list[msgspec.structs.FieldInfo]:
    sections: list[type[msgspec.Struct]] = [
        *Section.__subclasses__(),
        ExtractorSection,
        RuleConfig,
        HookConfig,
        SecurityConfig,
    ]
    return [f for section in sections for f in msgspec.structs.fields(section)]


def _all_keys() -> set[str]:
    return {f.encode_name for f in _all_fields()}


def _choices(place: Key) -> tuple[str, ...]:
    """What may stand at a key that has a list of values. Sections have keys of the same name: its own counts first."""
    section = next((f.type for f in msgspec.structs.fields(_Root) if f.encode_name == place[0]), None)
    own = msgspec.structs.fields(section) if isinstance(section, type) and issubclass(section, Section) else ()
    key = next(each for each in reversed(place) if isinstance(each, str))  # not the place in a list
    types = (f.type for f in (*own, *_all_fields()) if f.encode_name == key)
    return next(filter(None, map(_listed, types)), ())


def _listed(kind: Any) -> tuple[str, ...]:
    """The values of a type that is, or holds, a list of values."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return next(filter(None, map(_listed, get_args(kind))), ())


def _check(config: Config, source: YamlSource) -> None:
    """What no single key can say about itself."""
    if not config.streams:
        raise ConfigError(f"{source.path}: no streams: name at least one under `streams:`")
    for name, stream in config.streams.items():
        _check_stream(stream, ("streams", name), source)
    needed_ns = config.clip.pre_ns + config.clip.post_ns
    if config.ring.length_ns <= needed_ns:
        raise source.error(
            ("ring", "length"),
            f"{config.ring.length_ns / 1e9:g} s must exceed a clip's pre + post, {needed_ns / 1e9:g} s: make it longer",
        )
    rings_bytes = config.ring.max_bytes * len(config.streams)
    if 0 < config.ring.total_bytes < rings_bytes:
        message = f"{config.ring.total_bytes} bytes are less than size x {len(config.streams)} streams, {rings_bytes}"
        raise source.error(("ring", "total"), f"{message}: make it larger, or size smaller")
    if config.record.max_bytes < RECORD_MIN_BYTES:
        raise source.error(("record", "size"), "must be at least 8MiB; `enabled: false` keeps nothing")
    check_hooks(config.hooks, source)
    _check_rules(config, source)
    _check_endpoints(config, source)


def _check_stream(stream: StreamConfig, place: Key, source: YamlSource) -> None:
    scheme = re.match(r"([a-z0-9+]{2,}):(//?)", stream.source, re.IGNORECASE)
    if scheme is not None and (scheme[1] not in SCHEMES or scheme[2] == "/"):  # the rest may hold a password
        known = ", ".join(f"{name}://" for name in SCHEMES)
        raise source.error((*place, "source"), f"nothing reads {scheme[0]}...; give a path or one of {known}")
    if stream.timeout_ns < MIN_TIMEOUT_NS:
        raise source.error((*place, "timeout"), "must be at least 100ms")


def _check_rules(config: Config, source: YamlSource) -> None:
    if config.fusion.plugin != "rules" and config.fusion.rules:
        raise source.error(("fusion", "rules"), f"is for the plug-in rules, not for {config.fusion.plugin!r}")
    if config.fusion.plugin == "rules" and config.fusion.config:
        raise source.error(("fusion", "config"), "is for other plug-ins: rules take theirs from `rules`")
    groups = {extractor.group for extractor in config.extractors.values()}
    labels: set[str] = set()
    for index, rule in enumerate(config.fusion.rules):
        place = ("fusion", "rules", index)
        checks: dict[str, Callable[[], object]] = {
            "when": rule.condition,
            "score": rule.score_signal,
            "within": rule.check_within,
            "min_score": rule.check_min_score,
        }
        for key, check in checks.items():
            try:
                check()
            except RuleError as error:
                raise source.error((*place, key), str(error)) from error
        for signal_source, _ in (*rule.condition().signals(), *filter(None, [rule.score_signal()])):
            if signal_source not in groups:
                known = nearest(signal_source, groups)
                raise source.error((*place, "when"), f"no extractor is called {signal_source!r}{known}")
        if rule.label in labels:  # the label is part of a trigger's id, and of the memory of firings
            raise source.error(
                (*place, "label"), f"{rule.label!r} is another rule's label already: join the two with any"
            )
        labels.add(rule.label)
        if config.ring.length_ns <= config.clip.pre_ns + max(rule.for_ns, rule.within_ns):
            message = f"this and clip.pre must fit into ring.length, {config.ring.length_ns / 1e9:g} s"
            raise source.error((*place, "within" if rule.within_ns else "for"), message)


def _daemons(config: Config) -> list[str]:
    return [CLIP, FUSION, WATCH, *map(extractor_daemon, config.extractors), *map(frame_daemon, config.streams)]


def _check_endpoints(config: Config, source: YamlSource) -> None:
    links = [f"{daemon}/{link.name}" for daemon in _daemons(config) for link in LINKS]
    for name, address in config.endpoint_overrides.items():
        if name not in links:
            raise source.error(("endpoints", name), "there is no such <daemon>/<link>" + nearest(name, links))
        try:
            check_address(address, keyed=config.keys is not None, allow_plain_loopback=config.allow_plain_loopback)
        except EndpointError as error:
            raise source.error(("endpoints", name), str(error)) from None
    try:
        for name in links:
            config.endpoints().address(*name.split("/"))
    except EndpointError as error:
        raise source.error(("run_dir",), str(error)) from None

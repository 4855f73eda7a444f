"""visualpath.yaml: one file for all daemons, strict, with errors that name file, line and key.

Relative paths are relative to the file. Durations and sizes carry their unit: `500ms`, `256MiB`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Meta, field

from visualbase.address import SCHEMES
from visualpath.core.errors import ConfigError, RuleError
from visualpath.core.rules import RuleConfig
from visualpath.core.strict import UNKNOWN_KEY, misfit
from visualpath.core.units import Duration, Size, decode_quantity
from visualpath.runtime.extractors import ExtractorConfig, ExtractorSection, expand
from visualpath.runtime.hooks import HookConfig, check_hooks
from visualpath.runtime.redaction import Redaction, passwords, variables
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

PRESET_WINDOWS_NS = {
    "realtime": Duration(100_000_000),
    "batch": Duration(200_000_000),
    "low_latency": Duration(50_000_000),
}

MIN_TIMEOUT_NS = 100_000_000

RECORD_MIN_BYTES = 8 << 20
"""A file is an eighth of it, and must take the largest OBS."""


class _Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Base of the sections: unknown keys are errors."""


class StreamConfig(_Section, frozen=True):
    """One camera or file.

    Attributes:
        source: path of a video file or a folder of pictures, or an address: see `visualbase.sources`.
        timeout_ns: of a live source: how long to wait for the connection, and for the next picture.
        pace: realtime (as the time stamps say) or fast (as fast as it can be read); a live source has its own.
        loop: begin again at the end, on the same time line; a live source has none.
        jpeg_quality: of the frames in the ring, 1 to 100.
        ready_timeout_ns: hold the first frame until every configured consumer has subscribed, at most this long.
    """

    source: str
    timeout_ns: Duration = field(default=Duration(5_000_000_000), name="timeout")
    pace: Literal["realtime", "fast"] = "realtime"
    loop: bool = False
    jpeg_quality: Annotated[int, Meta(ge=1, le=100)] = 85
    ready_timeout_ns: Duration = field(default=Duration(0), name="ready_timeout")


class RingConfig(_Section, frozen=True):
    """The ring of recent frames, per stream: how long and how large at most; it wants a tmpfs.

    Attributes:
        total_bytes: what the rings of all streams may take together; 0: what they come to.
    """

    dir: str = ""
    length_ns: Duration = field(default=Duration(30_000_000_000), name="length")
    max_bytes: Size = field(default=Size(256 << 20), name="size")
    total_bytes: Size = field(default=Size(0), name="total")


class FusionConfig(_Section, frozen=True):
    """Alignment and decision.

    Attributes:
        plugin: entry point in `visualpath.fusions`.
        preset: the documents' modes, each a window: realtime 100 ms, batch 200 ms, low_latency 50 ms.
        window_ns: how long a frame waits for its observations; 0: as the preset says.
        late_arrival_threshold: window x (this - 1) is how late an observation may still be surfaced.
        idle_timeout_ns: after this silence a source is no longer waited for.
        max_rate: messages a second that one source may send for each of its streams; what is more is dropped.
        rules: for the plug-in `rules`.
        config: for other plug-ins.
    """

    plugin: str = "rules"
    preset: Literal["realtime", "batch", "low_latency"] = "realtime"
    window_ns: Duration = field(default=Duration(0), name="window")
    late_arrival_threshold: Annotated[float, Meta(ge=1.0, le=100.0)] = 1.5
    idle_timeout_ns: Duration = field(default=Duration(1_000_000_000), name="idle_timeout")
    max_rate: Annotated[int, Meta(ge=1, le=10_000_000)] = 2000
    rules: list[RuleConfig] = []
    config: dict[str, Any] = {}

    def __post_init__(self) -> None:
        """A window that is not given is the preset's."""
        if not self.window_ns:
            msgspec.structs.force_setattr(self, "window_ns", PRESET_WINDOWS_NS[self.preset])


class ClipConfig(_Section, frozen=True):
    """Clips.

    Attributes:
        dir: where they go.
        pre_ns: how much before the moment.
        post_ns: how much after it.
        stall_timeout_ns: a clip is closed when its stream has been silent for so long.
        max_length_ns: triggers that overlap share a clip, which is made no longer than this by joining.
        format: mjpeg, the frames as they were; or h264, which takes their place in the background.
        quota_bytes: all clips together; the oldest are deleted. 0: no bound.
        min_free_bytes: to be left on their disk, of which it is at most a tenth; the oldest are deleted. 0: no bound.
        retention_ns: how old a clip may become, in time that the clip daemon runs. 0: for ever.
    """

    dir: str = "clips"
    pre_ns: Duration = field(default=Duration(5_000_000_000), name="pre")
    post_ns: Duration = field(default=Duration(5_000_000_000), name="post")
    stall_timeout_ns: Duration = field(default=Duration(5_000_000_000), name="stall_timeout")
    max_length_ns: Duration = field(default=Duration(60_000_000_000), name="max_length")
    format: Literal["mjpeg", "h264"] = "h264"
    quota_bytes: Size = field(default=Size(0), name="quota")
    min_free_bytes: Size = field(default=Size(1 << 30), name="min_free")
    retention_ns: Duration = field(default=Duration(0), name="retention")


class LogConfig(_Section, frozen=True):
    """Log lines on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class TraceConfig(_Section, frozen=True):
    """What happened to each frame, in a file of JSON lines for each daemon.

    Attributes:
        level: how much, at the start of a daemon; `vpctl trace level` changes it while it runs.
        dir: where the files go; default: `trace` in `state_dir`.
        max_bytes: how large one file becomes.
        keep: how many older files of each daemon are kept.
    """

    level: Literal["off", "minimal", "normal", "verbose"] = "off"
    dir: str = ""
    max_bytes: Size = field(default=Size(64 << 20), name="size")
    keep: Annotated[int, Meta(ge=0, le=1000)] = 3


class RecordConfig(_Section, frozen=True):
    """What fusion keeps of its inputs, for `vpctl replay` and `vpctl explain`.

    Attributes:
        enabled: whether anything is kept.
        dir: where the files go; default: `fusion/record` in `state_dir`.
        max_bytes: of all files together; the oldest go first.
    """

    enabled: bool = True
    dir: str = ""
    max_bytes: Size = field(default=Size(64 << 20), name="size")


class _Root(_Section, frozen=True):
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
        *_Section.__subclasses__(),
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
    own = msgspec.structs.fields(section) if isinstance(section, type) and issubclass(section, _Section) else ()
    types = (f.type for f in (*own, *_all_fields()) if f.encode_name == place[-1])
    return next((get_args(kind) for kind in types if get_origin(kind) is Literal), ())


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

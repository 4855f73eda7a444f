"""The sections of visualpath.yaml and their keys; what they must be together, `config` checks."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, field

from visualpath.core.rules import RuleConfig
from visualpath.core.units import Duration, Size

PRESET_WINDOWS_NS = {
    "realtime": Duration(100_000_000),
    "batch": Duration(200_000_000),
    "low_latency": Duration(50_000_000),
}


class Section(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Base of the sections: unknown keys are errors."""


class StreamConfig(Section, frozen=True):
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


class RingConfig(Section, frozen=True):
    """The ring of recent frames, per stream: how long and how large at most; it wants a tmpfs.

    Attributes:
        total_bytes: what the rings of all streams may take together; 0: what they come to.
    """

    dir: str = ""
    length_ns: Duration = field(default=Duration(30_000_000_000), name="length")
    max_bytes: Size = field(default=Size(256 << 20), name="size")
    total_bytes: Size = field(default=Size(0), name="total")


class FusionConfig(Section, frozen=True):
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


class ClipConfig(Section, frozen=True):
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


class LogConfig(Section, frozen=True):
    """Log lines on stderr."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["text", "json"] = "text"


class TraceConfig(Section, frozen=True):
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


class RecordConfig(Section, frozen=True):
    """What fusion keeps of its inputs, for `vpctl replay` and `vpctl explain`.

    Attributes:
        enabled: whether anything is kept.
        dir: where the files go; default: `fusion/record` in `state_dir`.
        max_bytes: of all files together; the oldest go first.
    """

    enabled: bool = True
    dir: str = ""
    max_bytes: Size = field(default=Size(64 << 20), name="size")

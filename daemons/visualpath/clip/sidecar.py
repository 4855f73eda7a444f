"""A clip's sidecar: what the clip is, why it was kept and what it lacks, as JSON beside it."""

from __future__ import annotations

import functools
import json
import math
from importlib import metadata
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np

from visualbase.clip import ClipTimeline
from visualbase.verify import sha256_of
from visualpath.clip.files import POSTER_SUFFIX, SIDECAR_SUFFIX
from visualpath.clip.order import ClipOrder
from visualpath.runtime.files import write_durably
from visualpath_protocol import PROTOCOL_VERSION
from visualpath_protocol.clock import rfc3339, wall_ns
from visualpath_protocol.messages import FrameHeader

SCHEMA = 2
MAX_DEPTH = 50
"""Levels of a trigger's metadata that are kept; JSON's encoder gives up at some hundreds."""

Sidecar = dict[str, Any]


def make_sidecar(
    order: ClipOrder,
    timeline: ClipTimeline,
    ends: tuple[FrameHeader, FrameHeader],
    size: tuple[int, int],
    origin_ns: int | None,
) -> Sidecar:
    """What is said of a clip whatever file it has; `with_file` adds that.

    Args:
        order: what was asked for.
        timeline: closed; at least one frame was taken.
        ends: the first frame of the clip and the last one.
        size: (width, height) of the pictures.
        origin_ns: the source's own time at event time 0, as far as the frame daemon has said it.
    """
    first, last = ends
    return {
        "schema": SCHEMA,
        "clip_id": order.clip_id,
        "software": software(),
        "stream": order.stream,
        "epoch": order.epoch,
        "origin_ns": origin_ns,
        "triggers": [as_json(msgspec.to_builtins(trig, enc_hook=np.ndarray.tolist)) for trig in order.triggers],
        "asked": [timeline.start_ns, timeline.end_ns],
        "delivered": list(timeline.delivered or ()),
        "gaps": [{"from": gap.from_ns, "to": gap.to_ns, "reason": gap.reason} for gap in timeline.gaps],
        "frames": timeline.frames,
        "first_frame_id": first.frame_id,
        "last_frame_id": last.frame_id,
        "first_frame_wall_ns": first.wall_ns,
        "first_frame_utc": rfc3339(first.wall_ns),
        "last_frame_utc": rfc3339(last.wall_ns),
        "width": size[0],
        "height": size[1],
    }


def with_file(sidecar: Sidecar, content: Path, final: Path, codec: str) -> Sidecar:
    """The sidecar of a clip that will lie at `final` and is `content` at present."""
    return {
        **sidecar,
        "clip": final.name,
        "poster": final.with_suffix(POSTER_SUFFIX).name,
        "codec": codec,
        "size_bytes": content.stat().st_size,
        "sha256": sha256_of(content),
        "saved_utc": rfc3339(wall_ns()),
    }


def write_sidecar(sidecar: Sidecar, clip: Path) -> None:
    """Put it beside the clip, all or nothing.

    Raises:
        OSError: the disk refuses.
    """
    text = json.dumps(sidecar, indent=1, ensure_ascii=False)
    write_durably(clip.with_suffix(SIDECAR_SUFFIX), text.encode() + b"\n")


def read_sidecar(clip: Path) -> Sidecar:
    """The sidecar of a clip.

    Raises:
        OSError: there is none.
        ValueError: it is none.
    """
    sidecar = json.loads(clip.with_suffix(SIDECAR_SUFFIX).read_bytes())
    if not isinstance(sidecar, dict) or not isinstance(sidecar.get("sha256"), str):
        raise ValueError("it is no sidecar")
    return sidecar


def as_json(value: Any, depth: int = 0) -> Any:
    """Builtins as JSON can have them: a plug-in's metadata may be anything that MessagePack takes.

    NaN and infinity become null, and what lies too deep a text that says so.
    """
    if depth > MAX_DEPTH:
        return "too deep"
    if isinstance(value, dict):
        return {str(key): as_json(each, depth + 1) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(each, depth + 1) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@functools.cache
def software() -> dict[str, str]:
    """Versions of what makes clips."""
    return {
        "visualpath": metadata.version("visualpath"),
        "protocol": PROTOCOL_VERSION,
        "av": av.__version__,
        "ffmpeg": av.ffmpeg_version_info,
    }

"""Reads a clip again and holds it against its sidecar."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from av.error import FFmpegError

from visualbase import jpeg
from visualbase.errors import DamagedJpeg

_TICK_NS = 1000


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    return _digest(path)[0]


def verify_clip(path: Path, known: dict[str, Any] | None = None) -> list[str]:
    """What is wrong with a clip: its file, its pictures, their times, its poster, or its sidecar. Empty: nothing.

    Args:
        path: of the clip; sidecar and poster lie beside it.
        known: what the sidecar should say, from elsewhere; without it, only what contradicts the clip is found.
    """
    try:
        # In this order: while the H.264 takes the JPEGs' place, the sidecar changes first and speaks of both.
        sha256, size_bytes = _digest(path)
        sidecar = json.loads(path.with_suffix(".json").read_bytes())
        wrong = _check_file(sha256, size_bytes, sidecar) + _check_poster(path, sidecar)
        if known is not None and sidecar != known:
            wrong.append("its sidecar is not the one that was saved")
        return wrong + _check_pictures(path, sidecar) + _check_cover(sidecar)
    except OSError as error:
        return [f"it cannot be read: {error.strerror}: {error.filename}"]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        return [f"its sidecar cannot be understood: {type(error).__name__}: {error}"]


def _digest(path: Path) -> tuple[str, int]:
    """SHA-256 in hex, and how many bytes went into it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest(), file.tell()


def _check_file(sha256: str, size_bytes: int, sidecar: dict[str, Any]) -> list[str]:
    """It may still be the file that is being replaced."""
    for told in (sidecar, sidecar.get("replaces", {})):
        if sha256 == told.get("sha256"):
            said = told["size_bytes"]
            return [] if size_bytes == said else [f"the file has {size_bytes} bytes, the sidecar says {said}"]
    return [f"the file is not the one that was saved: its SHA-256 is {sha256}, not {sidecar['sha256']}"]


def _check_poster(path: Path, sidecar: dict[str, Any]) -> list[str]:
    poster = path.with_name(sidecar["poster"])
    try:
        jpeg.decode(poster.read_bytes(), width_at_least=None, pixel_format="gray")
    except FileNotFoundError:
        return [f"the poster {poster.name} is absent"]
    except DamagedJpeg as error:
        return [f"the poster {poster.name} is damaged: {error}"]
    return []


def _check_pictures(path: Path, sidecar: dict[str, Any]) -> list[str]:
    try:
        times, end = _decode(path)
    except FFmpegError as error:
        return [f"not every picture decodes: {error.strerror}"]
    wrong = []
    if len(times) != sidecar["frames"]:
        wrong.append(f"{len(times)} pictures decode, the sidecar says {sidecar['frames']}")
    if any(after <= before for before, after in pairwise(times)):
        wrong.append("the times of the pictures do not rise")
    first_ns, until_ns = sidecar["delivered"]
    if times and (times[0] != 0 or abs(end * _TICK_NS - (until_ns - first_ns)) > _TICK_NS):
        wrong.append(f"it lasts {end / 1e6:.6f} s, the sidecar says {(until_ns - first_ns) / 1e9:.6f} s")
    return wrong


def _decode(path: Path) -> tuple[list[int], int]:
    """The time of each picture, and the end of the last, in µs."""
    times: list[int] = []
    end = 0
    with av.open(f"file:{path}") as container:
        if not container.streams.video:
            return times, end
        stream = container.streams.video[0]
        for packet in container.demux(stream):
            if packet.pts is not None:
                end = max(end, round((packet.pts + (packet.duration or 0)) * packet.time_base * 1_000_000))
            times += [
                round(frame.pts * frame.time_base * 1_000_000)
                for frame in packet.decode()
                if frame.pts is not None and frame.time_base is not None
            ]
    return times, end


def _check_cover(sidecar: dict[str, Any]) -> list[str]:
    """What was delivered and the gaps together are what was asked."""
    start, end = sidecar["asked"]
    spans = [tuple(sidecar["delivered"]), *((gap["from"], gap["to"]) for gap in sidecar["gaps"])]
    covered = start
    for from_ns, to_ns in sorted(spans):
        if from_ns > covered:
            return [f"the sidecar says nothing of {covered} to {from_ns} ns"]
        covered = max(covered, to_ns)
    return [f"the sidecar says nothing of {covered} to {end} ns"] if covered < end else []

"""One clip in the making: frames from the ring into a file with a temporary name, then its sidecar."""

from __future__ import annotations

import hashlib
import json
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from visualbase.clip import ClipTimeline, GapReason, Shown
from visualbase.errors import DamagedJpeg, Evicted, MediaError
from visualbase.mux import MjpegMp4Writer
from visualbase.ring import RingReader
from visualpath.runtime.files import publish, sync_dir, write_durably
from visualpath_protocol.clock import rfc3339
from visualpath_protocol.messages import FrameHeader, Trig

log = logging.getLogger(__name__)

SIDECAR_SCHEMA = 1
TEMPORARY_SUFFIX = ".part"


class ClipFailed(MediaError):
    """There is no clip, for the reason given."""


class Recording:
    """Collects the frames of one trigger's clip.

    Args:
        trig: the trigger.
        span: event time asked for: (first instant, last instant).
        frame_ns: nominal frame interval.
        reader: the stream's ring.
        clips_dir: where clips go.

    Attributes:
        completed_by: the first frame past the span, which nothing more is wanted after; None while it has not come.
    """

    def __init__(self, trig: Trig, span: tuple[int, int], frame_ns: int, reader: RingReader, clips_dir: Path) -> None:
        self.trig = trig
        self.timeline = ClipTimeline(*span, frame_ns)
        self.completed_by: FrameHeader | None = None
        self._reader = reader
        self._clips_dir = clips_dir
        self._temporary = temporary_path(clips_dir, trig.trig_id)
        self._writer: MjpegMp4Writer | None = None
        self._first: FrameHeader | None = None
        self._final: Path | None = None
        self._failure = ""

    def feed(self, header: FrameHeader) -> bool:
        """Take the next frame of the epoch; True when no more is wanted: the clip is complete, or has failed."""
        self._take(self.timeline.feed(header))
        if self.timeline.closed:
            self.completed_by = header
        return self.timeline.closed or bool(self._failure)

    def finish(self, reason: GapReason) -> None:
        """No further frame will come."""
        self._take(self.timeline.finish(reason))

    def save(self) -> tuple[Path, dict[str, Any]]:
        """Give the finished clip its name; returns its path and the sidecar's content.

        Raises:
            ClipFailed: no frame could be had, or the disk refuses.
        """
        if self._failure:
            raise ClipFailed(self._failure)
        delivered = self.timeline.delivered
        if self._writer is None or self._first is None or delivered is None:
            reasons = sorted({gap.reason for gap in self.timeline.gaps})
            raise ClipFailed(f"no frame of the span is to be had: {', '.join(reasons)}")
        try:
            self._writer.finish(delivered[1])
            self._writer = None
            sha256 = sha256_of(self._temporary)
            path = self._final = self._final_path(self._first)
            path.parent.mkdir(parents=True, exist_ok=True)
            sync_dir(path.parent.parent)
            sidecar = self._sidecar(self._first, delivered, path, sha256)
            write_durably(path.with_suffix(".json"), json.dumps(sidecar, indent=1).encode() + b"\n")
            publish(self._temporary, path)  # last: whoever finds the clip finds its sidecar
        except (OSError, MediaError) as error:
            raise ClipFailed(f"cannot be written: {error}") from error
        return path, sidecar

    def abort(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            self._writer.abort()
            self._writer = None
        leftovers = [self._temporary]
        if self._final is not None:
            leftovers += [self._final, self._final.with_suffix(".json")]
        for path in leftovers:
            with suppress(OSError):
                path.unlink()

    def _take(self, shown: Shown | None) -> None:
        if shown is None or self._failure:
            return
        payload = next((p for p in shown.header.payloads if p.kind == "jpeg"), None)
        if payload is None:
            self.timeline.lost(shown, "not_received")
            return
        try:
            self._write(self._reader.read(payload), shown.header)
        except Evicted:
            self.timeline.lost(shown, "evicted")
        except DamagedJpeg as error:
            log.warning("%s: %s", shown.header, error)
            self.timeline.lost(shown, "not_received")
        except (OSError, MediaError) as error:
            self._failure = f"cannot be written: {error}"
        else:
            self.timeline.taken(shown)

    def _write(self, picture: bytes, header: FrameHeader) -> None:
        if self._writer is None:
            self._temporary.parent.mkdir(parents=True, exist_ok=True)
            self._writer = MjpegMp4Writer(self._temporary, width=header.width, height=header.height)
        self._writer.add(picture, header.t_ns)
        self._first = self._first or header

    def _final_path(self, first: FrameHeader) -> Path:
        """A folder per UTC day of the first frame; the id makes the name unique, the rest is for people."""
        when = rfc3339(first.wall_ns)
        day, clock = when[:10], when[11:19].replace(":", "")
        name = f"{self.trig.stream}_{day.replace('-', '')}T{clock}Z_{self.trig.label}_{self.trig.trig_id}.mp4"
        return self._clips_dir / day / name

    def _sidecar(self, first: FrameHeader, delivered: tuple[int, int], path: Path, sha256: str) -> dict[str, Any]:
        timeline = self.timeline
        return {
            "schema": SIDECAR_SCHEMA,
            "clip": path.name,
            "sha256": sha256,
            "format": "mjpeg",
            "stream": self.trig.stream,
            "epoch": self.trig.epoch,
            "triggers": [msgspec.to_builtins(self.trig)],
            "asked": [timeline.start_ns, timeline.end_ns],
            "delivered": list(delivered),
            "frames": timeline.frames,
            "first_frame_id": first.frame_id,
            "gaps": [{"from": gap.from_ns, "to": gap.to_ns, "reason": gap.reason} for gap in timeline.gaps],
            "first_frame_wall_ns": first.wall_ns,
            "first_frame_utc": rfc3339(first.wall_ns),
        }


def temporary_path(clips_dir: Path, trig_id: str) -> Path:
    """Where a clip is written before it has its name; on the same file system, so that the rename is atomic."""
    return clips_dir / ".recording" / f"{trig_id}.mp4{TEMPORARY_SUFFIX}"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def find_saved(clips_dir: Path, trig: Trig) -> tuple[Path, dict[str, Any]] | None:
    """The clip and sidecar of a trigger, should they be on disk already: the ledger may not have heard of it."""
    for path in clips_dir.glob(f"*/*_{trig.trig_id}.mp4"):
        try:
            return path, json.loads(path.with_suffix(".json").read_bytes())
        except (OSError, ValueError) as error:
            log.warning("%s has no readable sidecar (%s): it is made again", path, error)
    return None

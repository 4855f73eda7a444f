"""Where the files of clips lie: a folder per UTC day, and one for what is not finished.

All names are made of validated names, numbers and hex digits, so that nothing from the wire is a path.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from visualpath.clip.order import ClipOrder
from visualpath_protocol.clock import rfc3339
from visualpath_protocol.messages import FrameHeader

log = logging.getLogger(__name__)

SIDECAR_SUFFIX = ".json"
POSTER_SUFFIX = ".jpg"
COMPANIONS = (SIDECAR_SUFFIX, POSTER_SUFFIX)


class ClipFolder:
    """The folder `clip.dir`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unfinished = path / ".recording"

    def part(self, clip_id: str) -> Path:
        """Where a clip is written before it has its name; on the same file system, so that the rename is atomic."""
        return self.unfinished / f"{clip_id}.mp4.part"

    def journal(self, clip_id: str) -> Path:
        """What the part holds."""
        return self.unfinished / f"{clip_id}.journal"

    def h264(self, clip_id: str) -> Path:
        """Where the H.264 form of a clip is written."""
        return self.unfinished / f"{clip_id}.h264.part"

    def final(self, order: ClipOrder, first: FrameHeader) -> Path:
        """A clip's name: the day and time of its first frame are for people, the id makes it unique."""
        when = rfc3339(first.wall_ns)
        day, clock = when[:10], when[11:19].replace(":", "")
        name = f"{order.stream}_{day.replace('-', '')}T{clock}Z_{order.label}_{order.clip_id}.mp4"
        return self.path / day / name

    def named(self, clip_id: str) -> list[Path]:
        """The clips of this id that have a name already."""
        return sorted(self.path.glob(f"*/*_{clip_id}.mp4"))

    def companions(self, clip_id: str) -> list[Path]:
        """Sidecar and poster of a clip of this id."""
        return sorted(path for suffix in COMPANIONS for path in self.path.glob(f"*/*_{clip_id}{suffix}"))

    def discard(self, clip_id: str) -> None:
        """Delete whatever is unfinished of a clip."""
        delete(self._parts(clip_id))

    def sweep(self, clip_ids: Iterable[str]) -> int:
        """Delete what a crash left, except what is taken up again: parts and journals of `clip_ids`; returns how many.

        The folders of days are swept of what was being written beside a clip.
        """
        kept = {path.name for clip_id in clip_ids for path in self._parts(clip_id)}
        swept = 0
        left = [path for path in self.unfinished.glob("*") if path.name not in kept]
        for path in (*left, *self.path.glob("????-??-??/.*.tmp")):
            with suppress(OSError):
                path.unlink()
                log.info("swept %s", path.relative_to(self.path))
                swept += 1
        return swept

    def _parts(self, clip_id: str) -> list[Path]:
        """Part and journal of a clip, and those that are being read over into fresh ones."""
        fresh = [self.part(clip_id), self.journal(clip_id)]
        return fresh + [older(path) for path in fresh]


def older(path: Path) -> Path:
    """The name of a part or journal while it is read over into a fresh one."""
    return path.with_name(path.name + ".old")


def files_of(clip: Path) -> list[Path]:
    """A clip's files; the clip itself first, so that a sidecar without a clip is the worst that a crash leaves."""
    return [clip, *(clip.with_suffix(suffix) for suffix in COMPANIONS)]


def delete(paths: Iterable[Path]) -> None:
    """Delete what is there. Never fails."""
    for path in paths:
        with suppress(OSError):
            path.unlink()

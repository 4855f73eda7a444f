"""Which clips must go: quota, minimum free space, retention; the oldest first. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from visualpath.clip.ledger import SavedClip
from visualpath.runtime.sections import ClipConfig

MIN_FREE_SHARE = 10
"""`min_free` is at most this part of the disk: on a small one it would be all."""

Reason = str
"""`retention`, `quota` or `min_free`."""


@dataclass(frozen=True)
class Disk:
    """The file system of the clips, in bytes."""

    total_bytes: int
    free_bytes: int


def victims(
    oldest: Iterable[SavedClip], config: ClipConfig, disk: Disk, saved_bytes: int, needed_bytes: int, now_ns: int
) -> list[tuple[SavedClip, Reason]]:
    """The clips to delete, and why.

    Args:
        oldest: clips on disk that may be deleted: the expired ones, then in the order they were asked for.
        config: the bounds.
        disk: how full it is.
        saved_bytes: all clips together.
        needed_bytes: what clips that wait for room need.
        now_ns: on the ledger's clock, for the age alone.
    """
    min_free = min(config.min_free_bytes, disk.total_bytes // MIN_FREE_SHARE)
    short = min_free + needed_bytes - disk.free_bytes if min_free else 0
    over = saved_bytes + needed_bytes - config.quota_bytes if config.quota_bytes else 0
    found: list[tuple[SavedClip, Reason]] = []
    for clip in oldest:
        if config.retention_ns and now_ns - clip.saved_ns > config.retention_ns:
            reason = "retention"
        elif over > 0:
            reason = "quota"
        elif short > 0:
            reason = "min_free"
        else:
            break
        found.append((clip, reason))
        over -= clip.size_bytes
        short -= clip.size_bytes
    return found

"""Makes room: deletes the oldest clips by quota, minimum free space and retention."""

from __future__ import annotations

import shutil
from contextlib import suppress
from functools import partial

from visualpath.clip.files import ClipFolder, delete, files_of
from visualpath.clip.h264 import H264Maker
from visualpath.clip.ledger import Ledger, LedgerError, SavedClip
from visualpath.clip.maker import ClipMaker
from visualpath.clip.outcomes import Outcomes
from visualpath.clip.room import Disk, Reason, victims
from visualpath.clip.worker import Worker
from visualpath.runtime.config import ClipConfig
from visualpath_protocol.clock import mono_ns, wall_ns

AT_ONCE = 100
"""Clips deleted in one go; the next follows."""


class Housekeeper:
    """Belongs to the loop's thread; the worker deletes."""

    def __init__(
        self, config: ClipConfig, folder: ClipFolder, ledger: Ledger, outcomes: Outcomes, worker: Worker
    ) -> None:
        self._config = config
        self._folder = folder
        self._ledger = ledger
        self._outcomes = outcomes
        self._worker = worker
        self._deleting = False
        self._started_wall_ns = wall_ns() - mono_ns()

    def finish_deletions(self) -> None:
        """Go on with what a crash interrupted."""
        for clip, why in self._ledger.interrupted_deletions():
            self._delete([(clip, why)])

    def tidy(self, maker: ClipMaker, h264: H264Maker) -> None:
        """Delete what has to go. A clip that is being written is none of those on disk; that at hand stays.

        Raises:
            OSError: the disk does not say how full it is.
        """
        bounds = self._config.quota_bytes, self._config.min_free_bytes, self._config.retention_ns
        if self._deleting or not any(bounds):
            return
        total, _, free = shutil.disk_usage(self._folder.path)
        with suppress(LedgerError):  # counted by whoever writes to it; the files must go all the more
            now_wall_ns = self._wall_ns()
            expired = self._ledger.saved_before(now_wall_ns - self._config.retention_ns, AT_ONCE)
            clips = [*(expired if self._config.retention_ns else []), *self._ledger.oldest_saved(AT_ONCE)]
            oldest = {clip.clip_id: clip for clip in clips if clip.clip_id != h264.clip_id}.values()
            saved_bytes = self._ledger.saved_bytes()
            found = victims(oldest, self._config, Disk(total, free), saved_bytes, maker.needed_bytes(), now_wall_ns)
            if found:
                self._delete(found)

    def _wall_ns(self) -> int:
        """UTC, but not beyond what has passed since the start: a clock set forward makes no clip old."""
        return min(wall_ns(), self._started_wall_ns + mono_ns())

    def _delete(self, found: list[tuple[SavedClip, Reason]]) -> None:
        self._deleting = True
        for clip, why in found:
            self._outcomes.deleting(clip.clip_id, why)
        self._worker.submit(partial(self._delete_files, found), self._deleted)

    def _delete_files(self, found: list[tuple[SavedClip, Reason]]) -> list[tuple[SavedClip, Reason]]:
        """In the worker: returns the clips that are gone."""
        for clip, _ in found:
            path = self._folder.path / clip.path
            delete(files_of(path))
            with suppress(OSError):  # until it is empty
                path.parent.rmdir()
        return [each for each in found if not (self._folder.path / each[0].path).exists()]

    def _deleted(self, found: list[tuple[SavedClip, Reason]]) -> None:
        self._deleting = False
        for clip, why in found:
            self._outcomes.deleted(clip.clip_id, clip.path, why)

"""Makes room: deletes the oldest clips by quota, minimum free space and retention."""

from __future__ import annotations

import shutil
from contextlib import suppress
from functools import partial

import msgspec

from visualpath.clip.files import ClipFolder, delete, files_of
from visualpath.clip.h264 import H264Maker
from visualpath.clip.ledger import Ledger, LedgerError, SavedClip
from visualpath.clip.maker import ClipMaker
from visualpath.clip.outcomes import Outcomes
from visualpath.clip.room import Disk, Reason, victims
from visualpath.clip.worker import Worker
from visualpath.runtime.sections import ClipConfig
from visualpath_protocol.clock import NS_PER_S, mono_ns

AT_ONCE = 100
"""Clips deleted in one go; the next follows."""
KEEP_TIME_NS = 600 * NS_PER_S


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
        self._keep_time_ns = mono_ns() + KEEP_TIME_NS

    def finish_deletions(self) -> None:
        """Go on with what a crash interrupted."""
        for clip, why in self._ledger.interrupted_deletions():
            self._delete([(clip, why)])

    def tidy(self, maker: ClipMaker, h264: H264Maker) -> None:
        """Delete what has to go. A clip that is being written is none of those on disk; that at hand stays.

        Raises:
            OSError: the disk does not say how full it is.
        """
        config = self._config
        if self._outcomes.is_behind:  # its sums are not true then, those of the disk are; and it may wait for room
            config = msgspec.structs.replace(config, quota_bytes=0, retention_ns=0)
        if self._deleting or not any((config.quota_bytes, config.min_free_bytes, config.retention_ns)):
            return
        total, _, free = shutil.disk_usage(self._folder.path)
        with suppress(LedgerError):  # counted by whoever writes to it; the files must go all the more
            now_ns = self._ledger.now_ns()
            expired = self._ledger.saved_before(now_ns - config.retention_ns, AT_ONCE)
            clips = [*(expired if config.retention_ns else []), *self._ledger.oldest_saved(AT_ONCE)]
            oldest = {
                clip.clip_id: clip
                for clip in clips
                if clip.clip_id != h264.clip_id and not self._outcomes.is_behind_with(clip.clip_id)
            }.values()
            saved_bytes = self._ledger.saved_bytes()
            found = victims(oldest, config, Disk(total, free), saved_bytes, maker.needed_bytes(), now_ns)
            if found:
                self._delete(found)
            self._keep_time()

    def _keep_time(self) -> None:
        """Have the ledger remember how long it has run, now and then: what a crash forgets only makes clips younger."""
        now = mono_ns()
        if now >= self._keep_time_ns:
            self._keep_time_ns = now + KEEP_TIME_NS
            self._ledger.keep_time()

    def _delete(self, found: list[tuple[SavedClip, Reason]]) -> None:
        self._deleting = True
        for clip, why in found:
            self._outcomes.deleting(clip.clip_id, why)
        self._worker.submit(partial(self._delete_files, found), partial(self._deleted, found))

    def _delete_files(self, found: list[tuple[SavedClip, Reason]]) -> dict[str, OSError]:
        """In the worker: returns why a clip cannot be deleted, by its id."""
        refused: dict[str, OSError] = {}
        for clip, _ in found:
            path = self._folder.path / clip.path
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                refused[clip.clip_id] = error
                continue
            delete(files_of(path))
            with suppress(OSError):  # until it is empty
                path.parent.rmdir()
        return refused

    def _deleted(self, found: list[tuple[SavedClip, Reason]], refused: dict[str, OSError]) -> None:
        self._deleting = False
        for clip, why in found:
            if clip.clip_id in refused:
                self._outcomes.not_deleted(clip.clip_id, refused[clip.clip_id])
            else:
                self._outcomes.deleted(clip.clip_id, clip.path, why)

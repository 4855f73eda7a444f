"""What became of each clip: into the ledger, the counters, the log, the tap and the trace."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path

from visualpath.clip.files import files_of
from visualpath.clip.ledger import FoundClip, Ledger, LedgerError
from visualpath.clip.order import ClipOrder
from visualpath.clip.sidecar import Sidecar
from visualpath.observability import ClipRecord
from visualpath.runtime.service import Service
from visualpath_protocol.clock import NS_PER_S

log = logging.getLogger(__name__)


class Outcomes:
    """Tells everybody. What the ledger's disk refuses is tried again each second; a crash before that repeats it."""

    def __init__(self, service: Service, ledger: Ledger, clips_dir: Path, h264: str) -> None:
        self._service = service
        self._ledger = ledger
        self._clips_dir = clips_dir
        self._h264 = h264  # what is to be done with a clip of JPEGs
        self._uncommitted: deque[tuple[str, Callable[[], object]]] = deque()
        """Bounded: without a ledger no trigger is taken, so these are the clips in the making, and a few deletions."""
        service.loop.every(NS_PER_S, lambda _now: self.commit_again())

    def saved(self, order: ClipOrder, path: Path, sidecar: Sidecar) -> None:
        """The clip lies on disk."""
        relative = str(path.relative_to(self._clips_dir))
        size_bytes = size_of(path)
        h264 = self._h264 if sidecar["codec"] == "mjpeg" else "done"
        self.commit(order.clip_id, lambda: self._ledger.saved(order, relative, sidecar, size_bytes, h264))
        self._service.counters["clips.saved"] += 1
        gaps = ", ".join(f"{g['reason']} {(g['to'] - g['from']) / 1e9:.3f} s" for g in sidecar["gaps"])
        log.info("saved %s: %d frames%s", relative, sidecar["frames"], f"; lacks {gaps}" if gaps else "")
        self._tell(order, "saved", path=relative)

    def found(self, clips: list[tuple[ClipOrder, Path, Sidecar, int]]) -> None:
        """Clips lie on disk that the ledger does not know, newest first."""
        rows: list[FoundClip] = []
        for order, path, sidecar, size_bytes in clips:
            relative = str(path.relative_to(self._clips_dir))
            log.info("found again: %s", relative)
            h264 = self._h264 if sidecar.get("codec") == "mjpeg" else "done"
            rows.append((order, relative, sidecar, size_bytes, h264))
        self._service.counters["clips.found"] += len(rows)
        if rows:
            self.commit(rows[0][0].clip_id, lambda: self._ledger.found(rows))

    def failed(self, order: ClipOrder, why: str) -> None:
        """There is no clip."""
        log.error("no %s: %s", order, why)
        self.commit(order.clip_id, lambda: self._ledger.failed(order, why))
        self._service.counters["clips.failed"] += 1
        self._tell(order, "failed", why=why)

    def waiting(self, order: ClipOrder, why: str) -> None:
        """The clip cannot be made at present."""
        self._service.refusals.add("clips.no_space", f"{order}: {why}")
        if not self.is_behind_with(order.clip_id):  # it may wait for long, and is tried often
            self.commit(order.clip_id, lambda: self._ledger.waiting(order.clip_id, why))

    def deleting(self, clip_id: str, why: str) -> None:
        """The clip is about to be deleted."""
        self.commit(clip_id, lambda: self._ledger.deleting(clip_id, why))

    def deleted(self, clip_id: str, path: str, why: str) -> None:
        """The clip was deleted."""
        log.info("deleted %s: %s", path, why)
        self._service.counters[f"clips.deleted.{why}"] += 1
        self.commit(clip_id, lambda: self._ledger.deleted(clip_id, why))

    def not_deleted(self, clip_id: str, error: OSError) -> None:
        """The disk does not let the clip go: it stays, and is not condemned for the time when it could."""
        self._service.refusals.add("failed.deletion", error)
        self.commit(clip_id, lambda: self._ledger.kept(clip_id))

    def is_h264(self, clip_id: str, path: Path, sidecar: Sidecar) -> None:
        """The H.264 has taken the JPEGs' place."""
        relative, size_bytes = str(path.relative_to(self._clips_dir)), size_of(path)
        self.commit(clip_id, lambda: self._ledger.h264_done(clip_id, relative, sidecar, size_bytes))
        self._service.counters["h264.done"] += 1
        log.info("%s is H.264 now: %d bytes", relative, sidecar["size_bytes"])

    def no_h264(self, clip_id: str, why: str) -> None:
        """The clip stays as it is."""
        self._service.refusals.add("h264.failed", f"{clip_id}: {why}")
        self.commit(clip_id, lambda: self._ledger.h264_failed(clip_id, why))

    def unreadable(self, error: LedgerError) -> None:
        """The ledger does not say what is to be done."""
        self._service.refusals.add("failed.ledger", error)

    @property
    def is_behind(self) -> bool:
        """Whether the ledger does not know all outcomes yet."""
        return bool(self._uncommitted)

    def is_behind_with(self, clip_id: str) -> bool:
        """Whether the ledger does not know all outcomes of this clip yet."""
        return any(waiting == clip_id for waiting, _ in self._uncommitted)

    def commit(self, clip_id: str, outcome: Callable[[], object]) -> None:
        """Put an outcome into the ledger, after those of the same clip that wait for it."""
        if self.is_behind_with(clip_id) or not self._commit(clip_id, outcome):
            self._uncommitted.append((clip_id, outcome))

    def commit_again(self) -> None:
        """Try what was refused, in its order, up to what is refused once more: each attempt may take a while."""
        while self._uncommitted and self._commit(*self._uncommitted[0]):
            self._uncommitted.popleft()

    def _commit(self, clip_id: str, outcome: Callable[[], object]) -> bool:
        try:
            outcome()
        except LedgerError as error:
            self._service.refusals.add("failed.ledger", f"clip {clip_id}: {error}")
            return False
        return True

    def _tell(self, order: ClipOrder, state: str, *, path: str = "", why: str = "") -> None:
        """Each of its triggers has this clip, or none."""
        told = {"path": path} if path else {"why": why}
        for trig in order.triggers:
            self._service.emit("clip", {"trig_id": trig.trig_id, "state": state, **told})
            record = ClipRecord(trig.trig_id, state, path, why, stream=trig.stream, epoch=trig.epoch)
            self._service.trace.emit(record)


def size_of(clip: Path) -> int:
    """A clip's bytes on disk, sidecar and poster included."""
    return sum(path.stat().st_size for path in files_of(clip) if path.exists())

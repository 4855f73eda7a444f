"""One clip in the making: frames from the ring into a file with a temporary name, then all that belongs to a clip."""

from __future__ import annotations

import errno
import logging
from contextlib import suppress
from pathlib import Path

from visualbase import jpeg as jpegs
from visualbase.clip import ClipTimeline, GapReason, Shown
from visualbase.errors import DamagedJpeg, Evicted, MediaError, OtherSize
from visualbase.mux import MjpegMp4Writer
from visualbase.ring import RingReader
from visualpath.clip.files import POSTER_SUFFIX, ClipFolder, delete, files_of
from visualpath.clip.index import can_read
from visualpath.clip.journal import Entry, Journal, Salvage
from visualpath.clip.order import ClipOrder
from visualpath.clip.sidecar import Sidecar, make_sidecar, read_sidecar, with_file, write_sidecar
from visualpath.runtime.files import publish, sync_dir, write_durably
from visualpath_protocol.messages import FrameHeader

log = logging.getLogger(__name__)


NO_SPACE = "no space"
PASSING = {
    errno.ENOSPC: NO_SPACE,
    errno.EDQUOT: NO_SPACE,
    errno.EROFS: "the disk is read-only",
    errno.EIO: "the disk fails",
    errno.ENOMEM: "no memory",
    errno.EMFILE: "no file descriptors",
    errno.ENFILE: "no file descriptors",
}
"""Refusals of a disk, or of the system, that may pass while the ring still holds the frames."""


class ClipFailed(MediaError):
    """There is no clip, for the reason given."""


class DiskRefuses(MediaError):
    """The disk does not take the clip at present.

    Attributes:
        why: in a few words.
    """

    def __init__(self, message: str, why: str) -> None:
        super().__init__(message)
        self.why = why


class Recording:
    """Collects the frames of one clip. It is the loop's until it is closed; `save` is for another thread then.

    Args:
        order: what is asked for.
        frame_ns: nominal frame interval.
        reader: the stream's ring.
        folder: where clips go.

    Attributes:
        origin_ns: the source's own time at event time 0; None: unknown.
        began_ns: when it was begun (monotonic).
        completed_by: the first frame past the span, which nothing more is wanted after; None while it has not come.
        resized_at: the first frame that has another size than the clip, which had to end before it.
    """

    def __init__(self, order: ClipOrder, frame_ns: int, reader: RingReader, folder: ClipFolder) -> None:
        self.order = order
        self.timeline = ClipTimeline(*order.asked, frame_ns)
        self.completed_by: FrameHeader | None = None
        self.resized_at: FrameHeader | None = None
        self._reader = reader
        self._folder = folder
        self.origin_ns: int | None = None
        self.began_ns = 0
        self._salvage: Salvage | None = None
        self._writer: MjpegMp4Writer | None = None
        self._journal: Journal | None = None
        self._taken: list[FrameHeader] = []  # the first and the last
        self._size = (0, 0)
        self._poster = b""
        self._final: Path | None = None
        self._failure: MediaError | None = None

    def resume(self, salvage: Salvage) -> FrameHeader | None:
        """Take over what an earlier run left; returns the last frame of it."""
        last = None
        self._salvage = salvage
        for last in salvage.headers():
            if self.feed(last):
                break
        self._salvage = None
        if self._failure is None:
            salvage.discard()
        return last

    def feed(self, header: FrameHeader, absent: GapReason = "not_received") -> bool:
        """Take the next frame of the epoch; True when no more is wanted: the clip is complete, or has failed.

        Frames between this one and the one before it, by their numbers, are `absent`.
        """
        self._take(self.timeline.feed(header, absent))
        if self.timeline.closed and self.resized_at is None:
            self.completed_by = header
        return self.is_over

    @property
    def is_over(self) -> bool:
        """Whether no more is wanted."""
        return self.timeline.closed or self._failure is not None

    def finish(self, reason: GapReason) -> None:
        """No further frame will come."""
        self._take(self.timeline.finish(reason))

    def extend(self, order: ClipOrder) -> bool:
        """More is asked for; False if the beginning that is wanted can only be had by recording anew from the ring."""
        start_ns, end_ns = order.asked
        if start_ns < self.timeline.start_ns and self._is_all_in_ring():
            return False
        self.order = order
        self.timeline.ask_from(start_ns)
        self.timeline.ask_until(end_ns)
        return True

    def save(self) -> tuple[Path, Sidecar]:
        """Give the finished clip its name; returns its path and the sidecar's content.

        Raises:
            DiskRefuses: for a reason that may pass; nothing is left behind.
            ClipFailed: no frame could be had, or the disk refuses for good; nothing is left behind.
        """
        try:
            return self._save()
        except (OSError, MediaError) as error:
            self.abort()
            raise refusal(error) from error

    def abort(self) -> None:
        """Leave nothing behind."""
        if self._writer is not None:
            self._writer.abort()
            self._writer = None
        self._close_journal()
        clip_id = self.order.clip_id
        delete([self._folder.part(clip_id), self._folder.journal(clip_id)])
        if self._final is not None:
            delete(files_of(self._final))

    def leave(self) -> None:
        """Let the next run go on from here."""
        if self._writer is not None:
            self._writer.leave()
            self._writer = None
        self._close_journal()

    def _save(self) -> tuple[Path, Sidecar]:
        if self._failure is not None:
            raise self._failure
        delivered = self.timeline.delivered
        if self._writer is None or delivered is None:
            reasons = sorted({gap.reason for gap in self.timeline.gaps})
            raise ClipFailed(f"no frame of the span is to be had: {', '.join(reasons)}")
        self._writer.finish(delivered[1])
        self._writer = None
        first, last = self._taken
        part = self._folder.part(self.order.clip_id)
        path = self._folder.final(self.order, first)
        self._final = None if path.exists() else path  # what an earlier run has saved is not ours to delete
        path.parent.mkdir(parents=True, exist_ok=True)
        sync_dir(path.parent.parent)
        made = make_sidecar(self.order, self.timeline, (first, last), self._size, self.origin_ns)
        sidecar = with_file(made, part, path, "mjpeg")
        write_durably(path.with_suffix(POSTER_SUFFIX), self._poster)
        write_sidecar(sidecar, path)
        publish(part, path)  # last: whoever finds the clip finds its sidecar
        self._close_journal()
        delete([self._folder.journal(self.order.clip_id)])
        return path, sidecar

    def _is_all_in_ring(self) -> bool:
        """Whether nothing would be lost by beginning anew."""
        return not self._taken or can_read(self._reader, self._taken[0])

    def _take(self, shown: Shown | None) -> None:
        if shown is None or self._failure is not None:
            return
        try:
            self._write(self._picture(shown.header), shown)
        except Evicted:
            self._lose(shown, "evicted")
        except DamagedJpeg as error:
            log.warning("%s: %s", shown.header, error)
            self._lose(shown, "not_received")
        except OtherSize:
            self._end_before(shown)
        except (OSError, MediaError) as error:
            self._failure = refusal(error)

    def _picture(self, header: FrameHeader) -> bytes:
        if self._salvage is not None:
            with suppress(Evicted):
                return self._salvage.read(header)
        payload = next((p for p in header.payloads if p.kind == "jpeg"), None)
        if payload is None:
            raise DamagedJpeg("it has no JPEG")
        return self._reader.read(payload)

    def _write(self, picture: bytes, shown: Shown) -> None:
        header = shown.header
        if self._writer is None or self._journal is None:
            self._folder.unfinished.mkdir(parents=True, exist_ok=True)
            part = self._folder.part(self.order.clip_id)
            self._size = width, height = jpegs.size(picture)
            self._writer = MjpegMp4Writer(part, width=width, height=height)
            self._journal = Journal(self._folder.journal(self.order.clip_id))
        offset = self._writer.next_offset
        self._writer.add(picture, header.t_ns)
        self._journal.add(Entry(header, offset, len(picture)))
        self.timeline.taken(shown)
        self._taken = [*self._taken[:1], header] if self._taken else [header, header]
        if not self._poster or header.frame_id == self.order.triggers[0].frame_id:
            self._poster = picture

    def _lose(self, shown: Shown, reason: GapReason) -> None:
        self.timeline.lost(shown, reason)
        if self._journal is not None:
            with suppress(OSError):  # the next picture says that the disk is full
                self._journal.add(Entry(shown.header))

    def _end_before(self, shown: Shown) -> None:
        """The clip ends where pictures have another size: at this frame, of which it holds nothing."""
        self.resized_at = shown.header
        self.timeline.end_at(shown.header.t_ns, "size_change")

    def _close_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None


def find_saved(folder: ClipFolder, order: ClipOrder) -> tuple[Path, Sidecar] | None:
    """The clip and sidecar of an order, should they be on disk already: the ledger may not have heard of it."""
    clips = folder.named(order.clip_id)
    for path in clips:
        try:
            return path, read_sidecar(path)
        except (OSError, ValueError) as error:  # it stays: the ring may not have its frames any more
            log.warning("%s has no readable sidecar (%s): it is made again", path, error)
    if not clips:
        delete(folder.companions(order.clip_id))
    return None


def refusal(error: OSError | MediaError) -> DiskRefuses | ClipFailed:
    """What an error of the disk means for a clip."""
    if isinstance(error, (DiskRefuses, ClipFailed)):
        return error
    cause = error if isinstance(error, OSError) else error.__cause__
    why = PASSING.get(getattr(cause, "errno", None) or 0)  # FFmpeg's ENOMEM is no OSError
    message = f"cannot be written: {error}"
    return ClipFailed(message) if why is None else DiskRefuses(message, why)

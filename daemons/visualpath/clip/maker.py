"""The clips in the making: which wait, which are recorded, which are being saved."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from visualbase.errors import MediaError
from visualpath.clip.files import ClipFolder
from visualpath.clip.ledger import Ledger, LedgerError
from visualpath.clip.order import ClipOrder, place, span_of
from visualpath.clip.outcomes import Outcomes
from visualpath.clip.recording import ClipFailed, DiskRefuses, Recording, find_saved, refusal
from visualpath.clip.sidecar import Sidecar
from visualpath.clip.stream import ClipStream
from visualpath.clip.worker import Worker
from visualpath.runtime.sections import ClipConfig
from visualpath_protocol.clock import NS_PER_MS, mono_ns
from visualpath_protocol.messages import FrameHeader, StreamState, Trig

RETRY_NS = 500 * NS_PER_MS
GRACE_NS = 2_000 * NS_PER_MS
"""After a crash, triggers on their way come again before a clip that they may belong to is gone on with."""
SLACK_BYTES = 64 << 10
"""What a clip needs beside its pictures: index, sidecar, poster, journal."""
MAX_WAITING = 1000

Saved = tuple[Path, Sidecar]


@dataclass
class _Waiting:
    """A clip that is not recorded now: the disk has refused it, too many are already, or it is taken up again."""

    order: ClipOrder
    refused: str = ""
    not_before_ns: int = 0


class ClipMaker:
    """Turns orders into clips. An order is open, so that it can grow, until its recording is closed."""

    def __init__(
        self,
        streams: dict[str, ClipStream],
        config: ClipConfig,
        folder: ClipFolder,
        ledger: Ledger,
        outcomes: Outcomes,
        worker: Worker,
    ) -> None:
        self.on_saved: Callable[[Recording], None] = lambda _recording: None
        self.on_failed: Callable[[ClipOrder], None] = lambda _order: None
        self.on_no_space: Callable[[], None] = lambda: None
        self._streams = streams
        self._config = config
        self._folder = folder
        self._ledger = ledger
        self._outcomes = outcomes
        self._worker = worker
        self._open: dict[str, ClipOrder] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._saving: dict[str, ClipOrder] = {}
        self._retry_ns = 0

    @property
    def unfinished(self) -> int:
        """Clips in the making."""
        return len(self._open) + len(self._saving)

    @property
    def waiting(self) -> int:
        """Those of them that wait for room on the disk, or for others."""
        return len(self._waiting)

    def orders(self) -> list[ClipOrder]:
        """All clips in the making."""
        return [*self._open.values(), *self._saving.values()]

    def makes(self, clip_id: str) -> bool:
        """Whether this clip is in the making."""
        return clip_id in self._open or clip_id in self._saving

    @property
    def is_overloaded(self) -> bool:
        """Whether no further clip can be taken at present."""
        return len(self._waiting) >= MAX_WAITING

    def needed_bytes(self) -> int:
        """What the clips need that wait for room on the disk."""
        waiting = [each.order for each in self._waiting.values() if each.refused]
        return sum(SLACK_BYTES + (self._streams[order.stream].bytes_of(order) or 0) for order in waiting)

    def is_far_ahead(self, trig: Trig) -> bool:
        """Whether a trigger's moment lies where no frame is yet: its clip would fill the disk, or wait for ever."""
        stream, limit_ns = self._streams[trig.stream], trig.t_end_ns - self._config.max_length_ns
        newest_ns = stream.newest_ns(trig.epoch)
        if newest_ns is None or newest_ns < limit_ns:
            self._close(stream.catch_up())  # the frames may be waiting to be heard of
            newest_ns = stream.newest_ns(trig.epoch)
        return newest_ns is not None and newest_ns < limit_ns

    def place(self, trig: Trig) -> ClipOrder:
        """The clip that a trigger belongs to, as it is with it.

        Raises:
            LedgerError: the ledger cannot be read.
        """
        span = span_of(trig, self._config.pre_ns, self._config.post_ns)
        opened = [order for order in self._open.values() if order.stream == trig.stream]
        return place(trig, span, opened, self._ledger.clip_of(trig.trig_id), self._config.max_length_ns)

    def take_up(self, order: ClipOrder) -> None:
        """Go on with what an earlier run began."""
        found = find_saved(self._folder, order)
        if found is not None:
            self._folder.discard(order.clip_id)
            self._outcomes.saved(order, *found)
        elif order.stream not in self._streams:
            self._fail(order, f"no stream {order.stream!r} in the configuration any more")
        else:
            self._open[order.clip_id] = order
            self._waiting[order.clip_id] = _Waiting(order, not_before_ns=mono_ns() + GRACE_NS)

    def begin(self, order: ClipOrder) -> None:
        """Make a clip, as soon as that can be."""
        self._open[order.clip_id] = order
        stream = self._streams[order.stream]
        if stream.is_full or not self._worker.has_room:
            self._waiting[order.clip_id] = _Waiting(order)
            return
        try:
            self._close(stream.start(order, mono_ns()))
        except OSError as error:
            self._refused(order, refusal(error))

    def grow(self, order: ClipOrder) -> None:
        """More is asked of a clip; of one that is closed it is nothing that is not in it."""
        if order.clip_id not in self._open:
            return
        self._open[order.clip_id] = order
        if order.clip_id in self._waiting:
            self._waiting[order.clip_id].order = order
        else:
            self._close(self._streams[order.stream].extend(order, mono_ns()))

    def frame(self, header: FrameHeader, now: int) -> None:
        """A frame was announced."""
        self._close(self._streams[header.stream].frame(header, now))

    def state(self, state: StreamState) -> None:
        """The frame daemon says how its stream is."""
        self._close(self._streams[state.stream].state(state))

    def tick(self, now: int) -> None:
        """Close what waits in vain, and begin what can be."""
        for stream in self._streams.values():
            self._close(stream.tick(now))
        if now < self._retry_ns or not self._waiting:
            return
        self._retry_ns = now + RETRY_NS
        due = [waiting for waiting in self._waiting.values() if now >= waiting.not_before_ns]
        without_room = [waiting for waiting in due if not self._try_again(waiting)]
        if without_room:
            self.on_no_space()

    def next_deadline(self) -> int | None:
        """When `tick` has something to do (monotonic ns)."""
        deadlines = [stream.next_deadline() for stream in self._streams.values()]
        if self._waiting:
            deadlines.append(self._retry_ns)
        return min((due for due in deadlines if due is not None), default=None)

    def stop(self) -> None:
        """Leave to the next run what is being recorded."""
        for stream in self._streams.values():
            stream.stop()

    def _try_again(self, waiting: _Waiting) -> bool:
        """False if there is still no room for it on the disk."""
        order = waiting.order
        if waiting.refused:
            needed_bytes = self._streams[order.stream].bytes_of(order)
            if needed_bytes is None:
                del self._waiting[order.clip_id], self._open[order.clip_id]
                self._fail(order, waiting.refused)
                return True
            if self._free_bytes() < needed_bytes + SLACK_BYTES:
                return False
        del self._waiting[order.clip_id]
        self.begin(order)
        return True

    def _free_bytes(self) -> int:
        try:
            return shutil.disk_usage(self._folder.path).free
        except OSError:  # the disk is gone; the housekeeper counts it
            return 0

    def _close(self, recordings: list[Recording]) -> None:
        """These want no more: have them saved."""
        for recording in recordings:
            order = recording.order
            self._open.pop(order.clip_id, None)
            self._saving[order.clip_id] = order
            if recording.resized_at is not None:  # before the clip has its name: it is not looked at again then
                self._begin_rest(order.rest_from(recording.resized_at))
            self._worker.submit(partial(_save, recording), partial(self._closed, recording))

    def _begin_rest(self, rest: ClipOrder) -> None:
        try:
            is_new = self._ledger.ask(rest)
        except LedgerError:  # asked again when the clip that had to end is; till then it is in memory alone
            is_new = True
            self._outcomes.commit(rest.clip_id, lambda: self._ledger.ask(rest))
        if is_new and not self.makes(rest.clip_id):
            self.begin(rest)

    def _closed(self, recording: Recording, result: Saved | MediaError) -> None:
        order = recording.order
        del self._saving[order.clip_id]
        if isinstance(result, MediaError):
            self._refused(order, result)
        else:
            self._outcomes.saved(order, *result)
            self.on_saved(recording)

    def _refused(self, order: ClipOrder, error: MediaError) -> None:
        """Wait for the disk, or give up."""
        self._open.pop(order.clip_id, None)
        if not isinstance(error, DiskRefuses):
            self._fail(order, str(error))
            return
        self._open[order.clip_id] = order
        self._waiting[order.clip_id] = _Waiting(order, refused=error.why)
        self._outcomes.waiting(order, error.why)
        self._retry_ns = mono_ns() + RETRY_NS
        self.on_no_space()

    def _fail(self, order: ClipOrder, why: str) -> None:
        self._folder.discard(order.clip_id)
        self._outcomes.failed(order, why)
        self.on_failed(order)


def _save(recording: Recording) -> Saved | MediaError:
    """In the worker: the clip, or why there is none."""
    try:
        return recording.save()
    except (DiskRefuses, ClipFailed) as error:
        return error

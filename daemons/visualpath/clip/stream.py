"""One stream in the clip daemon: its frames, and the recordings that wait for more of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from visualbase.clip import GapReason
from visualbase.ring import RingReader
from visualpath.clip.files import ClipFolder
from visualpath.clip.index import FrameIndex
from visualpath.clip.journal import Salvage
from visualpath.clip.order import ClipOrder
from visualpath.clip.recording import Recording
from visualpath.runtime.sections import ClipConfig
from visualpath_protocol.clock import NS_PER_S
from visualpath_protocol.messages import FrameHeader, StreamState

DEFAULT_FPS = 25.0
MAX_RECORDINGS = 16
"""Clips of one stream at a time: each is an open file that takes every frame."""


class ClipStream:
    """Feeds recordings with frames, and closes them when no more can come.

    A recording closes at the first frame past its end, at the end of the stream, at an epoch change, or
    `stall_timeout` of monotonic time after the last frame; or after it began, if no frame of its span has come since.
    """

    def __init__(self, name: str, ring_dir: Path, ring_length_ns: int, config: ClipConfig, folder: ClipFolder) -> None:
        self.name = name
        self.recordings: list[Recording] = []
        self._config = config
        self._folder = folder
        self._reader = RingReader(ring_dir, name)
        self._index = FrameIndex(self._reader, ring_length_ns)
        self._index.catch_up()
        self._state: StreamState | None = None
        self._heard_ns: int | None = None
        self._caught_up_to: tuple[int, int | None] | None = None

    @property
    def damaged_records(self) -> int:
        """Records of the ring whose bytes made no sense."""
        return self._reader.damaged_records

    @property
    def is_full(self) -> bool:
        """Whether no further clip can be begun at present."""
        return len(self.recordings) >= MAX_RECORDINGS

    def start(self, order: ClipOrder, now: int) -> list[Recording]:
        """Begin a clip with what an earlier run and the ring hold; returns it if it is complete already."""
        recording = Recording(order, self._frame_ns(), self._reader, self._folder)
        recording.origin_ns = self._origin_ns(order.epoch)
        recording.began_ns = now
        last = recording.resume(Salvage(self._folder, order.clip_id))
        for header in self._index.frames_from(order.epoch, order.asked[0]):
            if recording.is_over:
                break
            if last is None or header.frame_id > last.frame_id:
                recording.feed(header, "evicted" if last is not None else "not_received")
                last = None
        if recording.is_over:
            return [recording]
        self.recordings.append(recording)
        return self._close_if_over()

    def extend(self, order: ClipOrder, now: int) -> list[Recording]:
        """More is asked of a clip that is being recorded; returns what is complete with that."""
        for recording in self.recordings:
            if recording.order.clip_id == order.clip_id and not recording.extend(order):
                recording.abort()
                self._drop([recording])
                return self.start(order, now)
        return []

    def newest_ns(self, epoch: int) -> int | None:
        """Event time of the newest frame, if it is of this epoch."""
        last = self._index.last
        return last.t_ns if last is not None and last.epoch == epoch else None

    def catch_up(self) -> list[Recording]:
        """Take the frames that were written and not announced; returns the recordings that are complete."""
        return self._feed(self._index.catch_up())

    def bytes_of(self, order: ClipOrder) -> int | None:
        """How large the pictures are that a clip could have; None if there are none, and none can come."""
        size_bytes = self._index.bytes_of(order.epoch, order.asked)
        last = self._index.last
        is_past = last is not None and (last.epoch, last.t_ns) > (order.epoch, order.asked[1])
        return 0 if size_bytes is None and not is_past else size_bytes

    def frame(self, header: FrameHeader, now: int) -> list[Recording]:
        """A frame was announced; returns the recordings that are complete."""
        self._heard_ns = now
        return self._feed(self._index.add(header))

    def _feed(self, headers: list[FrameHeader]) -> list[Recording]:
        done: list[Recording] = []
        for fresh in headers:
            done += self._close((r for r in self.recordings if r.order.epoch < fresh.epoch), "epoch_change")
            ready = [r for r in self.recordings if r.order.epoch == fresh.epoch and r.feed(fresh)]
            self._drop(ready)
            done += ready
        return done

    def state(self, state: StreamState) -> list[Recording]:
        """The frame daemon says how the stream is; returns the recordings that this completes."""
        self._state = state
        for recording in self.recordings:
            if recording.order.epoch == state.epoch:
                recording.origin_ns = state.origin_ns
        caught_up: list[Recording] = []
        if self._ring_may_hold_more(state):
            self._caught_up_to = state.epoch, state.last_frame_id
            caught_up = self.catch_up()
        return caught_up + self._close_if_over()

    def _ring_may_hold_more(self, state: StreamState) -> bool:
        """Whether frames were written that nobody announced: before the stream's end, or before a crash."""
        last = self._index.last
        if (state.epoch, state.last_frame_id) == self._caught_up_to:
            return False
        if last is None or state.epoch > last.epoch:
            return True
        return state.state == "ended" and not _same_frame(state, last)

    def tick(self, now: int) -> list[Recording]:
        """Close what waits for frames that do not come."""
        if not any(self._due_ns(recording) <= now for recording in self.recordings):
            return []
        complete = self.catch_up()
        return complete + self._close((r for r in self.recordings if self._due_ns(r) <= now), "not_received")

    def next_deadline(self) -> int | None:
        """When `tick` has something to do (monotonic ns)."""
        return min((self._due_ns(recording) for recording in self.recordings), default=None)

    def _due_ns(self, recording: Recording) -> int:
        """When a recording has waited in vain. One that has had no frame yet is not kept alive by those of others."""
        heard_ns = self._heard_ns if recording.timeline.is_reached else None
        return (recording.began_ns if heard_ns is None else heard_ns) + self._config.stall_timeout_ns

    def stop(self) -> None:
        """Leave the unfinished recordings to the next run: their rows and journals say so."""
        for recording in self.recordings:
            recording.leave()
        self._reader.close()

    def _frame_ns(self) -> int:
        fps = self._state.fps if self._state and self._state.fps else DEFAULT_FPS
        return round(NS_PER_S / fps)

    def _origin_ns(self, epoch: int) -> int | None:
        return self._state.origin_ns if self._state and self._state.epoch == epoch else None

    def _close_if_over(self) -> list[Recording]:
        state, last = self._state, self._index.last
        epoch = max(state.epoch if state else 0, last.epoch if last else 0)
        over = self._close((r for r in self.recordings if r.order.epoch < epoch), "epoch_change")
        if state and last and state.state == "ended" and _same_frame(state, last):
            over += self._close((r for r in self.recordings if r.order.epoch == epoch), "after_end")
        return over

    def _close(self, recordings: Iterable[Recording], reason: GapReason) -> list[Recording]:
        closed = list(recordings)
        for recording in closed:
            recording.finish(reason)
        self._drop(closed)
        return closed

    def _drop(self, closed: list[Recording]) -> None:
        self.recordings = [r for r in self.recordings if r not in closed]


def _same_frame(state: StreamState, last: FrameHeader) -> bool:
    return (state.epoch, state.last_frame_id) == (last.epoch, last.frame_id)

"""One stream in the clip daemon: its frames, and the recordings that wait for more of them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from visualbase.clip import GapReason
from visualbase.ring import RingReader
from visualpath.clip.index import FrameIndex
from visualpath.clip.recording import ClipFailed, Recording
from visualpath.runtime.config import ClipConfig
from visualpath_protocol.clock import NS_PER_S
from visualpath_protocol.messages import FrameHeader, StreamState, Trig

DEFAULT_FPS = 25.0
MAX_RECORDINGS = 16
"""Clips of one stream at a time: each is an open file that takes every frame."""


class ClipStream:
    """Feeds recordings with frames, and closes them when no more can come.

    A recording closes at the first frame past its end, at the end of the stream, at an epoch change, or
    `stall_timeout` of monotonic time after the last frame.
    """

    def __init__(self, name: str, ring_dir: Path, ring_length_ns: int, config: ClipConfig, clips_dir: Path) -> None:
        self.name = name
        self.recordings: list[Recording] = []
        self._config = config
        self._clips_dir = clips_dir
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

    def start(self, trig: Trig, now: int) -> list[Recording]:
        """Begin a trigger's clip with what the ring holds; returns it if it is complete already.

        Raises:
            ClipFailed: too many clips of this stream are being recorded.
        """
        if len(self.recordings) >= MAX_RECORDINGS:
            raise ClipFailed(f"{MAX_RECORDINGS} clips of this stream are being recorded already: raise the cooldown")
        fps = self._state.fps if self._state and self._state.fps else DEFAULT_FPS
        span = trig.t_start_ns - self._config.pre_ns, trig.t_end_ns + self._config.post_ns
        recording = Recording(trig, span, round(NS_PER_S / fps), self._reader, self._clips_dir)
        try:
            for header in self._index.frames_from(trig.epoch, span[0]):
                if recording.feed(header):
                    return [recording]
        except BaseException:
            recording.abort()
            raise
        self.recordings.append(recording)
        self._heard_ns = self._heard_ns or now
        return self._close_if_over()

    def frame(self, header: FrameHeader, now: int) -> list[Recording]:
        """A frame was announced; returns the recordings that are complete."""
        self._heard_ns = now
        return self._feed(self._index.add(header))

    def _feed(self, headers: list[FrameHeader]) -> list[Recording]:
        done: list[Recording] = []
        for fresh in headers:
            done += self._close((r for r in self.recordings if r.trig.epoch < fresh.epoch), "epoch_change")
            ready = [r for r in self.recordings if r.trig.epoch == fresh.epoch and r.feed(fresh)]
            self._drop(ready)
            done += ready
        return done

    def state(self, state: StreamState) -> list[Recording]:
        """The frame daemon says how the stream is; returns the recordings that this completes."""
        self._state = state
        caught_up: list[Recording] = []
        if self._ring_may_hold_more(state):
            self._caught_up_to = state.epoch, state.last_frame_id
            caught_up = self._feed(self._index.catch_up())
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
        deadline = self.next_deadline()
        return self._close(self.recordings, "not_received") if deadline is not None and now >= deadline else []

    def next_deadline(self) -> int | None:
        """When `tick` has something to do (monotonic ns)."""
        if not self.recordings or self._heard_ns is None:
            return None
        return self._heard_ns + self._config.stall_timeout_ns

    def stop(self) -> None:
        """Leave the unfinished recordings to the next run: their rows say so."""
        for recording in self.recordings:
            recording.abort()
        self._reader.close()

    def _close_if_over(self) -> list[Recording]:
        state, last = self._state, self._index.last
        epoch = max(state.epoch if state else 0, last.epoch if last else 0)
        over = self._close((r for r in self.recordings if r.trig.epoch < epoch), "epoch_change")
        if state and last and state.state == "ended" and _same_frame(state, last):
            over += self._close((r for r in self.recordings if r.trig.epoch == epoch), "after_end")
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

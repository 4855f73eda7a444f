"""Writes a stream's pictures into its ring, numbered within epochs."""

from __future__ import annotations

import dataclasses
from collections import deque

from visualbase.errors import RingFull
from visualbase.ring import RingWriter, newest_epoch
from visualbase.sources.base import Picture, Source, SourceInfo
from visualpath.core.errors import StorageError
from visualpath.frame.epochs import EpochFile
from visualpath.runtime.config import Config
from visualpath.runtime.refusals import Refusals
from visualpath_protocol.clock import NS_PER_S, mono_ns, wall_ns
from visualpath_protocol.messages import FrameHeader


class FrameWriter:
    """Owns ring and epoch of one stream. An epoch has one picture size and one time line.

    Used by one thread; `counters` and `held` are for any.

    Args:
        name: of the stream.
    """

    def __init__(self, name: str, config: Config, refusals: Refusals) -> None:
        self._stream = name
        self._ring_dir = config.ring_dir
        self._ring_config = config.ring
        self._epochs = EpochFile(config.state_dir / f"frame-{name}")
        self._refusals = refusals
        self._ring: RingWriter | None = None
        self._size: tuple[int, int] | None = None
        self._epoch = 0
        self._next_id = 0
        self._last_t_ns = -1
        self._past: deque[tuple[int, int]] = deque()  # epochs that may be in the ring, and when they ended

    def fits(self, picture: Picture) -> bool:
        """Whether the picture goes on with the present epoch; else one has to begin."""
        return self._size == (picture.width, picture.height) and picture.t_ns > self._last_t_ns

    def begin(self, first: Picture, source: Source) -> tuple[int, SourceInfo]:
        """Begin an epoch that has pictures of this size; its number is on disk then.

        Raises:
            StorageError: the state or ring directory cannot be used.
            ConfigError: the stored epoch is damaged.
        """
        self.end()
        try:
            newest, before = newest_epoch(self._ring_dir, self._stream), self._ring
            if before is None:  # what an earlier process left counts as ended now
                self._past.append((newest, mono_ns()))
            self._epoch = self._epochs.next(newest)
            self._ring = RingWriter(
                self._ring_dir,
                self._stream,
                self._epoch,
                max_seconds=self._ring_config.length_ns / NS_PER_S,
                max_bytes=self._ring_config.max_bytes,
                gone_epoch=self._gone_epoch(),
            )
        except OSError as error:
            raise StorageError(f"cannot use the ring's directory {self._ring_dir}: {error.strerror}") from error
        if before is not None:
            self._ring.counters.update(before.counters)
        self._size = (first.width, first.height)
        self._next_id = 0
        self._last_t_ns = -1
        return self._epoch, dataclasses.replace(source.info, width=first.width, height=first.height)

    def write(self, picture: Picture, *, live: bool) -> FrameHeader | None:
        """Write the next frame of the epoch; None (counted) if the ring has no room for it.

        Args:
            live: `t_ns` is when the picture was captured, on CLOCK_MONOTONIC; else it is captured at this moment.

        Raises:
            StorageError: the ring's file system refuses, and not for want of room.
        """
        assert self._ring is not None, "an epoch has begun"
        now = mono_ns()
        captured_ns = picture.t_ns if live else now
        header = FrameHeader(
            stream=self._stream,
            epoch=self._epoch,
            frame_id=self._next_id,
            t_ns=picture.t_ns,
            wall_ns=wall_ns() - (now - captured_ns),
            mono_ns=captured_ns,
            width=picture.width,
            height=picture.height,
            payloads=[],
        )
        self._next_id += 1
        self._last_t_ns = picture.t_ns
        try:
            return self._ring.append(header, picture.jpeg)
        except RingFull as error:
            self._refusals.add("dropped.ring_full", error)
            return None
        except OSError as error:
            raise StorageError(f"cannot write the ring in {self._ring_dir}: {error.strerror}") from error

    def end(self) -> None:
        """The epoch is over; its frames stay readable."""
        if self._size is not None:
            self._past.append((self._epoch, mono_ns()))
        self._size = None
        if self._ring is not None:
            self._ring.close()

    def counters(self) -> dict[str, int]:
        """What the ring's writer has counted in all epochs of this process."""
        return dict(self._ring.counters) if self._ring is not None else {}

    def held(self) -> tuple[int, int]:
        """What the ring holds now: bytes, and ns of event time of the present epoch."""
        return self._ring.held() if self._ring is not None else (0, 0)

    def _gone_epoch(self) -> int:
        """The newest epoch that ended longer ago than the ring is long; 0 if there is none."""
        gone, longest_ago_ns = 0, mono_ns() - self._ring_config.length_ns
        while self._past and self._past[0][1] < longest_ago_ns:
            gone, _ = self._past.popleft()
        return gone

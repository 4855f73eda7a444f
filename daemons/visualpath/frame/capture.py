"""The thread that reads the source and writes the ring.

It hands each finished frame to the daemon's loop and never touches a socket.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from visualbase.errors import MediaError, RingFull, SourceError
from visualbase.ring import RingWriter, newest_epoch
from visualbase.sources import open_source
from visualbase.sources.base import Picture, Source, SourceInfo
from visualpath.core.errors import StorageError
from visualpath.frame.epochs import EpochFile
from visualpath.runtime.config import Config, StreamConfig
from visualpath.runtime.refusals import Refusals
from visualpath_protocol.clock import NS_PER_S, mono_ns, wall_ns
from visualpath_protocol.messages import FrameHeader

log = logging.getLogger(__name__)

HANDOVER_FRAMES = 32
RETRY_FIRST_S = 1.0
RETRY_MAX_S = 30.0
PACE_SLACK_NS = NS_PER_S


@dataclass(frozen=True)
class Opened:
    """A new epoch begins."""

    epoch: int
    info: SourceInfo


@dataclass(frozen=True)
class Captured:
    """A frame lies in the ring."""

    header: FrameHeader
    jpeg: bytes


@dataclass(frozen=True)
class Ended:
    """The source has come to its end; `reason` says why if that came early."""

    reason: str = ""


@dataclass(frozen=True)
class Failed:
    """The source cannot be read; it will be tried again."""

    reason: str


CaptureEvent = Opened | Captured | Ended | Failed


class Capture(threading.Thread):
    """Reads one source until it ends or `stop` is called; tries a failed source again with back-off.

    Args:
        name: of the stream.
        wake: called after each event that was put into `events`.
    """

    def __init__(self, name: str, config: Config, refusals: Refusals, wake: Callable[[], None]) -> None:
        super().__init__(name=f"capture-{name}", daemon=True)
        self.events: queue.Queue[CaptureEvent] = queue.Queue(HANDOVER_FRAMES)
        self.go = threading.Event()
        """Set when the first frame may be published."""
        self.failure: BaseException | None = None
        self._stream = name
        self._config: StreamConfig = config.streams[name]
        self._ring_config = config.ring
        self._ring_dir = config.ring_dir
        self._epochs = EpochFile(config.state_dir / f"frame-{name}")
        self._refusals = refusals
        self._wake = wake
        self._stopping = threading.Event()
        self._ring: RingWriter | None = None

    def ring_counters(self) -> dict[str, int]:
        """What the ring's writer has counted in the present epoch. For any thread."""
        return dict(self._ring.counters) if self._ring is not None else {}

    def ring_held(self) -> tuple[int, int]:
        """What the ring holds now: bytes, and ns of event time of the present epoch. For any thread."""
        return self._ring.held() if self._ring is not None else (0, 0)

    def stop(self) -> None:
        """End soon, wherever the thread is, and wait for it."""
        self._stopping.set()
        self.go.set()
        if self.is_alive():
            while not self.events.empty():
                self.events.get_nowait()
            self.join(timeout=5)

    def run(self) -> None:
        """Thread body. A failure that is ours is kept in `failure` for the loop to raise."""
        try:
            self._run()
        except BaseException as error:  # handed to the loop's thread, which raises it there
            self.failure = error
            self._wake()

    def _run(self) -> None:
        """A source that cannot be opened is tried again; one that was read and is not live has had its turn."""
        retry_s = RETRY_FIRST_S
        while not self._stopping.is_set():
            try:
                reason = self._read_once()
            except MediaError as error:
                self._refusals.add("failed.source", f"{error}; trying again in {retry_s:.0f} s")
                self._put(Failed(str(error)))
            else:
                self._put(Ended(reason))
                return
            self._stopping.wait(retry_s)
            retry_s = min(retry_s * 2, RETRY_MAX_S)

    def _read_once(self) -> str:
        """Read the source to its end; returns why that came early, "" if it did not.

        Raises:
            MediaError: it cannot be opened.
        """
        with open_source(self._config.source, loop=self._config.loop, jpeg_quality=self._config.jpeg_quality) as source:
            epoch, ring = self._new_epoch()
            log.info(
                "epoch %d: %s, %dx%d at %.3g fps", epoch, self._config.source, source.info.width, source.info.height,
                source.info.fps,
            )  # fmt: skip
            with ring:
                self._ring = ring
                self._put(Opened(epoch, source.info))
                self.go.wait()
                try:
                    self._publish_all(source, ring, epoch)
                except SourceError as error:
                    self._refusals.add("failed.source", error)
                    return str(error)
        return ""

    def _new_epoch(self) -> tuple[int, RingWriter]:
        """The next epoch's number, and the ring to write it into.

        Raises:
            StorageError: the state or ring directory cannot be used.
            ConfigError: the stored epoch is damaged.
        """
        try:
            epoch = self._epochs.next(newest_epoch(self._ring_dir, self._stream))
            return epoch, RingWriter(
                self._ring_dir,
                self._stream,
                epoch,
                max_seconds=self._ring_config.length_ns / NS_PER_S,
                max_bytes=self._ring_config.max_bytes,
            )
        except OSError as error:
            raise StorageError(f"cannot use the ring's directory {self._ring_dir}: {error.strerror}") from error

    def _publish_all(self, source: Source, ring: RingWriter, epoch: int) -> None:
        pacer = _Pacer(self._stopping) if self._config.pace == "realtime" else None
        dropped: Counter[str] = Counter()
        for frame_id, picture in enumerate(source.pictures()):
            if pacer is not None:
                pacer.wait_for(picture.t_ns)
            if self._stopping.is_set():
                return
            self._write(ring, self._header(epoch, frame_id, picture), picture.jpeg)
            self._report_dropped(source, dropped)
        self._report_dropped(source, dropped)

    def _report_dropped(self, source: Source, before: Counter[str]) -> None:
        """Count what the source has lost since the last look."""
        for reason, times in source.dropped.items():
            if times > before[reason]:
                self._refusals.add(f"dropped.source.{reason}", self._config.source, times - before[reason])
                before[reason] = times

    def _write(self, ring: RingWriter, header: FrameHeader, jpeg: bytes) -> None:
        try:
            header = ring.append(header, jpeg)
        except RingFull as error:
            self._refusals.add("dropped.ring_full", error)
        else:
            self._put(Captured(header, jpeg))

    def _header(self, epoch: int, frame_id: int, picture: Picture) -> FrameHeader:
        return FrameHeader(
            stream=self._stream,
            epoch=epoch,
            frame_id=frame_id,
            t_ns=picture.t_ns,
            wall_ns=wall_ns(),
            mono_ns=mono_ns(),
            width=picture.width,
            height=picture.height,
            payloads=[],
        )

    def _put(self, event: CaptureEvent) -> None:
        """Hand over; a loop that is behind slows a file down."""
        while not self._stopping.is_set():
            try:
                self.events.put(event, timeout=0.5)
            except queue.Full:
                continue
            self._wake()
            return


class _Pacer:
    """Lets each picture out when its time has come, counted from the first.

    After a stall of more than `PACE_SLACK_NS` the count begins anew: there is no rush to make up for it.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._offset_ns: int | None = None

    def wait_for(self, t_ns: int) -> None:
        now = mono_ns()
        if self._offset_ns is None or t_ns + self._offset_ns < now - PACE_SLACK_NS:
            self._offset_ns = now - t_ns
        self._stopping.wait(max(0, t_ns + self._offset_ns - now) / NS_PER_S)

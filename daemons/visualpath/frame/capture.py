"""The thread that reads the source and writes the ring.

It owns what a source does not know: retry, pace, epochs. It hands each finished frame to the daemon's loop and never
touches a socket.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from visualbase.address import shown
from visualbase.errors import Disconnected, MediaError, SourceError, Stalled
from visualbase.sources import open_source
from visualbase.sources.base import Picture, Source, SourceInfo
from visualpath.frame.retry import Backoff
from visualpath.frame.writer import FrameWriter
from visualpath.runtime.config import Config
from visualpath.runtime.refusals import Refusals
from visualpath.runtime.sections import StreamConfig
from visualpath_protocol.clock import NS_PER_S, mono_ns
from visualpath_protocol.messages import FrameHeader

log = logging.getLogger(__name__)

HANDOVER_FRAMES = 32
PACE_SLACK_NS = NS_PER_S
PACE_GAP_NS = 60 * NS_PER_S
"""A longer gap in a file is not waited for: most likely a time stamp is damaged."""
TELL_AGAIN_NS = 60 * NS_PER_S
"""The same failure is logged again after so long; it is counted each time."""
STOP_PATIENCE_S = 3.0
"""How long the source may hold up an orderly stop; systemd waits 5 s in all."""
STUCK_AFTER_TIMEOUTS = 4
"""Opening takes two at the worst, and hanging up one."""

_DISCONNECTS: dict[type[MediaError], str] = {Disconnected: "ended", Stalled: "stalled"}


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
    """Reads one source until it ends or `stop` is called. A live source never ends: it is opened anew, with back-off.

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
        self.writer = FrameWriter(name, config, refusals)
        self._config: StreamConfig = config.streams[name]
        self._address = shown(self._config.source)
        self._refusals = refusals
        self._wake = wake
        self._stopping = threading.Event()
        self._run_began_ns: int | None = None  # the first picture since the source was opened
        self._blocked_since_ns: int | None = None
        self._told = ""
        self._tell_again_ns = 0

    def stuck(self, now: int) -> bool:
        """Whether the source has kept the thread for longer than its timeouts allow. For any thread."""
        since = self._blocked_since_ns
        return since is not None and now - since > STUCK_AFTER_TIMEOUTS * self._config.timeout_ns

    def stop(self) -> None:
        """End soon, wherever the thread is, and wait for it."""
        self._stopping.set()
        self.go.set()
        if self.is_alive():
            while not self.events.empty():
                self.events.get_nowait()
            self.join(STOP_PATIENCE_S)

    def run(self) -> None:
        """Thread body. A failure that is ours is kept in `failure` for the loop to raise."""
        try:
            self._run()
        except BaseException as error:  # handed to the loop's thread, which raises it there
            self.failure = error
            self._wake()

    def _run(self) -> None:
        """What cannot be opened, or is live, is opened again; what was read and is not live has had its turn."""
        backoff = Backoff(random.random)
        while not self._stopping.is_set():
            self._run_began_ns = None
            try:
                reason = self._read_once()
            except MediaError as error:
                if self._run_began_ns is not None:
                    backoff.ran(mono_ns() - self._run_began_ns)
                self._tell(error)
                self._put(Failed(str(error)))
                self._stopping.wait(backoff.wait_s(error))
            else:
                self._put(Ended(reason))
                return

    def _tell(self, error: MediaError) -> None:
        """Count the failure; log it unless that was done a moment ago."""
        counters, now = self._refusals.counters, mono_ns()
        if self._run_began_ns is not None:
            counters[f"source.disconnects.{_DISCONNECTS.get(type(error), 'failed')}"] += 1
            log.warning("lost after %.1f s: %s; trying again", (now - self._run_began_ns) / NS_PER_S, error)
        elif str(error) != self._told or now >= self._tell_again_ns:
            self._refusals.add("failed.source", f"{error}; trying again")
            self._told, self._tell_again_ns = str(error), now + TELL_AGAIN_NS
        else:
            counters["failed.source"] += 1

    def _read_once(self) -> str:
        """Read the source to its end; returns why that came early, "" if it did not.

        Raises:
            MediaError: it cannot be opened; or it is live, and is so no longer.
        """
        with self._at_the_source():
            source = open_source(
                self._config.source,
                loop=self._config.loop,
                jpeg_quality=self._config.jpeg_quality,
                timeout_ns=self._config.timeout_ns,
            )
        try:
            self._publish_all(source)
            if source.live and not self._stopping.is_set():
                raise Disconnected(self._config.source, "the stream has ended", "look after whoever sends it")
        except SourceError as error:
            if source.live:
                raise
            self._refusals.add("failed.source", error)
            return str(error)
        finally:
            self.writer.end()
            with self._at_the_source():
                source.close()
        return ""

    def _publish_all(self, source: Source) -> None:
        if source.live:
            self.go.set()  # it does not wait for anybody
        pacer = _Pacer(self._stopping) if self._config.pace == "realtime" and not source.live else None
        dropped: Counter[str] = Counter()
        try:
            for picture in self._pictures(source):
                if not self.writer.fits(picture):
                    self._begin_epoch(picture, source)
                if pacer is not None:
                    pacer.wait_for(picture.t_ns)
                if self._stopping.is_set():
                    return
                header = self.writer.write(picture, live=source.live)
                if header is not None:
                    self._put(Captured(header, picture.jpeg))
                self._report_dropped(source, dropped)
        finally:
            self._report_dropped(source, dropped)

    def _pictures(self, source: Source) -> Iterator[Picture]:
        """The pictures of the source; while it is asked for the next one, that is known to `stuck`."""
        pictures = source.pictures()
        while True:
            with self._at_the_source():
                picture = next(pictures, None)
            if picture is None:
                return
            yield picture

    def _begin_epoch(self, first: Picture, source: Source) -> None:
        epoch, info = self.writer.begin(first, source)
        log.info("epoch %d: %s, %dx%d at %.3g fps", epoch, self._address, info.width, info.height, info.fps)
        if self._run_began_ns is None:
            self._run_began_ns = mono_ns()
            self._refusals.counters["source.connects"] += 1
            self._told = ""
        self._put(Opened(epoch, info))
        self.go.wait()

    def _report_dropped(self, source: Source, before: Counter[str]) -> None:
        """Count what the source has lost since the last look."""
        for reason, times in source.dropped.items():
            if times > before[reason]:
                self._refusals.add(f"dropped.source.{reason}", self._address, times - before[reason])
                before[reason] = times

    def _put(self, event: CaptureEvent) -> None:
        """Hand over; a loop that is behind slows a file down."""
        while not self._stopping.is_set():
            try:
                self.events.put(event, timeout=0.5)
            except queue.Full:
                continue
            self._wake()
            return

    @contextmanager
    def _at_the_source(self) -> Iterator[None]:
        self._blocked_since_ns = mono_ns()
        try:
            yield
        finally:
            self._blocked_since_ns = None


class _Pacer:
    """Lets each picture out when its time has come, counted from the first.

    After a stall of more than `PACE_SLACK_NS` the count begins anew: there is no rush to make up for it. So it does
    where the file's time jumps.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._offset_ns: int | None = None

    def wait_for(self, t_ns: int) -> None:
        now = mono_ns()
        if self._offset_ns is None or not -PACE_SLACK_NS <= t_ns + self._offset_ns - now <= PACE_GAP_NS:
            self._offset_ns = now - t_ns
        self._stopping.wait(max(0, t_ns + self._offset_ns - now) / NS_PER_S)

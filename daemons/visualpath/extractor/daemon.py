"""The extractor daemon: the I/O thread owns the sockets, the main thread owns the model.

I/O thread: receives headers and what dependencies say, fills the mailbox, announces every skip when it is decided,
shows life. Told to stop, it skips every frame but the one in work until the main thread has ended, and says BYE last.
Main thread: loads the plug-in, takes frames from the mailbox, reads and decodes them from the ring, infers.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, NoReturn

import msgspec

from visualbase.errors import DamagedJpeg, Evicted
from visualbase.frame import Frame
from visualbase.ring import RingReader
from visualpath.core.errors import ExtractionError
from visualpath.core.extractor import check_depends
from visualpath.extractor.failures import Failures
from visualpath.extractor.inbox import Inbox
from visualpath.extractor.registration import Registration
from visualpath.extractor.reporter import Reporter
from visualpath.plugin.discovery import load_extractor
from visualpath.plugin.models import use_models_dir
from visualpath.process.backend_state import Change, Shown
from visualpath.process.background_load import loading
from visualpath.process.host import ExtractorHost, Handled
from visualpath.process.mailbox import Mailbox, Task
from visualpath.process.packing import pack_observations
from visualpath.process.view import JpegFrame, seen_as
from visualpath.runtime.main import require_named, run_daemon
from visualpath.runtime.service import Service
from visualpath_protocol.clock import NS_PER_MS, NS_PER_S, mono_ns
from visualpath_protocol.codec import fit_text
from visualpath_protocol.endpoints import FUSION, extractor_daemon
from visualpath_protocol.messages import ExtractorState, FrameHeader, Ping, SkipReason
from visualpath_protocol.sockets import OBSERVATIONS

log = logging.getLogger(__name__)

PING_INTERVAL_NS = 500 * NS_PER_MS
STOP_PATIENCE_NS = 3 * NS_PER_S
"""How long a running inference may hold up an orderly stop; systemd waits 5 s in all."""
DEGRADED_AFTER = 3
"""Frames in a row that could not be looked at."""
MAX_SIGNALS, MAX_NAME = 200, 100
"""Names of signals that are kept for the status, and their characters; a plug-in could invent any number."""


class ExtractorDaemon:
    """Hosts one extractor for its streams."""

    def __init__(self, service: Service, name: str) -> None:
        require_named(service.config, "extractors", name)
        self._config = service.config.extractors[name]
        self._service = service
        self._name = name
        self._streams = service.config.streams_of(name)
        self._rings = {stream: RingReader(service.config.ring_dir, stream) for stream in self._streams}
        self._mailbox = Mailbox(self._config.drop)
        self._version = ""
        self._loaded = False
        self._host: ExtractorHost | None = None
        self._busy_since_ns = 0
        self._failed_in_a_row = 0
        self._signals: frozenset[str] | None = frozenset()
        self._in_work: FrameHeader | None = None
        self._ends_ns: int | None = None
        self._main_done = threading.Event()
        self._io_failure: BaseException | None = None
        registration = Ping(
            source=name,
            instance=secrets.token_hex(8),
            streams=self._streams,
            stride=self._config.stride,
            phase=self._config.phase,
            expected=self._config.expected,
            state="starting",
        )
        link = service.connect(OBSERVATIONS, FUSION)
        self._reporter = Reporter(service, link, registration)
        self._inbox = Inbox(service, name, self._mailbox, self._reporter)
        self._registration = Registration(
            service, link, lambda: self._reporter.ping(self._wire_state(), self._busy_ns()), self._inbox.subscribe
        )
        service.status = self._status
        service.working = lambda: not self._hangs()
        service.loop.every(PING_INTERVAL_NS, lambda _now: self._reporter.send_ping(self._wire_state(), self._busy_ns()))
        service.loop.on_tick(self._end_patience, lambda: self._ends_ns)
        self._io_thread = threading.Thread(target=self._run_io, name="io", daemon=True)

    # Main thread: the model.

    def run(self) -> None:
        """Work until stopped."""
        self._io_thread.start()
        plugin = self._config.plugin
        use_models_dir(self._service.config.models_dir)
        extractor = load_extractor(plugin)
        check_depends(extractor, self._config.group, self._config.depends)
        host = self._host = ExtractorHost(
            extractor, self._name, self._config.config, self._backends_changed, self._service.config.redaction
        )
        started = mono_ns()
        host.open()
        self._version = fit_text(str(host.extractor.version))
        log.info("%s %s ready after %.1f s", plugin, self._version, (mono_ns() - started) / 1e9)
        self._loaded = True
        self._in_io(self._serve)
        failures = Failures(extractor)
        try:
            while (task := self._mailbox.take()) is not None:
                self._work(host, task, failures)
        finally:
            host.close()

    def _work(self, host: ExtractorHost, task: Task, failures: Failures) -> None:
        header = task.header
        self._busy_since_ns = mono_ns()
        self._in_io(lambda: self._picked(header))
        try:
            decode_started = time.perf_counter_ns()
            frame = self._read(header, host)
            decode_ms = (time.perf_counter_ns() - decode_started) / 1e6
            handled = host.handle(frame, task.seen)
            packed = pack_observations(handled.observations)
        except (Evicted, DamagedJpeg, ExtractionError, OSError) as error:
            reason: SkipReason = "evicted" if isinstance(error, Evicted) else "error"
            detail, place = str(error), failures.place(error)
            self._failed_in_a_row += reason == "error"
            self._in_io(lambda: self._failed(header, reason, detail, place))
        else:
            self._failed_in_a_row = 0
            self._keep_names(handled)
            timing = {"decode_ms": decode_ms, "extract_ms": handled.extract_ms}
            waiting = len(self._mailbox)
            self._in_io(lambda: self._observed(header, packed, timing, waiting))
        finally:
            self._busy_since_ns = 0

    def _keep_names(self, handled: Handled) -> None:
        names = {fit_text(name[:MAX_NAME]) for observation in handled.observations for name in observation.signals}
        if self._signals is not None and not names <= self._signals:
            known = self._signals | names
            self._signals = known if len(known) <= MAX_SIGNALS else None

    def _read(self, header: FrameHeader, host: ExtractorHost) -> Frame:
        payload = next((p for p in header.payloads if p.kind == "jpeg"), None)
        if payload is None:
            raise ExtractionError("the frame has no JPEG payload")
        data = self._rings[header.stream].read(payload)
        return seen_as(
            JpegFrame(
                jpeg=data,
                frame_id=header.frame_id,
                t_ns=header.t_ns,
                stream=header.stream,
                epoch=header.epoch,
                wall_ns=header.wall_ns,
                width=header.width,
                height=header.height,
            ),
            host.view,
        )

    def _backends_changed(self, change: Change) -> None:
        self._in_io(lambda: self._reporter.backends_changed(change))

    def _in_io(self, action: Callable[[], None]) -> None:
        self._service.loop.call_soon(action)

    # I/O thread: the sockets.

    def _run_io(self) -> None:
        try:
            self._service.loop.run()
            self._ends_ns = mono_ns() + STOP_PATIENCE_NS
            self._inbox.stop()
            while not self._main_done.is_set():
                self._service.loop.run()
        except BaseException as error:  # raised again in the main thread
            log.critical("the I/O thread is stopped by a defect", exc_info=True)
            self._io_failure = error
            self._mailbox.close()
            if not self._main_done.wait(STOP_PATIENCE_NS / NS_PER_S):
                self._give_up()
        self._say_bye()

    def _end_patience(self, now: int) -> None:
        if self._ends_ns is not None and now >= self._ends_ns:
            self._give_up()

    def _give_up(self) -> NoReturn:
        """End although the main thread is still in the plug-in; closing the sockets first sends what was said."""
        patience_s = STOP_PATIENCE_NS / NS_PER_S
        log.error("the extractor is still at work %.0f s after the stop: ending without it", patience_s)
        try:
            self._say_bye()
            self._service.close()
        finally:
            os._exit(1)

    def _say_bye(self) -> None:
        if self._in_work is not None:
            self._failed(self._in_work, "error", "stopped in the middle of it")
        self._reporter.bye("stopped")

    def _serve(self) -> None:
        """The model is loaded. Ready is said here: this thread turns, too."""
        if self._ends_ns is None:
            self._service.ready()
            self._registration.start()

    def _picked(self, header: FrameHeader) -> None:
        self._in_work = header
        self._reporter.picked(header)

    def _observed(self, header: FrameHeader, packed: msgspec.Raw, timing: dict[str, float], waiting: int) -> None:
        self._in_work = None
        self._reporter.observed(header, packed, timing, waiting)
        self._inbox.answered(header.stream)

    def _failed(self, header: FrameHeader, reason: SkipReason, detail: str, place: str = "") -> None:
        self._in_work = None
        self._reporter.skipped(header, header, reason, detail)
        self._service.refusals.add(f"failed.{reason}", f"{header}: {detail}{f' (at {place})' if place else ''}")

    def _backends(self) -> Shown:
        return (self._host.backends if self._host is not None else None) or Shown()

    def _busy_ns(self) -> int:
        since, backends = self._busy_since_ns, self._backends()
        return backends.inference_ns(since, mono_ns()) if since else 0

    def _hangs(self) -> bool:
        return self._busy_ns() > self._config.hang_timeout_ns

    def _wire_state(self) -> ExtractorState:
        if self._ends_ns is not None:
            return "stopping"
        if not self._loaded or self._backends().blocks_ns:
            return "starting"
        if self._failed_in_a_row >= DEGRADED_AFTER:
            return "degraded"
        return "busy" if self._busy_since_ns else "ready"

    def _shown_state(self) -> str:
        if self._hangs():
            return "hung"
        state = self._wire_state()
        fails = self._backends().state == "failed" and state in ("ready", "busy", "degraded")
        return "failed" if fails else state

    def _status(self) -> dict[str, Any]:
        measured, backends = self._reporter.meter.measured(mono_ns()), self._backends()
        return {
            "extractor": {
                "plugin": self._config.plugin,
                "version": self._version,
                "streams": self._streams,
                "state": self._shown_state(),
                "obs_per_s": measured.per_s,
                "latency_ms": {"p50": measured.p50_ms, "p95": measured.p95_ms},
                "registered": self._registration.accepted,
                "busy_ns": self._busy_ns(),
                "freshness": self._inbox.freshness(mono_ns()),
                "signals": sorted(signals) if (signals := self._signals) is not None else None,
                "backend": backends.as_dict(mono_ns()) if backends.names else None,
            }
        }

    def close(self) -> None:
        """Wait for the I/O thread, so that BYE is out before the sockets close; raises what that thread died of."""
        self._main_done.set()
        self._service.loop.stop()
        if self._io_thread.is_alive():
            self._io_thread.join()
        for ring in self._rings.values():
            ring.close()
        if self._io_failure is not None:
            raise self._io_failure


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    faulthandler.enable()  # a library that crashes the process leaves the Python line in the log
    code = run_daemon(argv, extractor_daemon, ExtractorDaemon, named=True)
    if loading():
        logging.shutdown()
        os._exit(code)
    return code

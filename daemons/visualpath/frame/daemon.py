"""The frame daemon: publishes the header of each frame, and the state of its stream.

The bytes lie in the ring; JPEGs go out on `frames` only while somebody subscribes there.
"""

from __future__ import annotations

import logging
import queue
from collections import Counter
from typing import Any

import msgspec

from visualpath.frame.capture import Capture, Captured, CaptureEvent, Ended, Failed, Opened
from visualpath.observability import StateChangeRecord
from visualpath.runtime.main import require_named, run_daemon
from visualpath.runtime.meter import Meter
from visualpath.runtime.poll import Parts
from visualpath.runtime.service import Service
from visualpath_protocol.clock import NS_PER_MS, mono_ns
from visualpath_protocol.codec import fit_text
from visualpath_protocol.endpoints import frame_daemon
from visualpath_protocol.messages import FrameHeader, StreamState, StreamStateName
from visualpath_protocol.sockets import FRAMES, HEADERS, Link, topic

log = logging.getLogger(__name__)

STATE_INTERVAL_NS = 500 * NS_PER_MS


class FrameDaemon:
    """Publishes one stream."""

    def __init__(self, service: Service, stream: str) -> None:
        require_named(service.config, "streams", stream)
        self._service = service
        self._stream = stream
        self._config = service.config.streams[stream]
        self._state = StreamState(stream=stream, epoch=0, state="starting")
        self._headers = service.bind(HEADERS)
        self._frames = service.bind(FRAMES)
        self._header_topic, self._state_topic, self._jpeg_topic = (topic(stream, kind) for kind in "hsj")
        self._subscribers: Counter[bytes] = Counter()
        self._topics = {HEADERS.name: (self._header_topic, self._state_topic), FRAMES.name: (self._jpeg_topic,)}
        self._wanted_subscribers = {
            self._header_topic: len(service.config.extractors_of(stream)) + 1,  # the extractors and clip
            self._state_topic: 2,  # fusion and clip
        }
        self._meter = Meter()
        self._last_frame: FrameHeader | None = None
        self._ready_deadline_ns = mono_ns() + self._config.ready_timeout_ns
        self._capture = Capture(stream, service.config, service.refusals, service.loop.wake)
        service.status = self._status
        service.working = lambda: not self._capture.stuck(mono_ns())
        service.loop.watch(self._headers, lambda parts: self._count(parts, HEADERS))
        service.loop.watch(self._frames, lambda parts: self._count(parts, FRAMES))
        service.loop.on_tick(self._on_tick)
        service.loop.every(STATE_INTERVAL_NS, lambda _now: self._publish_state())

    def run(self) -> None:
        """Work until stopped."""
        self._capture.start()
        self._service.ready()
        self._service.loop.run()

    def close(self) -> None:
        """Stop reading the source."""
        self._capture.stop()

    def _count(self, parts: Parts, link: Link) -> None:
        """Somebody subscribes or leaves."""
        comes, name = self._service.subscription(parts, link) or (False, b"")
        if name not in self._topics[link.name]:
            return
        self._subscribers[name] += 1 if comes else -1
        if comes and name == self._state_topic:
            self._publish_state()

    def _on_tick(self, now: int) -> None:
        if self._capture.failure is not None:
            raise self._capture.failure
        if not self._capture.go.is_set() and self._state.epoch:
            self._release_when_ready(now)
        while True:
            try:
                event = self._capture.events.get_nowait()
            except queue.Empty:
                return
            self._on_capture(event)

    def _release_when_ready(self, now: int) -> None:
        lacking = [
            f"{wanted - self._subscribers[name]} on {name!r}"
            for name, wanted in self._wanted_subscribers.items()
            if self._subscribers[name] < wanted
        ]
        if lacking and now < self._ready_deadline_ns:
            return
        if lacking and self._config.ready_timeout_ns:
            log.warning("starting although subscribers are missing: %s", ", ".join(lacking))
        self._capture.go.set()

    def _on_capture(self, event: CaptureEvent) -> None:
        if isinstance(event, Captured):
            self._publish_frame(event)
        elif isinstance(event, Opened):
            info = event.info
            self._state = StreamState(
                stream=self._stream,
                epoch=event.epoch,
                state="starting",
                fps=info.fps,
                width=info.width,
                height=info.height,
                origin_ns=info.origin_ns,
            )
            self._publish_state()
        elif isinstance(event, Ended):
            log.info("end of stream after %d frames", self._service.counters["frames"])
            self._change_state("ended", event.reason)
        elif isinstance(event, Failed) and (self._state.state, self._state.reason) != (
            "stalled",
            fit_text(event.reason),
        ):
            self._change_state("stalled", event.reason)

    def _publish_frame(self, captured: Captured) -> None:
        header, counters = captured.header, self._service.counters
        first = self._state.first_t_ns is None
        self._last_frame = header
        self._state = msgspec.structs.replace(
            self._state,
            first_t_ns=header.t_ns if first else self._state.first_t_ns,
            last_frame_id=header.frame_id,
            last_t_ns=header.t_ns,
        )
        if first:
            self._change_state("live")
        counters["frames"] += 1
        self._meter.add(mono_ns())
        if not self._service.send(self._headers, self._header_topic, header):
            counters["dropped.headers"] += 1
        if self._subscribers[self._jpeg_topic] > 0:
            if self._service.send(self._frames, self._jpeg_topic, header, captured.jpeg):
                counters["jpeg_bytes_sent"] += len(captured.jpeg)
            else:
                counters["dropped.frames"] += 1

    def _change_state(self, state: StreamStateName, reason: str = "") -> None:
        self._state = msgspec.structs.replace(self._state, state=state, reason=fit_text(reason))
        self._publish_state()
        self._service.emit("state", self._state)
        self._service.trace.emit(
            StateChangeRecord(self._stream, state, self._state.reason, stream=self._stream, epoch=self._state.epoch)
        )

    def _publish_state(self) -> None:
        if not self._service.send(self._headers, self._state_topic, self._state):
            self._service.counters["dropped.states"] += 1

    def _status(self) -> dict[str, Any]:
        self._service.counters["jpeg_bytes_sent"] += 0  # shown even while nobody has asked for pictures
        now = mono_ns()
        last = self._last_frame
        ring_bytes, ring_ns = self._capture.writer.held()
        return {
            "stream": msgspec.to_builtins(self._state),
            "measured": {
                "fps": self._meter.measured(now).per_s,
                "last_frame_age_ns": now - last.mono_ns if last is not None else None,
                "timeout_ns": int(self._config.timeout_ns),
            },
            "ring": {
                "bytes": ring_bytes,
                "held_ns": ring_ns,
                "max_bytes": int(self._service.config.ring.max_bytes),
                **self._capture.writer.counters(),
            },
            "subscribers": {
                "headers": self._subscribers[self._header_topic],
                "states": self._subscribers[self._state_topic],
                "frames": self._subscribers[self._jpeg_topic],
            },
        }


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    return run_daemon(argv, frame_daemon, FrameDaemon, named=True)

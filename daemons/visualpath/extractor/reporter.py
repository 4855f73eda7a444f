"""What the extractor daemon says to fusion, and the sequence numbers that make every loss visible.

Belongs to the I/O thread. A message that nobody can take now is dropped and counted; its number is used up.
Each OBS and SKIP goes to the tap too, for the extractors that depend on this one.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from visualpath.observability import FrameDropRecord, StateChangeRecord, TimingRecord
from visualpath.process.backend_state import Change
from visualpath.runtime.meter import Meter
from visualpath.runtime.service import Service
from visualpath_protocol.clock import NS_PER_MS, mono_ns
from visualpath_protocol.codec import fit_text
from visualpath_protocol.messages import (
    COUNT_MAX,
    Bound,
    Bye,
    ExtractorState,
    FrameHeader,
    Obs,
    Ping,
    Skip,
    SkipReason,
)
from visualpath_protocol.sockets import ZmqSocket


class Reporter:
    """Sends OBS, SKIP, BOUND, PING and BYE of one source.

    Attributes:
        meter: of the OBS sent, and how long it took from the capture of each frame.
    """

    def __init__(self, service: Service, socket: ZmqSocket, registration: Ping) -> None:
        self._service = service
        self._socket = socket
        self._registration = registration
        self.meter = Meter()
        self._sent: Counter[str] = Counter()

    def observed(
        self, header: FrameHeader, observations: msgspec.Raw, timing: dict[str, float], waiting: int = 0
    ) -> None:
        """One frame has been looked at; `observations` come from `pack_observations`; `waiting` frames are left."""
        self._trace_timing(header, timing, waiting)
        for name, ms in timing.items():
            self._time(name.removesuffix("_ms"), round(ms * NS_PER_MS), header.stream)
        obs = Obs(
            **self._envelope(header.stream, header.epoch),
            frame_id=header.frame_id,
            t_ns=header.t_ns,
            mono_ns=header.mono_ns,
            observations=observations,  # type: ignore[arg-type]  # packed already, in the thread of the model
            bound_ns=header.t_ns,
            timing=timing,
        )
        if self._send("obs", obs):
            now = mono_ns()
            self.meter.add(now, now - header.mono_ns)
            self._time("capture_to_obs", now - header.mono_ns, header.stream)
        self._service.emit("obs", obs)

    def skipped(self, first: FrameHeader, last: FrameHeader, reason: SkipReason, detail: str = "") -> None:
        """The frames from `first` to `last` will not be reported."""
        self._skip(last, first.frame_id, last.frame_id, (first.t_ns, last.t_ns), reason, detail)

    def never_came(self, before: FrameHeader, header: FrameHeader) -> None:
        """The frames between two headers never arrived here; nothing is said if the source looks at none of them."""
        stride, phase = self._registration.stride, self._registration.phase
        first = before.frame_id + 1 + (phase - before.frame_id - 1) % stride
        last = header.frame_id - 1 - (header.frame_id - 1 - phase) % stride
        first_t_ns = min(before.t_ns + 1, COUNT_MAX)
        times = first_t_ns, max(first_t_ns, header.t_ns - 1)
        if first <= last:
            self._skip(header, first, last, times, "gap", "")

    def _skip(
        self, at: FrameHeader, first: int, last: int, times: tuple[int, int], reason: SkipReason, detail: str
    ) -> None:
        skip = Skip(
            **self._envelope(at.stream, at.epoch),
            first_frame_id=first,
            last_frame_id=last,
            first_t_ns=times[0],
            t_ns=times[1],
            reason=reason,
            detail=fit_text(detail),
        )
        self._service.counters[f"skipped.{reason}"] += (last - first) // self._registration.stride + 1
        self._send("skip", skip)
        self._service.emit("skip", skip)
        self._trace_drop(skip)

    def picked(self, header: FrameHeader) -> None:
        """Work on `header` begins: nothing before it will come any more."""
        self._send("bound", Bound(**self._envelope(header.stream, header.epoch), t_ns=header.t_ns))

    def ping(self, state: ExtractorState, busy_ns: int) -> Ping:
        """The complete registration, as it is now."""
        return Ping(
            source=self._registration.source,
            instance=self._registration.instance,
            streams=self._registration.streams,
            stride=self._registration.stride,
            phase=self._registration.phase,
            expected=self._registration.expected,
            state=state,
            busy_ns=busy_ns,
            sent=dict(self._sent),
            counters={name: min(n, COUNT_MAX) for name, n in self._service.counters.items() if n >= 0},
        )

    def send_ping(self, state: ExtractorState, busy_ns: int) -> None:
        """Show life."""
        self._send("ping", self.ping(state, busy_ns))

    def backends_changed(self, change: Change) -> None:
        """Another backend is in use, or one cannot be: counted, and for those that listen."""
        self._service.counters[f"backend.{change.counter}"] += 1
        if change.state:
            source = self._registration.source
            self._service.trace.emit(StateChangeRecord(source, change.state, change.reason))
            self._service.emit("state", {"source": source, "state": change.state, "reason": change.reason})

    def bye(self, reason: str) -> None:
        """Orderly end."""
        self._send("bye", Bye(source=self._registration.source, instance=self._registration.instance, reason=reason))

    def _envelope(self, stream: str, epoch: int) -> dict[str, Any]:
        seq = self._sent[stream]
        self._sent[stream] += 1
        return {
            "source": self._registration.source,
            "instance": self._registration.instance,
            "seq": seq,
            "stream": stream,
            "epoch": epoch,
        }

    def _time(self, name: str, duration_ns: int, stream: str) -> None:
        self._service.histograms.observe(name, duration_ns, stream=stream, source=self._registration.source)

    def _trace_timing(self, header: FrameHeader, timing: dict[str, float], waiting: int) -> None:
        if self._service.trace.enabled(TimingRecord.level):
            record = TimingRecord(
                frame_id=header.frame_id,
                component=self._registration.source,
                processing_ms=sum(timing.values()),
                queue_depth=waiting,
                decode_ms=timing.get("decode_ms", 0.0),
                stream=header.stream,
                epoch=header.epoch,
                t_ns=header.t_ns,
            )
            self._service.trace.emit(record)

    def _trace_drop(self, skip: Skip) -> None:
        if self._service.trace.enabled(FrameDropRecord.level):
            record = FrameDropRecord.of_run(
                range(skip.first_frame_id, skip.last_frame_id + 1, self._registration.stride),
                skip.reason,
                component=skip.source,
                detail=skip.detail,
                stream=skip.stream,
                epoch=skip.epoch,
                t_ns=skip.t_ns,
            )
            self._service.trace.emit(record)

    def _send(self, kind: str, message: Obs | Skip | Bound | Ping | Bye) -> bool:
        sent = self._service.send(self._socket, message)
        self._service.counters[f"sent.{kind}" if sent else f"dropped.{kind}"] += 1
        return sent

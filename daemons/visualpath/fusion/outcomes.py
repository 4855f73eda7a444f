"""What fusion does about an outcome: counts it, logs it, tells it on the tap, hands triggers to the outbox."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from visualpath.core.align import Active, Drop, Idle, Late, Reset
from visualpath.core.stream_fusion import StreamFusion
from visualpath.core.stream_types import Doubt, Fused, FusionFailed, Noted, Outcome, Unreported, WildBound
from visualpath.fusion.events import about_set
from visualpath.fusion.outbox import Outbox
from visualpath.fusion.sources import Sources
from visualpath.fusion.tracing import records_of
from visualpath.runtime.service import Service
from visualpath_protocol.clock import mono_ns
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.messages import Obs, Trig, seconds
from visualpath_protocol.sockets import TRIGGERS

log = logging.getLogger(__name__)


class Outcomes:
    """Acts on what the streams' decisions return."""

    def __init__(self, service: Service, sources: Sources, outbox: Outbox) -> None:
        self._service = service
        self._counters = service.counters
        self._sources = sources
        self._outbox = outbox
        self._captured_ns: int | None = None
        """When the frame of the set that is acted on was captured, monotonic ns."""
        self._trig_codec = Codec(Trig, max_bytes=TRIGGERS.max_bytes)
        self._actions: Mapping[type, Callable[[str, Any], None]] = {
            Fused: self._fused,
            Trig: self._trig,
            Noted: self._noted,
            Late: self._late,
            Drop: self._drop,
            Idle: partial(self._changed, "idle"),
            Active: partial(self._changed, "active"),
            Reset: self._reset,
            FusionFailed: self._failed,
            WildBound: self._wild_bound,
            Unreported: self._unreported,
            Doubt: self._doubt,
        }

    def act(self, stream: StreamFusion, outcomes: list[Outcome], took_ns: int) -> None:
        """Do all that follows from them; `took_ns` is how long deciding took."""
        trace = self._service.trace
        self._captured_ns = None
        for outcome in outcomes:
            self._actions[type(outcome)](stream.stream, outcome)
            if trace.level:
                for record in records_of(outcome, stream.stream, stream.epoch, trace.level, took_ns):
                    trace.emit(record)

    def tell(self, kind: str, make_body: Callable[[], Any]) -> None:
        """An event whose body is made only if somebody listens."""
        if self._service.tapped(kind):
            self._service.emit(kind, make_body())

    def _fused(self, stream: str, fused: Fused) -> None:
        aligned, counters = fused.aligned, self._counters
        counters["sets"] += 1
        counters[f"sets.{aligned.reason}"] += 1
        for source in aligned.obs:
            counters[f"fused.{self._sources.counted_name(source)}"] += 1
        for source, why in fused.missing.items():
            counters[f"missing.{why}.{self._sources.counted_name(source)}"] += 1
        obs: Obs = next(iter(aligned.payloads.values()))
        self._captured_ns = obs.mono_ns
        observe = self._service.histograms.observe
        observe("hold", aligned.hold_ns, stream=stream)
        observe("capture_to_set", mono_ns() - obs.mono_ns, stream=stream)
        self.tell("set", partial(about_set, stream, fused.epoch, aligned))

    def _trig(self, stream: str, trig: Trig) -> None:
        if not self._can_travel(trig):
            return
        by_rule = self._captured_ns is not None  # one by hand comes alone, long after its frame
        if self._captured_ns is not None:
            self._service.histograms.observe("capture_to_trigger", mono_ns() - self._captured_ns, stream=stream)
        self._counters["triggers"] += 1
        self._outbox.put(trig, fired=by_rule)
        self._service.emit("trigger", trig)

    def _can_travel(self, trig: Trig) -> bool:
        """Whether the clip daemon could read it. A plug-in may have said anything; it would be sent again for ever."""
        try:
            body = encode(trig)
        except TypeError as error:
            self._service.refusals.add("refused.trigger.malformed", error)
            return False
        return self._service.decode(self._trig_codec, body, "trigger") is not None

    def _noted(self, stream: str, noted: Noted) -> None:
        """It is for the trace alone."""

    def _late(self, stream: str, late: Late) -> None:
        self._counters[f"late.{self._sources.counted_name(late.source)}"] += 1

    def _drop(self, stream: str, drop: Drop) -> None:
        detail = f"{drop.source} on {stream} #{drop.frame_id} {seconds(drop.t_ns)}"
        self._service.refusals.add(f"dropped.{drop.reason}", detail)

    def _changed(self, state: str, stream: str, change: Idle | Active) -> None:
        log.info("stream %s: source %s is %s", stream, change.source, state)
        self.tell("state", lambda: {"stream": stream, "source": change.source, "state": state})

    def _reset(self, stream: str, reset: Reset) -> None:
        self._counters[f"resets.{reset.kind}"] += 1
        if reset.kind != "epoch":
            log.warning("stream %s: time jumped (%s)", stream, reset.kind)

    def _failed(self, stream: str, failed: FusionFailed) -> None:
        self._service.refusals.add("failed.fusion", f"{stream} #{failed.frame_id}: {failed.detail}")

    def _wild_bound(self, stream: str, wild: WildBound) -> None:
        self._service.refusals.add("refused.obs.wild-bound", f"{wild.source} on {stream} {seconds(wild.t_ns)}")

    def _unreported(self, stream: str, unreported: Unreported) -> None:
        self._counters[f"unreported.{self._sources.counted_name(unreported.source)}"] += unreported.frames

    def _doubt(self, stream: str, doubt: Doubt) -> None:
        log.warning("stream %s: %s", stream, doubt.text)

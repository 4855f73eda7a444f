"""The fusion daemon: drain all sockets, tick once, wait until the next deadline."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterable
from functools import partial
from typing import Any

import msgspec

from visualpath.core.align_types import Late
from visualpath.core.errors import CommandError, StorageError
from visualpath.core.stream_fusion import MAX_SKIPPED_AT_ONCE, StreamFusion
from visualpath.core.stream_types import ByHand, Fused, Input, SourceDown, Tick
from visualpath.fusion.events import about_change, about_obs, about_skip
from visualpath.fusion.outbox import Outbox, load_firings, outbox_path
from visualpath.fusion.outcomes import Outcomes
from visualpath.fusion.rate import RateCap
from visualpath.fusion.sources import LEFT, Change, Sources, Up
from visualpath.observability import StateChangeRecord
from visualpath.process.decision import check_fusion, make_stream_fusion, setup_of
from visualpath.process.recorder import Recorder
from visualpath.runtime.main import run_daemon
from visualpath.runtime.poll import Parts
from visualpath.runtime.service import Service
from visualpath_protocol.clock import mono_ns
from visualpath_protocol.codec import Codec, pack
from visualpath_protocol.endpoints import FUSION, frame_daemon
from visualpath_protocol.errors import InvalidName
from visualpath_protocol.messages import (
    COUNT_MAX,
    Bound,
    Bye,
    Obs,
    Ping,
    Skip,
    StreamState,
    check_name,
    make_trig_id,
)
from visualpath_protocol.sockets import HEADERS, OBSERVATIONS, topic

log = logging.getLogger(__name__)

TICK = Tick()
BY_HAND_PER_S = 100
BY_HAND_PENDING_MAX = 1000
"""The outbox is bounded: triggers by hand must not push those of the rules out while the clip daemon is away."""


class FusionDaemon:
    """Aligns and decides for all streams."""

    def __init__(self, service: Service, _name: str = "") -> None:
        self._service = service
        config = service.config
        hang_timeouts_ns = {name: extractor.hang_timeout_ns for name, extractor in config.extractors.items()}
        self._sources = Sources(config.streams, hang_timeouts_ns, config.fusion.max_rate)
        path = outbox_path(config.state_dir)
        try:
            firings = {stream: load_firings(path, stream, service.counters) for stream in config.streams}
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"cannot use {path}: {error}") from error
        check_fusion(config)
        now = mono_ns()
        self._streams = {
            name: make_stream_fusion(config.fusion, name, setup_of(config, name), firings[name], now)
            for name in config.streams
        }
        self._recorder = Recorder(config, firings, service.refusals, now) if config.record.enabled else None
        self._outbox = Outbox(path, service)
        self._undelivered_ns: int | None = None  # since when the outbox has not been empty
        self._unfused_ns: dict[str, int] = {}  # by stream: when the first OBS came that has no set yet
        self._outcomes = Outcomes(service, self._sources, self._outbox)
        self._obs_codec = Codec(Obs, Skip, Bound, Ping, Bye, max_bytes=OBSERVATIONS.max_bytes)
        self._state_codec = Codec(StreamState, max_bytes=HEADERS.max_bytes)
        self._by_hand = RateCap(BY_HAND_PER_S, 0)
        service.status = self._status
        service.command("register", self._register)
        service.command("trigger", self._trigger_by_hand)
        service.loop.watch(service.bind(OBSERVATIONS), self._on_obs)
        for stream in config.streams:
            states = service.connect(HEADERS, frame_daemon(stream))
            states.subscribe(topic(stream, "s"))
            service.loop.watch(states, self._on_stream_state)
        service.loop.on_tick(self._tick, self._next_deadline)

    def run(self) -> None:
        """Work until stopped."""
        self._outbox.start()
        self._service.ready()
        self._service.loop.run()

    def close(self) -> None:
        """Store every trigger that was decided, and what led to it."""
        self._outbox.stop()
        if self._recorder is not None:
            self._recorder.close()

    def _on_obs(self, parts: Parts) -> None:
        message = self._service.decode(self._obs_codec, parts[-1], "obs")
        now = mono_ns()
        if isinstance(message, (Obs, Skip, Bound)):
            self._on_source_message(message, parts[-1], now)
        elif message is not None:
            self._on_sign(message, now)

    def _on_sign(self, message: Ping | Bye, now: int) -> None:
        if not self._sources.admits_sign(message.source, now):
            self._service.refusals.add("refused.obs.rate", message)
        elif isinstance(message, Bye):
            self._apply(self._sources.leave(message.source, message.instance), now)
        else:
            try:
                self._apply(self._sources.heard(message, now), now)
            except CommandError as error:
                self._service.refusals.add(f"refused.obs.{error.code}", error)

    def _on_source_message(self, message: Obs | Skip | Bound, raw: bytes, now: int) -> None:
        stream = self._streams.get(message.stream)
        if stream is None:
            self._service.refusals.add("refused.obs.unknown-stream", message)
            return
        if not self._sources.accepts(message.source, message.instance):
            self._service.refusals.add("refused.obs.name-taken", message)
            return
        self._apply(self._sources.account(message.source, message.stream, message.seq, now), now)
        frames = self._sources.frames_in(message) if isinstance(message, Skip) else 1
        self._count(message, frames)
        if self._sources.admits(message.source, now, min(frames, MAX_SKIPPED_AT_ONCE)):
            self._feed(stream, message, now, raw)
        else:
            self._service.refusals.add("dropped.rate" if isinstance(message, Obs) else "refused.obs.rate", message)

    def _count(self, message: Obs | Skip | Bound, frames: int) -> None:
        counters = self._service.counters
        source = self._sources.counted_name(message.source)
        if isinstance(message, Obs):
            counters[f"obs.{source}"] += 1
            self._outcomes.tell("obs", partial(about_obs, message))
        elif isinstance(message, Skip):
            counters[f"skips.{source}"] += frames
            self._outcomes.tell("skip", partial(about_skip, message))

    def _on_stream_state(self, parts: Parts) -> None:
        state = self._service.decode(self._state_codec, parts[-1], "headers")
        if state is not None and state.stream in self._streams:
            if state.epoch != self._streams[state.stream].epoch:
                self._unfused_ns.pop(state.stream, None)
            self._feed(self._streams[state.stream], state, mono_ns(), parts[-1])

    def _feed(self, stream: StreamFusion, message: Input, now: int, raw: bytes | None = None) -> None:
        """`raw`: the message as it came over the wire."""
        recorder = self._recorder
        if recorder is not None:
            recorder.put(stream.stream, message, now, raw)
        outcomes = stream.feed(message, now)
        if any(isinstance(outcome, Fused) for outcome in outcomes):
            self._unfused_ns.pop(stream.stream, None)
        elif isinstance(message, Obs) and not any(isinstance(o, Late) and not o.orphan for o in outcomes):
            self._unfused_ns.setdefault(stream.stream, now)
        if outcomes:
            self._outcomes.act(stream, outcomes, mono_ns() - now)
            if recorder is not None:
                recorder.put_trigs(stream.stream, outcomes, now)

    def _register(self, args: dict[str, Any]) -> dict[str, Any]:
        try:
            ping = msgspec.msgpack.decode(pack({"t": "PING", **args}, Ping), type=Ping)
        except TypeError as error:
            raise CommandError("malformed", f"no registration: {error}") from error
        now = mono_ns()
        self._apply(self._sources.heard(ping, now), now)
        return {"accepted": ping.source}

    def _trigger_by_hand(self, args: dict[str, Any]) -> dict[str, Any]:
        """Args: stream, label, and, so that asking twice is one trigger, the t_ns to trigger at."""
        stream = self._streams.get(str(args.get("stream")))
        if stream is None:
            raise CommandError("unknown-stream", f"no stream {args.get('stream')!r}", ", ".join(self._streams))
        state = stream.state
        if state is None or state.last_t_ns is None or state.last_frame_id is None:
            raise CommandError("no-frames", f"stream {stream.stream} has no frames yet")
        t_ns = args.get("t_ns", state.last_t_ns)
        if type(t_ns) is not int or not 0 <= t_ns <= COUNT_MAX:
            raise CommandError("malformed", f"t_ns {t_ns!r} is no time in ns")
        if self._outbox.pending >= BY_HAND_PENDING_MAX or not self._by_hand.admits(mono_ns()):
            raise CommandError("busy", "too many triggers at once, or too many wait for the clip daemon", "ask later")
        try:
            label = check_name("label", str(args.get("label", "manual")))
        except InvalidName as error:
            raise CommandError("malformed", str(error)) from error
        reason = str(args.get("reason", "asked for by hand"))
        self._feed(stream, ByHand(label=label, t_ns=t_ns, frame_id=state.last_frame_id, reason=reason), mono_ns())
        trig_id = make_trig_id(stream.stream, stream.epoch, label, t_ns)
        return {"trig_id": trig_id, "stream": stream.stream, "epoch": stream.epoch, "t_ns": t_ns}

    def _apply(self, changes: Iterable[Change], now: int) -> None:
        for change in changes:
            if isinstance(change, Up):
                log.info("source %s is up on %s", change.ping.source, ", ".join(change.ping.streams))
                self._service.trace.emit(StateChangeRecord(change.ping.source, "up"))
                self._feed_all(change.ping.streams, change.ping, now)
            else:
                level = logging.INFO if change.reason == LEFT else logging.WARNING
                log.log(level, "source %s is down: %s", change.source, change.reason)
                self._service.trace.emit(StateChangeRecord(change.source, "down", change.reason))
                self._feed_all(change.streams, SourceDown(source=change.source), now)
            self._outcomes.tell("state", partial(about_change, change))

    def _feed_all(self, streams: Iterable[str], message: Input, now: int) -> None:
        for name in streams:
            if name in self._streams:
                self._feed(self._streams[name], message, now)

    def _tick(self, now: int) -> None:
        if self._outbox.failure is not None:
            raise self._outbox.failure
        self._undelivered_ns = (self._undelivered_ns or now) if self._outbox.pending else None
        self._apply(self._sources.expire(now), now)
        for stream in self._streams.values():
            deadline = stream.next_deadline()
            if deadline is not None and now >= deadline:
                self._feed(stream, TICK, now)

    def _next_deadline(self) -> int | None:
        deadlines = [stream.next_deadline() for stream in self._streams.values()]
        return min((due for due in (*deadlines, self._sources.next_deadline()) if due is not None), default=None)

    def _status(self) -> dict[str, Any]:
        now = mono_ns()
        return {
            "sources": self._sources.table(now),
            "streams": {
                name: {
                    "state": stream.state.state if stream.state else "unknown",
                    "epoch": stream.state.epoch if stream.state else 0,
                    "last_t_ns": stream.state.last_t_ns if stream.state else None,
                    "sets": stream.frames_fused,
                    "drained": stream.drained,
                    "unfused_ns": now - self._unfused_ns.get(name, now),
                }
                for name, stream in self._streams.items()
            },
            "outbox": self._outbox.pending,
            "window_ns": int(self._service.config.fusion.window_ns),
            "undelivered_ns": now - (self._undelivered_ns or now),
        }


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    return run_daemon(argv, lambda _: FUSION, FusionDaemon, named=False)

"""The fusion daemon: drain all sockets, tick once, wait until the next deadline."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from visualpath.core.align import AlignParams
from visualpath.core.errors import CommandError, ConfigError, PluginError, StorageError
from visualpath.core.fusion import BaseFusion
from visualpath.fusion.events import about_change, about_obs, about_skip
from visualpath.fusion.outbox import Outbox, load_firings, outbox_path
from visualpath.fusion.sources import LEFT, Change, Sources, Up
from visualpath.fusion.stream import StreamFusion
from visualpath.plugin.discovery import load_fusion
from visualpath.runtime.config import Config, FusionConfig
from visualpath.runtime.main import run_daemon
from visualpath.runtime.poll import Parts
from visualpath.runtime.service import Service
from visualpath_protocol.clock import mono_ns
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.endpoints import FUSION, frame_daemon
from visualpath_protocol.errors import InvalidName
from visualpath_protocol.messages import (
    COUNT_MAX,
    Bound,
    Bye,
    Obs,
    Ping,
    Skip,
    SourceMessage,
    StreamState,
    Trig,
    check_name,
)
from visualpath_protocol.sockets import HEADERS, OBSERVATIONS, TRIGGERS, topic

log = logging.getLogger(__name__)


class FusionDaemon:
    """Aligns and decides for all streams."""

    def __init__(self, service: Service, _name: str = "") -> None:
        self._service = service
        config = service.config
        hang_timeouts_ns = {name: extractor.hang_timeout_ns for name, extractor in config.extractors.items()}
        self._sources = Sources(config.streams, hang_timeouts_ns)
        try:
            self._streams = {stream: self._make_stream(config, stream) for stream in config.streams}
        except (OSError, sqlite3.Error) as error:
            raise StorageError(f"cannot use {outbox_path(config.state_dir)}: {error}") from error
        self._outbox = Outbox(outbox_path(config.state_dir), service)
        self._obs_codec = Codec(Obs, Skip, Bound, Ping, Bye, max_bytes=OBSERVATIONS.max_bytes)
        self._trig_codec = Codec(Trig, max_bytes=TRIGGERS.max_bytes)
        self._state_codec = Codec(StreamState, max_bytes=HEADERS.max_bytes)
        service.status = self._status
        service.command("register", self._register)
        service.command("trigger", self._manual_trigger)
        service.loop.watch(service.bind(OBSERVATIONS), self._on_obs)
        for stream in config.streams:
            states = service.connect(HEADERS, frame_daemon(stream))
            states.subscribe(topic(stream, "s"))
            service.loop.watch(states, self._on_stream_state)
        service.loop.on_tick(self._tick, self._next_deadline)

    def _make_stream(self, config: Config, name: str) -> StreamFusion:
        stream = StreamFusion(
            name,
            align_params(config.fusion, config.streams[name].pace),
            make_fusion(config.fusion),
            load_firings(outbox_path(config.state_dir), name),
            self._service.refusals,
            self._tell,
        )
        stream.expect((e for e in config.extractors_of(name) if config.extractors[e].expected), mono_ns())
        return stream

    def run(self) -> None:
        """Work until stopped."""
        self._outbox.start()
        self._service.ready()
        self._service.loop.run()

    def close(self) -> None:
        """Store every trigger that was decided."""
        self._outbox.stop()

    def _on_obs(self, parts: Parts) -> None:
        message = self._service.decode(self._obs_codec, parts[-1], "obs")
        now = mono_ns()
        if isinstance(message, Ping):
            self._apply(self._sources.heard(message, now), now)
        elif isinstance(message, Bye):
            self._apply(self._sources.leave(message.source, message.instance), now)
        elif message is not None:
            self._on_source_message(message, now)

    def _on_source_message(self, message: SourceMessage, now: int) -> None:
        stream = self._streams.get(message.stream)
        if stream is None:
            self._service.refusals.add("refused.obs.unknown-stream", message)
            return
        if not self._sources.accepts(message.source, message.instance):
            self._service.refusals.add("refused.obs.name-taken", message)
            return
        self._apply(self._sources.account(message.source, message.stream, message.seq, now), now)
        counters = self._service.counters
        source = self._sources.counted_name(message.source)
        if isinstance(message, Obs):
            counters[f"obs.{source}"] += 1
            self._tell("obs", partial(about_obs, message))
            self._send(stream.obs(message, now))
        elif isinstance(message, Skip):
            counters[f"skips.{source}"] += message.last_frame_id - message.first_frame_id + 1
            self._tell("skip", partial(about_skip, message))
            self._send(stream.skip(message, now))
        elif isinstance(message, Bound):
            self._send(stream.bound(message, now))

    def _on_stream_state(self, parts: Parts) -> None:
        state = self._service.decode(self._state_codec, parts[-1], "headers")
        if state is not None and state.stream in self._streams:
            self._send(self._streams[state.stream].stream_state(state, mono_ns()))

    def _register(self, args: dict[str, Any]) -> dict[str, Any]:
        try:
            ping = msgspec.convert(args, Ping)
        except msgspec.ValidationError as error:
            raise CommandError("malformed", f"no registration: {error}") from error
        now = mono_ns()
        self._apply(self._sources.register(ping, now), now)
        return {"accepted": ping.source}

    def _manual_trigger(self, args: dict[str, Any]) -> dict[str, Any]:
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
        try:
            label = check_name("label", str(args.get("label", "manual")))
        except InvalidName as error:
            raise CommandError("malformed", str(error)) from error
        trig = stream.manual(label, t_ns, state.last_frame_id, str(args.get("reason", "asked for by hand")))
        self._send([trig])
        return {"trig_id": trig.trig_id, "stream": trig.stream, "epoch": trig.epoch, "t_ns": t_ns}

    def _apply(self, changes: Iterable[Change], now: int) -> None:
        for change in changes:
            if isinstance(change, Up):
                log.info("source %s is up on %s", change.ping.source, ", ".join(change.ping.streams))
                for name in change.ping.streams:
                    if name in self._streams:
                        self._send(self._streams[name].source_up(change.ping, now))
            else:
                level = logging.INFO if change.reason == LEFT else logging.WARNING
                log.log(level, "source %s is down: %s", change.source, change.reason)
                for name in change.streams:
                    if name in self._streams:
                        self._send(self._streams[name].source_down(change.source, now))
            self._tell("state", partial(about_change, change))

    def _tick(self, now: int) -> None:
        if self._outbox.failure is not None:
            raise self._outbox.failure
        self._apply(self._sources.expire(now), now)
        for stream in self._streams.values():
            self._send(stream.tick(now))

    def _next_deadline(self) -> int | None:
        deadlines = [stream.next_deadline() for stream in self._streams.values()]
        return min((due for due in (*deadlines, self._sources.next_deadline()) if due is not None), default=None)

    def _send(self, triggers: list[Trig]) -> None:
        for trig in triggers:
            if not self._can_travel(trig):
                continue
            self._service.counters["triggers"] += 1
            self._outbox.put(trig)
            self._service.emit("trigger", trig)

    def _tell(self, kind: str, make_body: Callable[[], Any]) -> None:
        """An event whose body is made only if somebody listens."""
        if self._service.tapped(kind):
            self._service.emit(kind, make_body())

    def _can_travel(self, trig: Trig) -> bool:
        """Whether the clip daemon could read it. A plug-in may have said anything; it would be sent again for ever."""
        try:
            body = encode(trig)
        except TypeError as error:
            self._service.refusals.add("refused.trigger.malformed", error)
            return False
        return self._service.decode(self._trig_codec, body, "trigger") is not None

    def _status(self) -> dict[str, Any]:
        return {
            "sources": self._sources.table(mono_ns()),
            "streams": {
                name: {
                    "state": stream.state.state if stream.state else "unknown",
                    "epoch": stream.state.epoch if stream.state else 0,
                    "last_t_ns": stream.state.last_t_ns if stream.state else None,
                    "sets": stream.frames_fused,
                    "drained": stream.drained,
                }
                for name, stream in self._streams.items()
            },
            "outbox": self._outbox.pending,
        }


def align_params(config: FusionConfig, pace: str) -> AlignParams:
    """The aligner's parameters for a stream.

    The documents' multiplier becomes the allowed lateness beyond the window. A stream that is read as fast
    as it can be has no relation to the clock: there event time may run ahead of it, and only STREAM tells epochs.
    """
    params = AlignParams(
        window_ns=config.window_ns,
        allowed_lateness_ns=round((config.late_arrival_threshold - 1) * config.window_ns),
        idle_timeout_ns=config.idle_timeout_ns,
    )
    return replace(params, future_guard_ns=COUNT_MAX) if pace == "fast" else params


def make_fusion(config: FusionConfig) -> BaseFusion:
    """A fresh decision object, one per stream.

    Raises:
        PluginError, ConfigError: it cannot be made.
    """
    plugin: Any = load_fusion(config.plugin)
    if config.plugin == "rules":
        if not config.rules:
            raise ConfigError("fusion.rules is empty: no moment would ever be found; add a rule")
        fusion: BaseFusion = plugin(config.rules)
        return fusion
    try:
        fusion = plugin(config.config)
    except Exception as error:
        raise PluginError(f"fusion {config.plugin!r} cannot start: {type(error).__name__}: {error}") from error
    return fusion


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    return run_daemon(argv, lambda _: FUSION, FusionDaemon, named=False)

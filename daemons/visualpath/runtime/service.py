"""What all daemons have in common: one loop, a folder of their own, control, tap, counters, status."""

from __future__ import annotations

import logging
import os
import signal
from collections import Counter
from collections.abc import Callable
from typing import Any

import zmq

from visualpath.core.errors import CommandError
from visualpath.runtime.config import Config
from visualpath.runtime.guard import Guard
from visualpath.runtime.histogram import Histograms
from visualpath.runtime.lately import STEP_NS, Lately
from visualpath.runtime.notify import Notifier
from visualpath.runtime.poll import Parts, PollLoop
from visualpath.runtime.refusals import Refusals
from visualpath.runtime.roles import fingerprint
from visualpath.runtime.summary import summary
from visualpath.runtime.tracing import Tracing
from visualpath_protocol import PROTOCOL_VERSION
from visualpath_protocol.clock import NS_PER_S, mono_ns, wall_ns
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.errors import (
    EndpointError,
    MalformedMessage,
    OversizedMessage,
    ProtocolError,
    VersionMismatch,
)
from visualpath_protocol.messages import COUNT_MAX, Command, ErrorBody, Event, Message, Reply
from visualpath_protocol.security import FolderClaim
from visualpath_protocol.sockets import (
    CONTROL,
    SUBSCRIBE,
    TAP,
    TOPIC_MAX_BYTES,
    UNSUBSCRIBE,
    Link,
    ZmqContext,
    ZmqSocket,
    bind,
    connect,
    is_tcp,
)

log = logging.getLogger(__name__)

STATUS_INTERVAL_NS = 5 * NS_PER_S
REST_NS = 20 * NS_PER_S
"""180 starts an hour are what the units allow; less than the time after which the watchdog bites."""
COMMANDS_AT_ONCE = 20
"""Commands in one pass of the loop: who floods this link waits, and not the frames."""
MAX_TAPPED = 100
"""Different subscriptions on the tap; peers could invent any number."""

CommandHandler = Callable[[dict[str, Any]], Any]


class Service:
    """One daemon's surroundings.

    Attributes:
        name: the daemon's name, e.g. `frame-cam1`.
        loop: the poll loop.
        counters: every counter of this daemon by dotted name.
        refusals: for bad input.
        histograms: of how long things take, for the thread of the loop.
        trace: what happens to each frame, for `<trace.dir>/<name>.jsonl`.
        status: gives what this daemon adds to the answer of `status`.
        working: whether the daemon does its work; while it says no, systemd's watchdog is not fed.

    Raises:
        AddressInUse: this daemon is running already.
        EndpointError: its folder or sockets cannot be made.
    """

    def __init__(self, name: str, config: Config) -> None:
        self.name = name
        self.config = config
        self.endpoints = config.endpoints()
        self._claim = FolderClaim(self.endpoints.folder(name))
        self.loop = PollLoop()
        self.counters: Counter[str] = Counter()
        self.refusals = Refusals(self.counters)
        self._lately = Lately(self.counters)
        self.histograms = Histograms(self.counters, len(config.streams) * max(1, len(config.extractors)))
        self._tracing = Tracing(name, config, self.refusals)
        self.trace = self._tracing.hub
        self.status: Callable[[], dict[str, Any]] = dict
        self._started_ns = mono_ns()
        self._fingerprint = fingerprint(config, name)
        self._commands: dict[str, CommandHandler] = {
            "status": self._status,
            "metrics": self._metrics,
            "trace": self._tracing.command,
        }
        self._context: ZmqContext = zmq.Context()
        self._sockets: list[ZmqSocket] = []
        self._guard: Guard | None = None
        self._tapped: set[bytes] = set()
        self._notifier = Notifier()
        self.working: Callable[[], bool] = lambda: True
        try:
            self._control = self.bind(CONTROL)
            self._tap = self.bind(TAP)
        except EndpointError:
            self.close()
            raise
        self._command_codec = Codec(Command, max_bytes=CONTROL.max_bytes)
        self.loop.watch(self._control, self._on_command, COMMANDS_AT_ONCE)
        self.loop.watch(self._tap, self._on_tap)
        self.loop.every(NS_PER_S, self.refusals.report)
        self.loop.every(STEP_NS, self._lately.step)
        self.loop.every(STATUS_INTERVAL_NS, lambda _now: self._notifier.status(summary(self._status({}))))
        if self._notifier.watchdog_ns is not None:
            self.loop.every(self._notifier.watchdog_ns, self._feed_watchdog)

    def bind(self, link: Link) -> ZmqSocket:
        """The serving side of one of this daemon's links."""
        address = self.endpoints.address(self.name, link.name)
        keyring = self.endpoints.keys if is_tcp(address) else None
        if keyring is not None and self._guard is None:
            self._guard = Guard(self._context, self.loop, self.refusals, keyring)
        socket = bind(
            self._context,
            link,
            address,
            self._claim,
            keys=keyring.serving() if keyring is not None else None,
            allow_plain_loopback=self.config.allow_plain_loopback,
        )
        self._sockets.append(socket)
        if keyring is not None and self._guard is not None:
            self._guard.watch(socket, link, address)
        return socket

    def connect(self, link: Link, daemon: str, *, identity: str = "") -> ZmqSocket:
        """The asking side of another daemon's link."""
        address = self.endpoints.address(daemon, link.name)
        keys = self.endpoints.client_keys(daemon, link.name, self.name)
        socket = connect(self._context, link, address, identity=identity, keys=keys)
        self._sockets.append(socket)
        return socket

    def command(self, name: str, handler: CommandHandler) -> None:
        """Answer the control command `name` by `handler(args)`, which may raise CommandError."""
        self._commands[name] = handler

    def decode(self, codec: Codec[Any], data: bytes, link: str) -> Any:
        """One message, or None (counted and reported) if it is none."""
        try:
            return codec.decode(data)
        except ProtocolError as error:
            self._refuse(link, error)
            return None

    def subscription(self, parts: Parts, link: Link) -> tuple[bool, bytes] | None:
        """What a peer of an XPUB said: whether it comes (or goes), and the topic. None (counted) if it is neither."""
        said = parts[0]
        if len(parts) > 1 or said[:1] not in (SUBSCRIBE, UNSUBSCRIBE) or len(said) > 1 + TOPIC_MAX_BYTES:
            self._refuse(link.name, MalformedMessage(f"no subscription: {said[:TOPIC_MAX_BYTES]!r}"))
        else:
            return said[:1] == SUBSCRIBE, said[1:]
        return None

    def _refuse(self, link: str, error: ProtocolError) -> None:
        kinds = {VersionMismatch: "version", OversizedMessage: "oversized"}
        self.refusals.add(f"refused.{link}.{kinds.get(type(error), 'malformed')}", error)

    def ready(self) -> None:
        """The daemon serves from now on."""
        log.info("ready")
        self._notifier.ready(summary(self._status({})))

    def rest(self) -> None:
        """Under systemd, wait before the end: it gives up for good a unit that has to be started too often."""
        if self._notifier.listens:
            self._notifier.alive()
            self.loop.rest(REST_NS)

    def stopping(self) -> None:
        """The orderly end has begun."""
        self._notifier.stopping()

    def tapped(self, kind: str) -> bool:
        """Whether anybody listens to this kind of event; what costs something to say is not said to nobody."""
        return any(kind.encode().startswith(prefix) for prefix in self._tapped)

    def emit(self, kind: str, body: Any) -> None:
        """Tell whoever listens on the tap. Lossy by contract."""
        if not self.tapped(kind):
            return
        event = Event(daemon=self.name, kind=kind, mono_ns=mono_ns(), wall_ns=wall_ns(), body=body)
        if not self.send(self._tap, kind.encode(), event):
            self.counters["dropped.tap"] += 1

    def send(self, socket: ZmqSocket, *parts: bytes | Message) -> bool:
        """Send without waiting; False if nobody can take it now."""
        try:
            socket.send_multipart([encode(p) if isinstance(p, Message) else p for p in parts], zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT end the loop, in whatever thread it runs. Call it in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(self.loop.wake_fd, warn_on_full_buffer=False)

    def close(self) -> None:
        """Write the trace to its end, close all sockets and give the folder up."""
        self.trace.close()
        if self._guard is not None:
            self._guard.close()
        for socket in self._sockets:
            socket.close()
        self._context.term()
        self._claim.release()
        self.loop.close()

    def _on_tap(self, parts: Parts) -> None:
        """XPUB tells the first subscription to a topic (a one and the topic) and the end of the last (a zero)."""
        said = self.subscription(parts, TAP)
        if said is None:
            return
        comes, prefix = said
        if not comes:
            self._tapped.discard(prefix)
        elif len(self._tapped) < MAX_TAPPED:
            self._tapped.add(prefix)

    def _feed_watchdog(self, _now: int) -> None:
        if self.working():
            self._notifier.alive()

    def _on_command(self, parts: Parts) -> None:
        identity, body = parts[0], parts[-1]
        try:
            reply = self._answer(self._command_codec.decode(body))
        except VersionMismatch as error:
            self._refuse("control", error)
            reply = encode(_refusal(error.message_id, CommandError("version", str(error))))
        except ProtocolError as error:
            self._refuse("control", error)
            return
        if not self.send(self._control, identity, reply):
            self.counters["dropped.reply"] += 1

    def _answer(self, command: Command) -> bytes:
        reply = encode(self._reply(command))
        if len(reply) <= CONTROL.max_bytes:
            return reply
        return encode(_refusal(command.id, CommandError("too-large", "the answer is too large", "ask for less")))

    def _reply(self, command: Command) -> Reply:
        handler = self._commands.get(command.name)
        try:
            if handler is None:
                raise CommandError(
                    "unknown-command", f"{self.name} knows no {command.name!r}", f"it knows {', '.join(self._commands)}"
                )
            return Reply(id=command.id, ok=True, result=handler(command.args))
        except CommandError as error:
            return _refusal(command.id, error)

    def _status(self, _args: dict[str, Any]) -> dict[str, Any]:
        return {
            "daemon": self.name,
            "pid": os.getpid(),
            "config": self._fingerprint,
            "protocol": PROTOCOL_VERSION,
            "uptime_ns": mono_ns() - self._started_ns,
            "rss_bytes": resident_bytes(),
            "open_files": len(os.listdir("/proc/self/fd")),
            "trace": self._tracing.status(),
            **self.status(),
            "counters": {name: min(count, COUNT_MAX) for name, count in list(self.counters.items())},
            "lately": {name: min(count, COUNT_MAX) for name, count in self._lately.growth().items()},
        }

    def _metrics(self, args: dict[str, Any]) -> dict[str, Any]:
        return {**self._status(args), "histograms": self.histograms.snapshot()}


def _refusal(command_id: str, error: CommandError) -> Reply:
    body = ErrorBody(code=error.code, message=error.message, hint=error.hint)
    return Reply(id=command_id, ok=False, error=body)


def resident_bytes() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

"""The way of a frame to the model: its header, what the dependencies say about it, the mailbox.

Belongs to the I/O thread. Whatever is left out on the way is announced when that is decided.
"""

from __future__ import annotations

from visualpath.extractor.dependencies import Decision, Skipped, Waiting, Word
from visualpath.extractor.reporter import Reporter
from visualpath.process.mailbox import Mailbox
from visualpath.runtime.poll import Parts
from visualpath.runtime.service import Service
from visualpath_protocol.clock import mono_ns
from visualpath_protocol.codec import Codec
from visualpath_protocol.endpoints import extractor_daemon, frame_daemon
from visualpath_protocol.messages import Event, FrameHeader
from visualpath_protocol.sockets import HEADERS, TAP, topic

TOLD = (b"obs", b"skip")
"""The kinds of events by which an extractor tells those that depend on it."""


class _Told(Event, tag="EVENT", kw_only=True, frozen=True):
    """An event of a dependency's tap."""

    body: Word


class Inbox:
    """Listens to the dependencies from the start, so that none of their words is missed, and to the streams when told.

    Args:
        name: of this extractor daemon.
        mailbox: takes what the model may look at.
        reporter: says what it will not look at.
    """

    def __init__(self, service: Service, name: str, mailbox: Mailbox, reporter: Reporter) -> None:
        self._service = service
        self._config = service.config.extractors[name]
        self._streams = service.config.streams_of(name)
        self._mailbox = mailbox
        self._reporter = reporter
        self._last: dict[str, FrameHeader] = {}
        self._heard_ns: dict[str, int] = {}
        self._unanswered: dict[str, tuple[int, int]] = {}
        """By stream: the first frame that the model was given after its last observation, its epoch, and when that was.

        A frame of which a dependency says nothing is not this extractor's to answer.
        """
        self._stopped = False
        self._header_codec = Codec(FrameHeader, max_bytes=HEADERS.max_bytes)
        self._tap_codec = Codec(_Told, max_bytes=TAP.max_bytes)
        extractors = service.config.extractors
        dependencies = {other: each for other, each in extractors.items() if each.group in self._config.depends}
        self._waiting = Waiting(self._streams, dependencies, service.config.fusion.window_ns)
        for dependency in dependencies:
            socket = service.connect(TAP, extractor_daemon(dependency))
            for kind in TOLD:
                socket.subscribe(kind)
            service.loop.watch(socket, self._on_told)
        service.loop.on_tick(lambda now: self._act(self._waiting.expire(now)), self._waiting.next_deadline)

    def subscribe(self) -> None:
        """Take frames from now on."""
        for stream in self._streams:
            socket = self._service.connect(HEADERS, frame_daemon(stream))
            socket.subscribe(topic(stream, "h"))
            self._heard_ns[stream] = mono_ns()
            self._service.loop.watch(socket, self._on_frame)

    def answered(self, stream: str) -> None:
        """A frame of the stream was looked at."""
        self._unanswered.pop(stream, None)

    def freshness(self, now: int) -> dict[str, dict[str, int]]:
        """By stream: how long ago the last frame came, and for how long none that the model was given was looked at."""
        return {
            stream: {
                "silent_ns": now - heard_ns,
                "unanswered_ns": now - self._unanswered.get(stream, (0, now))[1],
            }
            for stream, heard_ns in self._heard_ns.items()
        }

    def stop(self) -> None:
        """Skip at once what waits, and what comes from now on."""
        self._stopped = True
        for task in self._mailbox.close():
            self._skip_stopped(task.header)
        for header in self._waiting.give_up():
            self._skip_stopped(header)

    def _on_frame(self, parts: Parts) -> None:
        header = self._service.decode(self._header_codec, parts[-1], "headers")
        if header is None or header.stream not in self._streams:
            return
        before = self._last.get(header.stream)
        self._last[header.stream] = header
        now = self._heard_ns[header.stream] = mono_ns()
        if before is not None and before.epoch == header.epoch:
            self._reporter.never_came(before, header)
        if self._config.looks_at(header.frame_id):
            self._service.counters["received"] += 1
            if self._stopped:
                self._skip_stopped(header)
            else:
                self._act(self._waiting.offer(header, now))

    def _on_told(self, parts: Parts) -> None:
        if parts[0] not in TOLD:  # a subscription takes all that begins so
            return
        event = self._service.decode(self._tap_codec, parts[-1], "tap")
        if event is not None:
            self._act(self._waiting.told(event.body))

    def _skip_stopped(self, header: FrameHeader) -> None:
        self._reporter.skipped(header, header, "backpressure", "stopped")

    def _act(self, decisions: list[Decision]) -> None:
        for decision in decisions:
            if isinstance(decision, Skipped):
                self._reporter.skipped(decision.header, decision.header, decision.reason, decision.detail)
                continue
            stream, epoch = decision.header.stream, decision.header.epoch
            if self._unanswered.get(stream, (None, 0))[0] != epoch:
                self._unanswered[stream] = epoch, mono_ns()
            if (displaced := self._mailbox.put(decision)) is not None:
                self._reporter.skipped(displaced.header, displaced.header, "backpressure")

"""Keeps the record: the fusion loop hands over, a thread writes, and the disk holds nobody up.

Laws:
* All order and all state are the loop's: it decides when a file begins, and what its HEAD says, so that the HEAD is
  exact. The thread (`record_writer`) only writes what it is given.
* What cannot be recorded (the queue is full, the disk refuses) is counted, and the file ends there: the next one's HEAD
  says how many inputs are missing before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import version

import msgspec

from visualpath.core.stream_types import Firings, Input, Outcome, SourceDown
from visualpath.process.decision import setup_of
from visualpath.process.record import Head, StreamHead, builtins_of, pack, trig_body
from visualpath.process.record_writer import FILES, QUEUE_MAX_BYTES, Begin, RecordWriter
from visualpath.runtime.config import Config
from visualpath.runtime.redaction import Redaction, variables
from visualpath.runtime.refusals import Refusals
from visualpath_protocol.clock import rfc3339, wall_ns
from visualpath_protocol.codec import encode
from visualpath_protocol.messages import Message, Ping, StreamState, Trig


class Recorder:
    """Keeps what the fusion of each stream is fed. For the thread of the fusion loop; it never waits.

    Args:
        firings: the last firings of each stream, which its fusion keeps up to date.
        refusals: what is not recorded is counted there as `dropped.record`.
        now: monotonic ns, the same that the streams' fusions were made with.
    """

    def __init__(self, config: Config, firings: Mapping[str, Firings], refusals: Refusals, now: int) -> None:
        wall = wall_ns()
        self._head = Head(
            visualpath=version("visualpath"),
            run=rfc3339(wall).replace("-", "").replace(":", ""),
            mono_ns=now,
            wall_ns=wall,
            fusion=builtins_of(config.fusion, Redaction(variables(config.variables))),
            streams={name: StreamHead(setup=setup_of(config, name), firings={}) for name in config.streams},
        )
        self._numbers = {name: number for number, name in enumerate(config.streams)}
        self._firings = firings
        self._states: dict[str, StreamState] = {}
        self._up: dict[str, dict[str, Ping]] = {name: {} for name in config.streams}
        self._refusals = refusals
        self._dropped = 0  # since the last HEAD, for lack of room
        self._lost_told = 0
        self._file_max_bytes = config.record.max_bytes // FILES
        self._file_bytes = 0
        self._writer = RecordWriter(config.record_dir, config.record.max_bytes)
        self._begin_file(self._head)
        self._writer.start()

    def put(self, stream: str, message: Input, now: int, raw: bytes | None = None) -> None:
        """Record an input, before it is fed.

        Args:
            raw: the message as it came over the wire, if it did.
        """
        body = encode(message) if raw is None else raw
        if self._file_bytes + len(body) > self._file_max_bytes or self._dropped or self._writer.broken:
            self._begin_next_file(now)
        self._put(stream, now, body)
        if isinstance(message, (Ping, StreamState, SourceDown)):
            self._remember(stream, message)

    def put_trigs(self, stream: str, outcomes: Iterable[Outcome], now: int) -> None:
        """Record what was decided on the last input."""
        for outcome in outcomes:
            if isinstance(outcome, Trig) and (body := trig_body(outcome)) is not None:
                self._put(stream, now, body)

    def close(self) -> None:
        """Write what is left, if the disk takes it soon."""
        self._writer.close()
        self._tell_lost()

    def _put(self, stream: str, now: int, body: bytes) -> None:
        frame = pack(now, self._numbers[stream], body)
        if self._dropped or not self._writer.has_room(len(frame)):
            self._dropped += 1
            self._refusals.add("dropped.record", "the disk is slower than the inputs")
            return
        self._file_bytes += len(frame)
        self._writer.put(frame, len(frame))

    def _remember(self, stream: str, message: Message) -> None:
        """What a file that begins later has to say of the past."""
        if isinstance(message, StreamState):
            self._states[stream] = message
        elif isinstance(message, Ping):
            self._up[stream][message.source] = message
        elif isinstance(message, SourceDown):
            self._up[stream].pop(message.source, None)

    def _begin_next_file(self, now: int) -> None:
        if self._writer.failure is not None:
            raise self._writer.failure
        self._tell_lost()
        if not self._writer.has_room(min(self._file_max_bytes, QUEUE_MAX_BYTES // 2)):  # what waits comes first
            return
        self._head = msgspec.structs.replace(
            self._head, number=self._head.number + 1, lost=self._dropped, mono_ns=now, wall_ns=wall_ns()
        )
        self._begin_file(self._head)

    def _begin_file(self, head: Head) -> None:
        self._dropped = self._file_bytes = 0
        self._writer.broken = False
        streams = {
            name: StreamHead(
                setup=stream.setup,
                firings=dict(self._firings[name]),
                state=self._states.get(name),
                sources=list(self._up[name].values()),
            )
            for name, stream in head.streams.items()
        }
        self._writer.put(Begin(msgspec.structs.replace(head, streams=streams)), 0)

    def _tell_lost(self) -> None:
        lost = self._writer.lost - self._lost_told
        self._lost_told += lost
        self._refusals.add("dropped.record", self._writer.why, lost)

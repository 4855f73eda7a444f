"""What is seen of a running chain from outside: frames as they are captured, and fusion's tap.

Every time is CLOCK_MONOTONIC in ns of the daemon that tells it, so it matters little when it is read here.
"""

from __future__ import annotations

import time

import msgspec
import zmq
from latency_chain import FRAME, STREAM

from visualpath_protocol.codec import Codec
from visualpath_protocol.endpoints import FUSION, Endpoints
from visualpath_protocol.messages import Event, FrameHeader
from visualpath_protocol.sockets import HEADERS, TAP, connect, topic

Key = tuple[int, int]
"""Epoch and frame_id."""


class Arrival(msgspec.Struct):
    """The body of an event `obs`, and when fusion received that OBS."""

    source: str
    stream: str
    epoch: int
    frame_id: int
    t_ns: int
    at_ns: int = 0

    @property
    def key(self) -> Key:
        return self.epoch, self.frame_id


class SetSeen(msgspec.Struct):
    """The body of an event `set`, and when that set left fusion's alignment."""

    epoch: int
    frame_id: int
    obs: list[str]
    missing: list[str] = []
    hold_ns: int = 0
    at_ns: int = 0

    @property
    def key(self) -> Key:
        return self.epoch, self.frame_id


class Watch:
    """Receives while `run` runs; what comes in between waits in the sockets.

    Attributes:
        captured: when each frame was captured.
        arrivals, sets: in the order of fusion's events.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self.captured: dict[Key, int] = {}
        self.arrivals: list[Arrival] = []
        self.sets: list[SetSeen] = []
        self._events = Codec(Event, max_bytes=TAP.max_bytes)
        self._headers = Codec(FrameHeader, max_bytes=HEADERS.max_bytes)
        self._context = zmq.Context()
        self._tap = connect(self._context, TAP, endpoints.address(FUSION, TAP.name))
        self._frames = connect(self._context, HEADERS, endpoints.address(FRAME, HEADERS.name))
        for kind in (b"obs", b"set"):
            self._tap.subscribe(kind)
        self._frames.subscribe(topic(STREAM, "h"))
        self._poller = zmq.Poller()
        self._poller.register(self._tap, zmq.POLLIN)
        self._poller.register(self._frames, zmq.POLLIN)

    def run(self, seconds: float) -> None:
        """Receive for so long."""
        deadline = time.monotonic() + seconds
        while (left_s := deadline - time.monotonic()) > 0:
            for socket, _ in self._poller.poll(left_s * 1000):
                body = socket.recv_multipart()[-1]
                if socket is self._frames:
                    header = self._headers.decode(body)
                    self.captured[header.epoch, header.frame_id] = header.mono_ns
                else:
                    self._take(self._events.decode(body))

    def _take(self, event: Event) -> None:
        if event.kind == "obs":
            arrival = msgspec.convert(event.body, Arrival)
            arrival.at_ns = event.mono_ns
            self.arrivals.append(arrival)
        elif event.kind == "set":
            seen = msgspec.convert(event.body, SetSeen)
            seen.at_ns = event.mono_ns
            self.sets.append(seen)

    def close(self) -> None:
        """Give the sockets back."""
        for socket in (self._tap, self._frames):
            socket.close(linger=0)
        self._context.term()

"""What a worker and its child say to each other, over a socket pair that the child inherits.

Each message is one of the structs below in MessagePack, followed by the picture it is about, if it is about one; both
lengths go before it. A socket pair has no name in any folder, and its end is seen at once when either side dies.
"""

from __future__ import annotations

import socket
import struct
from collections import deque
from collections.abc import Iterable
from typing import Any, Literal

from visualpath.core.errors import VisualpathError
from visualpath.core.observation import Observation
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.messages import Message, ObservationBody

BODY_MAX = 16 << 20
PICTURE_MAX = 256 << 20
_LENGTHS = struct.Struct(">II")


class ChannelClosed(VisualpathError):
    """The other side has gone, or speaks nonsense."""


class Hello(Message, tag="HELLO", kw_only=True, frozen=True):
    """Child: the extractor is loaded."""

    version: str
    depends: tuple[str, ...]


class CannotStart(Message, tag="CANNOT_START", kw_only=True, frozen=True):
    """Child: the extractor cannot be used; the child ends."""

    error: str


class Work(Message, tag="WORK", kw_only=True, frozen=True):
    """Parent: look at this frame; the picture follows.

    Attributes:
        number: of the request; rises by one.
        kind: jpeg, or pixels: uint8 in C order of `shape`.
        seen: observations of the same frame by the extractor that made them.
    """

    number: int
    kind: Literal["jpeg", "pixels"]
    shape: tuple[int, ...]
    frame_id: int
    t_ns: int
    stream: str
    epoch: int
    wall_ns: int
    width: int
    height: int
    seen: dict[str, list[ObservationBody]]


class Done(Message, tag="DONE", kw_only=True, frozen=True):
    """Child: the frame has been looked at."""

    number: int
    observations: list[ObservationBody]
    timing_ms: float


class Failed(Message, tag="FAILED", kw_only=True, frozen=True):
    """Child: the frame could not be looked at."""

    number: int
    error: str
    timing_ms: float


FromChild = Hello | CannotStart | Done | Failed
FROM_CHILD: Codec[FromChild] = Codec(Hello, CannotStart, Done, Failed, max_bytes=BODY_MAX)
FROM_PARENT: Codec[Work] = Codec(Work, max_bytes=BODY_MAX)


def packed(message: Message, picture: bytes | memoryview = b"") -> list[memoryview]:
    """One message and its picture as the bytes that go over the socket.

    Raises:
        TypeError: it has no form on the wire, or is too large.
    """
    body = encode(message)
    if len(body) > BODY_MAX or len(picture) > PICTURE_MAX:
        raise TypeError(
            f"a message of {len(body)} and a picture of {len(picture)} bytes are too large: "
            f"at most {BODY_MAX} and {PICTURE_MAX}"
        )
    return [memoryview(_LENGTHS.pack(len(body), len(picture)) + body), memoryview(picture)]


class Channel:
    """One end of the socket pair. On a socket that does not block, what cannot be sent yet waits here.

    That the other side has gone is told by `receive`, once all is read that it said before.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._out: deque[memoryview] = deque()
        self._in = _Incoming()

    @property
    def waiting(self) -> bool:
        """Whether something has yet to be sent."""
        return bool(self._out)

    def send(self, parts: Iterable[memoryview] = ()) -> None:
        """Send what `packed` gave, and what still waits, as far as the socket takes it."""
        self._out.extend(part for part in parts if part)
        try:
            while self._out:
                count = self._sock.send(self._out[0])
                self._out[0] = self._out[0][count:]
                if not self._out[0]:
                    self._out.popleft()
        except BlockingIOError:
            return
        except (BrokenPipeError, ConnectionResetError):
            self._out.clear()

    def receive(self) -> tuple[bytes, bytearray] | None:
        """The next message and its picture (empty if there is none); None: it is not whole yet.

        Raises:
            ChannelClosed: the other side has gone, or speaks nonsense.
        """
        try:
            while (whole := self._in.message()) is None:
                count = self._sock.recv_into(self._in.rest)
                if not count:
                    raise ChannelClosed("the other side has gone")
                self._in.rest = self._in.rest[count:]
        except BlockingIOError:
            return None
        except OSError as error:
            raise ChannelClosed(f"the other side has gone: {error.strerror}") from error
        return whole


class _Incoming:
    """What of the next message has come; `rest` is where the next bytes go, never empty."""

    def __init__(self) -> None:
        self._begin(_LENGTHS.size)
        self._parts: list[bytearray] = []

    def message(self) -> tuple[bytes, bytearray] | None:
        """The message, once it is whole."""
        while not self.rest:
            self._parts.append(self._part)
            if len(self._parts) == 1:
                self._lengths = _LENGTHS.unpack(self._part)
                if self._lengths[0] > BODY_MAX or self._lengths[1] > PICTURE_MAX:
                    raise ChannelClosed(f"the other side announces {self._lengths} bytes: that is nonsense")
            if len(self._parts) == 3:
                _, body, picture = self._parts
                self._parts = []
                self._begin(_LENGTHS.size)
                return bytes(body), picture
            self._begin(self._lengths[len(self._parts) - 1])
        return None

    def _begin(self, size_bytes: int) -> None:
        self._part = bytearray(size_bytes)
        self.rest = memoryview(self._part)


def bodies(observations: Iterable[Observation[Any]]) -> list[ObservationBody]:
    """Observations in their wire form."""
    return [ObservationBody(signals=o.signals, data=o.data, metadata=o.metadata) for o in observations]


def observed(said: list[ObservationBody], source: str, frame_id: int, t_ns: int) -> list[Observation[Any]]:
    """Observations from their wire form."""
    return [
        Observation(source, frame_id, t_ns, signals=body.signals, data=body.data, metadata=body.metadata)
        for body in said
    ]

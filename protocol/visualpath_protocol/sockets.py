"""The sockets of each link, with the options that PROTOCOL.md gives them and measurements chose.

One thread owns a socket from creation to close. Every option stands in the table LINKS; nothing else sets any.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from visualpath_protocol.errors import EndpointError
from visualpath_protocol.keys import ClientKeys, KeyPair
from visualpath_protocol.security import SOCKET_UMASK, FolderClaim, check_address

KIB = 1024
MIB = 1024 * KIB

ROOM_BYTES = 1 * MIB
"""From a link's limit to ZeroMQ's own, so that a part a little too large is refused and counted in words.

Beyond it ZeroMQ disconnects the sender before anybody has seen the part.
"""

XPUB_TAKES_BYTES = 8 * KIB
"""Only subscriptions come to an XPUB, and it keeps each until its peer goes, at 24 times its size."""

ZmqSocket = zmq.Socket[bytes]
ZmqContext = zmq.Context[ZmqSocket]


@dataclass(frozen=True)
class Link:
    """One kind of connection.

    Attributes:
        name: last part of the ipc path.
        bind_type, connect_type: ZeroMQ socket types of the two sides.
        hwm: messages queued per peer and direction.
        max_bytes: largest message part taken; a larger one is refused, or disconnects its sender (see ROOM_BYTES).
        bind_options, connect_options: further options.
    """

    name: str
    bind_type: int
    connect_type: int
    hwm: int
    max_bytes: int
    linger_ms: int = 0
    bind_options: dict[int, int] = field(default_factory=dict)
    connect_options: dict[int, int] = field(default_factory=dict)


HEADERS = Link("headers", zmq.XPUB, zmq.SUB, hwm=1000, max_bytes=64 * KIB, bind_options={zmq.XPUB_VERBOSER: 1})
FRAMES = Link("frames", zmq.XPUB, zmq.SUB, hwm=8, max_bytes=16 * MIB)
OBSERVATIONS = Link("obs", zmq.PULL, zmq.PUSH, hwm=100, max_bytes=1 * MIB, connect_options={zmq.IMMEDIATE: 1})
TRIGGERS = Link(
    "trig",
    zmq.ROUTER,
    zmq.DEALER,
    hwm=10,
    max_bytes=256 * KIB,
    linger_ms=200,
    bind_options={zmq.ROUTER_HANDOVER: 1},
    connect_options={zmq.IMMEDIATE: 1},
)
CONTROL = Link("control", zmq.ROUTER, zmq.DEALER, hwm=100, max_bytes=1 * MIB, linger_ms=200)
TAP = Link("tap", zmq.XPUB, zmq.SUB, hwm=1000, max_bytes=1 * MIB)

LINKS = (HEADERS, FRAMES, OBSERVATIONS, TRIGGERS, CONTROL, TAP)

SUBSCRIBE, UNSUBSCRIBE = b"\1", b"\0"
"""What an XPUB receives: one of these, and the topic."""
TOPIC_MAX_BYTES = 34
"""A name of 32, a zero byte and a letter."""

RECONNECT_FIRST_MS = 50
RECONNECT_MAX_MS = 1000
HANDSHAKE_MS = 3000

TCP_OPTIONS = {
    zmq.IPV6: 1,
    zmq.HEARTBEAT_IVL: 1000,
    zmq.HEARTBEAT_TIMEOUT: 3000,
    zmq.CONNECT_TIMEOUT: 3000,
}
"""A network breaks without a word: a peer that is silent for so long is dropped, and asked for again."""


def taken_bytes(kind: int, link: Link) -> int:
    """The largest part that ZeroMQ hands over; who sends a larger one is disconnected."""
    return XPUB_TAKES_BYTES if kind == zmq.XPUB else link.max_bytes + ROOM_BYTES


def _make(context: ZmqContext, kind: int, link: Link, address: str, options: dict[int, int]) -> ZmqSocket:
    socket = context.socket(kind)
    socket.linger = link.linger_ms
    socket.sndhwm = socket.rcvhwm = link.hwm
    socket.setsockopt(zmq.MAXMSGSIZE, taken_bytes(kind, link))
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    for option, value in options.items() | (TCP_OPTIONS.items() if is_tcp(address) else set()):
        socket.setsockopt(option, value)
    return socket


def is_tcp(address: str) -> bool:
    """Whether it leads over the network, or could."""
    return address.startswith("tcp://")


def bind(
    context: ZmqContext,
    link: Link,
    address: str,
    claim: FolderClaim,
    *,
    keys: KeyPair | None = None,
    allow_plain_loopback: bool = False,
) -> ZmqSocket:
    """The serving side of a link, bound. An ipc socket is made inside the claimed folder, mode 0770.

    Args:
        keys: for tcp: the context then needs a handler of ZAP (RFC 27), or nobody is let in.

    Raises:
        EndpointError: the address is refused or cannot be bound.
    """
    check_address(address, keyed=keys is not None, allow_plain_loopback=allow_plain_loopback)
    if address.startswith("ipc://"):
        claim.clear_stale(Path(address.removeprefix("ipc://")))
    socket = _make(context, link.bind_type, link, address, link.bind_options)
    if is_tcp(address) and keys is not None:
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = keys.public, keys.secret
        socket.zap_domain = link.name.encode()
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    umask = os.umask(SOCKET_UMASK)
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        socket.close()
        raise EndpointError(f"cannot bind {address}: {error}") from error
    finally:
        os.umask(umask)
    return socket


def connect(
    context: ZmqContext, link: Link, address: str, *, identity: str = "", keys: ClientKeys | None = None
) -> ZmqSocket:
    """The asking side of a link. It connects when the other side is there, and again whenever that comes back.

    Args:
        keys: for tcp; without them nothing is encrypted, and only a loopback that has none answers.

    Raises:
        EndpointError: the address is none.
    """
    socket = _make(context, link.connect_type, link, address, link.connect_options)
    if is_tcp(address) and keys is not None:
        socket.curve_serverkey = keys.server
        socket.curve_publickey, socket.curve_secretkey = keys.own.public, keys.own.secret
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_FIRST_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    if identity:
        socket.setsockopt(zmq.IDENTITY, identity.encode())
    try:
        socket.connect(_reachable(address))
    except zmq.ZMQError as error:
        socket.close()
        raise EndpointError(f"cannot connect to {address}: {error}") from error
    return socket


def _reachable(address: str) -> str:
    """Where a socket bound to every interface of this machine is reached from the same machine."""
    return re.sub(r"^tcp://(\*|0\.0\.0\.0|\[::\]):", "tcp://127.0.0.1:", address)


def topic(stream: str, kind: str) -> bytes:
    """First part of a message on `headers` and `frames`: kind is h (header), s (state) or j (header and JPEG).

    The zero byte ends the name: a subscription to cam1 must not receive cam10.
    """
    return f"{stream}\0{kind}".encode()

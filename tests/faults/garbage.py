"""Bad messages on every socket of every daemon: what is sent, and the counter that must see it.

A daemon's own sockets are attacked as a stranger would: raw ZeroMQ, no code of ours. Sockets on which a daemon
listens to others (headers, ACKs, replies) have their tests with the daemon that listens.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import zmq
from chain import FRAME, SOURCES, Chain, FaultError

from visualpath_protocol.sockets import (
    CONTROL,
    FRAMES,
    HEADERS,
    OBSERVATIONS,
    ROOM_BYTES,
    TAP,
    TRIGGERS,
    XPUB_TAKES_BYTES,
    Link,
)

DAEMONS = (FRAME, *(f"extractor-{source}" for source in SOURCES), "fusion", "clip")
SEEN_S = 10.0
MESSAGES = {
    OBSERVATIONS.name: {"t": "BYE", "v": 2, "source": "face", "instance": "i1"},
    TRIGGERS.name: {"t": "TRIG", "v": 2},
    CONTROL.name: {"t": "COMMAND", "v": 2, "id": "x", "name": "status"},
}


@dataclass(frozen=True)
class Attack:
    """One bad message for one socket.

    Attributes:
        counted: the end of the counter's name (`refused.<link>.<counted>`); "" where ZeroMQ cuts the sender off.
    """

    daemon: str
    link: Link
    kind: str
    body: bytes
    counted: str

    @property
    def counter(self) -> str:
        return f"refused.{self.link.name}.{self.counted}"


def attacks() -> Iterator[Attack]:
    """All of them."""
    sockets = [(daemon, link) for daemon in DAEMONS for link in (CONTROL, TAP)]
    sockets += [(FRAME, HEADERS), (FRAME, FRAMES), ("fusion", OBSERVATIONS), ("clip", TRIGGERS)]
    for daemon, link in sockets:
        yield Attack(daemon, link, "garbage", b"\xc1\xff\x00garbage", "malformed")
        message = MESSAGES.get(link.name)
        if message is None:  # an XPUB: only subscriptions come in, which have no version
            yield Attack(daemon, link, "an endless topic", b"\1" + b"x" * 1000, "malformed")
            yield Attack(daemon, link, "beyond the room", b"\1" + b"x" * XPUB_TAKES_BYTES, "")
            continue
        yield Attack(daemon, link, "truncated", msgspec.msgpack.encode({**message, "v": 1})[:-3], "malformed")
        yield Attack(daemon, link, "wrong version", msgspec.msgpack.encode(message), "version")
        yield Attack(daemon, link, "oversized", b"\2" * (link.max_bytes + 1), "oversized")
        yield Attack(daemon, link, "beyond the room", b"\2" * (link.max_bytes + ROOM_BYTES + 1), "")


def strike(chain: Chain, attack: Attack) -> str:
    """Send it; returns what is wrong afterwards, "" if all is well: counted, same process, still answers."""
    before = chain.wait(lambda: chain.status(attack.daemon), f"{attack.daemon} answers", SEEN_S)
    kind = zmq.XSUB if attack.link.bind_type == zmq.XPUB else attack.link.connect_type
    with zmq.Context() as context, context.socket(kind) as socket:
        socket.linger = 0
        monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_DISCONNECTED)
        try:
            socket.connect(chain.config.endpoints().address(attack.daemon, attack.link.name))
            if not monitor.poll(int(SEEN_S * 1000)):
                return "cannot be connected to"
            monitor.recv_multipart()
            socket.send(attack.body)
            if not attack.counted:
                if not monitor.poll(int(SEEN_S * 1000)):
                    return "the sender is not cut off"
            else:
                wanted = before["counters"].get(attack.counter, 0) + 1
                if not _seen(chain, attack, wanted):
                    return f"{attack.counter} is not {wanted}"
        finally:
            socket.disable_monitor()
            monitor.close(linger=0)
    after = chain.status(attack.daemon)
    return "" if after is not None and after["pid"] == before["pid"] else "the daemon has died"


def _seen(chain: Chain, attack: Attack, wanted: int) -> bool:
    deadline = time.monotonic() + SEEN_S
    while time.monotonic() < deadline:
        status = chain.status(attack.daemon)
        if status is not None and status["counters"].get(attack.counter, 0) == wanted:
            return True
        time.sleep(0.02)
    return False


def still_flows(chain: Chain) -> str:
    """Whether the chain works after all of it."""
    try:
        chain.wait_for_flow(SEEN_S)
    except FaultError as error:
        return str(error)
    return ""

"""What is fuzzed over real sockets: every link of every daemon, on the side on which it takes what others say."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec
import mutations
import zmq
from targets import CORPUS
from worlds import World

from visualpath_protocol.messages import make_trig_id

FRAME_NS = 33_000_000
UNCHANGED = 0.3
"""Share of valid messages: what is bad must meet a daemon that works."""
SEND_MS = 2000

Parts = list[bytes]
Make = Callable[[int, Random], Parts]


@dataclass(frozen=True)
class LinkTarget:
    """One link of one daemon.

    Attributes:
        link: its name.
        make: the n-th valid message.
        other: the daemon that the fuzzer plays, where the one under test connects; "" where it binds.
    """

    daemon: str
    link: str
    make: Make
    other: str = ""

    @property
    def name(self) -> str:
        return f"{self.daemon}<-{self.other}-{self.link}" if self.other else f"{self.daemon}-{self.link}"

    def inputs(self, chance: Random) -> Any:
        """Messages without end."""
        for n in itertools.count():
            parts = self.make(n, chance)
            yield parts if chance.random() < UNCHANGED else mutations.mutate_parts(parts, chance)

    def corpus(self) -> list[list[Parts]]:
        """What is kept: each a row of messages."""
        folder = CORPUS / self.name
        return [msgspec.msgpack.decode(path.read_bytes(), type=list[Parts]) for path in sorted(folder.glob("*"))]

    def send(self, world: World, rows: list[Parts]) -> int:
        """Say so many messages; returns how many were taken."""
        socket, sent = world.peer(self.link, self.other), 0
        prefix = world.addressee(socket) if socket.type == zmq.ROUTER else []
        if socket.type == zmq.ROUTER and not prefix:
            return 0
        for parts in rows:
            while socket.type != zmq.XSUB and socket.poll(0, zmq.POLLIN):
                socket.recv_multipart()
            if socket.poll(SEND_MS, zmq.POLLOUT):
                try:
                    socket.send_multipart([*prefix, *parts], zmq.NOBLOCK)
                    sent += 1
                except zmq.ZMQError:  # it has no room, or is gone
                    continue
        return sent


def _pack(tag: str, **fields: Any) -> bytes:
    return msgspec.msgpack.encode({"t": tag, "v": 1, **fields})


def _said(n: int, source: str) -> dict[str, Any]:
    return {"source": source, "instance": "i1", "seq": n, "stream": "cam1", "epoch": 1 + n // 5000}


def _source(chance: Random) -> str:
    """Mostly those that are configured; peers could invent any number."""
    return chance.choice(("face", "face", "text", f"z{chance.randrange(100_000)}"))


def obs(n: int, chance: Random) -> Parts:
    """What an extractor says: mostly OBS, of frames that go on."""
    source, frame_id = _source(chance), n % 5000
    t_ns = frame_id * FRAME_NS
    what = chance.randrange(8)
    if what == 0:
        streams = chance.choice((["cam1"], ["cam1", "cam2"]))
        return [
            _pack(
                "PING",
                source=source,
                instance=chance.choice(("i1", "i2")),
                streams=streams,
                state="ready",
                sent={"cam1": n},
            )
        ]
    if what == 1:
        return [_pack("BYE", source=source, instance="i1")]
    if what == 2:
        first = max(0, frame_id - chance.randint(0, 100))
        run = {"first_frame_id": first, "last_frame_id": frame_id, "first_t_ns": first * FRAME_NS, "t_ns": t_ns}
        return [_pack("SKIP", **_said(n, source), **run, reason="gap")]
    if what == 3:
        return [_pack("BOUND", **_said(n, source), t_ns=t_ns)]
    found = [
        {
            "signals": {"count": float(chance.randint(0, 2)), "sure": 0.5},
            "data": {"boxes": [1, 2, 3]},
            "confidence": 0.5,
        }
    ]
    return [
        _pack("OBS", **_said(n, source), frame_id=frame_id, t_ns=t_ns, mono_ns=1, observations=found, bound_ns=t_ns)
    ]


def trig(n: int, _chance: Random) -> Parts:
    """A trigger of a moment of its own."""
    start_ns = n * 10 * FRAME_NS
    moment = {"t_start_ns": start_ns, "t_end_ns": start_ns + FRAME_NS, "label": "smile", "stream": "cam1", "epoch": 1}
    about = {"reason": "because", "score": 0.5, "frame_id": n, "metadata": {"a": 1}}
    evidence = [{"source": "face", "frame_id": n, "signal": "count", "value": 1.0}]
    return [_pack("TRIG", trig_id=make_trig_id("cam1", 1, "smile", start_ns), evidence=evidence, **moment, **about)]


def ack(n: int, chance: Random) -> Parts:
    """An answer to a trigger that was, or was not, sent."""
    result = chance.choice(("accepted", "duplicate", "refused", "expired"))
    return [_pack("ACK", trig_id=make_trig_id("cam1", 1, "smile", n * FRAME_NS), revision=0, result=result)]


COMMANDS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("status", {}),
    ("metrics", {}),
    ("trace", {"level": "verbose"}),
    ("trace", {"level": "off"}),
    ("clips", {"limit": 3, "id": "0", "brief": True}),
    ("trigger", {"stream": "cam1", "label": "smile", "t_ns": 1, "reason": "why"}),
    ("register", {"source": "face", "instance": "i1", "streams": ["cam1"], "state": "ready"}),
    ("nonsense", {}),
)


def command(n: int, chance: Random) -> Parts:
    """Every command that any daemon knows."""
    name, args = chance.choice(COMMANDS)
    return [_pack("COMMAND", id=str(n), name=name, args=args)]


def reply(_n: int, chance: Random) -> Parts:
    """Fusion's answer to a registration; a refusal, so that it is asked again."""
    error = {"code": "name-taken", "message": f"no {chance.randrange(1000)}", "hint": "wait"}
    return [_pack("REPLY", id="register", ok=chance.random() < 0.05, error=error)]


def headers(n: int, chance: Random) -> Parts:
    """A frame daemon's word: frames that go on, and states."""
    epoch, frame_id = 1 + n // 2000, n % 2000
    if chance.random() < 0.2:
        state = chance.choice(("live", "live", "live", "stalled", "starting", "ended"))
        last = {"last_frame_id": frame_id, "last_t_ns": frame_id * FRAME_NS, "first_t_ns": 0, "fps": 30.0}
        return [b"cam1\0s", _pack("STREAM", stream="cam1", epoch=epoch, state=state, **last)]
    payload = {"kind": "jpeg", "width": 64, "height": 48, "segment": f"{epoch}-0.seg", "offset": 12, "length": 100}
    clocks = {"t_ns": frame_id * FRAME_NS, "wall_ns": 1_700_000_000_000_000_000, "mono_ns": 1}
    size = {"width": 64, "height": 48, "payloads": [payload]}
    return [b"cam1\0h", _pack("FRAME", stream="cam1", epoch=epoch, frame_id=frame_id, **clocks, **size)]


def told(n: int, chance: Random) -> Parts:
    """What a dependency says on its tap."""
    (body,) = obs(n, chance)
    word = msgspec.msgpack.decode(body)
    kind = {"OBS": "obs", "SKIP": "skip"}.get(word["t"], "state")
    return [
        kind.encode(),
        _pack("EVENT", daemon="extractor-face", kind=kind, mono_ns=1, wall_ns=1, body={**word, "source": "face"}),
    ]


def subscription(_n: int, chance: Random) -> Parts:
    """A subscriber that comes and goes."""
    wanted = chance.choice(
        (b"cam1\0h", b"cam1\0s", b"cam1\0j", b"obs", b"set", b"", b"trigger", b"state", chance.randbytes(3))
    )
    return [chance.choice((b"\1", b"\1", b"\0")) + wanted]


TARGETS = (
    *(LinkTarget(daemon, "control", command) for daemon in ("frame-cam1", "extractor-text", "fusion", "clip")),
    *(LinkTarget(daemon, "tap", subscription) for daemon in ("frame-cam1", "extractor-text", "fusion", "clip")),
    LinkTarget("frame-cam1", "headers", subscription),
    LinkTarget("frame-cam1", "frames", subscription),
    LinkTarget("fusion", "obs", obs),
    LinkTarget("clip", "trig", trig),
    LinkTarget("extractor-text", "control", reply, "fusion"),
    LinkTarget("extractor-text", "headers", headers, "frame-cam1"),
    LinkTarget("fusion", "headers", headers, "frame-cam1"),
    LinkTarget("clip", "headers", headers, "frame-cam1"),
    LinkTarget("extractor-text", "tap", told, "extractor-face"),
    LinkTarget("fusion", "trig", ack, "clip"),
)

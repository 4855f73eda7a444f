"""What is fuzzed in process: one function for each kind of input that comes from outside.

A target takes bytes, and either uses them or refuses them as documented. Everything else that it raises is a defect.
"""

from __future__ import annotations

import functools
import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import mutations

from visualbase.errors import Evicted
from visualbase.ring import PREFIX, RingReader
from visualpath.core.errors import ConfigError, RecordError
from visualpath.observability.lines import decode_line
from visualpath.process.record import RecordReader
from visualpath.runtime.config import load_config
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.errors import ProtocolError
from visualpath_protocol.messages import (
    MESSAGES,
    Ack,
    Bound,
    Bye,
    Command,
    Event,
    FrameHeader,
    Message,
    Obs,
    Ping,
    Reply,
    Skip,
    StreamState,
    Trig,
)
from visualpath_protocol.sockets import CONTROL, HEADERS, OBSERVATIONS, TAP, TRIGGERS, Link

CHECKOUT = Path(__file__).resolve().parents[2]
VECTORS = CHECKOUT / "protocol" / "vectors"
CORPUS = Path(__file__).parent / "corpus"
REASON_MAX = 700
"""Characters of a refusal: it may quote the peer, but is a line of a log."""

Mutate = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Target:
    """One kind of input.

    Attributes:
        name: also of its folder in the corpus.
        run: takes the input; raises where there is a defect.
        seeds: valid inputs, to be changed.
        mutate: changes one.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    mutate: Mutate = mutations.mutate

    def corpus(self) -> list[Path]:
        """What is kept: inputs that once did harm, or nearly."""
        return sorted((CORPUS / self.name).glob("*"))

    def input(self, chance: Random) -> bytes:
        """A seed that was changed, once or several times."""
        data = chance.choice([*self.seeds, *self._kept()])
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            data = self.mutate(data, chance)
        return data

    @functools.cache  # noqa: B019  (a target lives as long as the process)
    def _kept(self) -> tuple[bytes, ...]:
        return tuple(path.read_bytes() for path in self.corpus())


LINKS: tuple[tuple[Link, tuple[type[Message], ...]], ...] = (
    (HEADERS, (FrameHeader, StreamState)),
    (OBSERVATIONS, (Obs, Skip, Bound, Ping, Bye)),
    (TRIGGERS, (Trig, Ack)),
    (CONTROL, (Command, Reply)),
    (TAP, (Event,)),
)


def decode(codec: Codec[Any], data: bytes) -> None:
    """Bytes of one link: refused in a short line, or a message that can be shown and goes over the wire again."""
    try:
        message = codec.decode(data)
    except ProtocolError as error:
        check_brief(str(error))
        return
    str(message)
    again = encode(message)
    assert encode(codec.decode(again)) == again, "it does not come back as it went"


def check(holds: bool, what: str) -> None:
    """Raise where something does not hold."""
    assert holds, what


def check_brief(refusal: str) -> None:
    """A refusal is a line of a log, and not as long as whoever is refused wants."""
    assert len(refusal) < REASON_MAX, refusal[:REASON_MAX]


def scan_ring(data: bytes) -> None:
    """A segment as the ring's folder may hold it: every header that is found can be read, or is gone."""
    folder = _scratch() / "ring" / "cam1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "1-0.seg").write_bytes(data)
    with RingReader(folder.parent, "cam1") as reader:
        found = list(reader.scan())
        assert len(found) <= len(data) // PREFIX.size
        for header in found:
            list(reader.scan(since=header))
            for payload in header.payloads:
                with suppress(Evicted):
                    assert len(reader.read(payload)) == payload.length
        assert reader.damaged_records <= 2 + 2 * len(found)


def read_payload(data: bytes) -> None:
    """A FRAME's word about where its picture lies."""
    try:
        header = Codec(FrameHeader, max_bytes=HEADERS.max_bytes).decode(data)
    except ProtocolError:
        return
    folder = _scratch() / "payload" / "cam1"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "1-0.seg").write_bytes(b"picture")
    with RingReader(folder.parent, "cam1") as reader:
        list(reader.scan(since=header))
        for payload in header.payloads:
            with suppress(Evicted):
                assert len(reader.read(payload)) == payload.length <= len(b"picture")


def load_yaml(data: bytes) -> None:
    """A configuration: loaded, or refused with the file's name and no more than a few lines."""
    path = _scratch() / "visualpath.yaml"
    path.write_bytes(data)
    try:
        config = load_config(path)
    except ConfigError as error:
        where, file, what = str(error).partition(str(path))
        check_brief(where + what)
        check(bool(file), "the error does not name the file")
        return
    for paths in (config.run_dir, config.state_dir, config.ring_dir):
        assert paths.is_absolute()


def read_record(data: bytes) -> None:
    """A file of the record."""
    path = _scratch() / "1.vprec"
    path.write_bytes(data)
    try:
        for said in RecordReader([path]):
            if hasattr(said, "fusion_config"):
                said.fusion_config()
    except RecordError as error:
        check_brief(str(error).replace(str(path), ""))


def read_trace(data: bytes) -> None:
    """A line of a trace."""
    with suppress(msgspec.MsgspecError):
        decode_line(data)


def with_crc(data: bytes, chance: Random) -> bytes:
    """A record of which a message was changed, and its checksums fit: else nothing behind them is ever reached."""
    if chance.random() < 0.2 or len(data) < 22:
        return mutations.mutate_bytes(data, chance)
    frames, at = [], 0
    while at + 22 <= len(data):
        length, now_ns, stream, _ = struct.unpack_from("<IQHI", data, at)
        frames.append((now_ns, stream, data[at + 22 : at + 22 + length]))
        at += 22 + length
    chosen = chance.randrange(len(frames))
    now_ns, stream, body = frames[chosen]
    frames[chosen] = now_ns, chance.choice((stream, 0, 1, 65535)), mutations.mutate(body, chance)
    return b"".join(_framed(*frame) for frame in frames)


def _framed(now_ns: int, stream: int, body: bytes) -> bytes:
    prefix = struct.pack("<IQHI", len(body), now_ns, stream, zlib.crc32(body))
    return prefix + struct.pack("<I", zlib.crc32(prefix)) + body


def segment_bytes(data: bytes, chance: Random) -> bytes:
    """A segment with a changed header in a record that is whole."""
    if chance.random() < 0.4 or len(data) < PREFIX.size:
        return mutations.mutate_bytes(data, chance)
    magic, header_bytes, payload_bytes = PREFIX.unpack_from(data)
    at = PREFIX.size + payload_bytes
    header = mutations.mutate(data[at : at + header_bytes], chance)
    length = chance.choice((len(header), len(header), 0, 4096, 4097, 2**32 - 1))
    return PREFIX.pack(magic, length, payload_bytes) + data[PREFIX.size : at] + header + data


YAML_TOKENS = (
    b"{", b"}", b"[", b"]", b": ", b"- ", b"\n", b"  ", b"&a ", b"*a", b"!!python/object:os.system ", b"!!binary ",
    b"? ", b"|\n", b">\n", b"'", b'"', b"${HOME}", b"${", b"${NO_SUCH}", b"!!timestamp 2001-99-99", b"0x", b"1e999",
    b".inf", b".nan", b"0o9", b"1_0", b"~", b"<<: *a", b"%YAML 9.9\n---\n", b"---\n", b"...\n", b"\xff", b"\0", b"\t",
    b"streams", b"9" * 5000, b"-1s", b"1e400s", b"99999999999999999999h", b"../..", b"/dev/null", b"rtsp://u:p@h/x",
    b"\xef\xbb\xbf", b"all: ", b"any: ", b"not: ", b" < ", b" >= ", b"face.count", b"when: ", b"instances: ",
    b"depends: ", b"every: ",
)  # fmt: skip


def yaml_bytes(data: bytes, chance: Random) -> bytes:
    """A configuration of which lines and words are changed."""
    for _ in range(chance.randint(1, 5)):
        lines = data.split(b"\n")
        n = chance.randrange(len(lines))
        what = chance.randrange(6)
        if what == 0:
            del lines[n]
        elif what == 1:
            lines.insert(chance.randint(0, len(lines)), lines[n])
        elif what == 2:
            lines[n] = b"  " * chance.randint(0, 3) + lines[n].strip()
        elif what == 3:
            at = chance.randint(0, len(lines[n]))
            lines[n] = lines[n][:at] + chance.choice(YAML_TOKENS) + lines[n][at:]
        elif what == 4:
            key, colon, _ = lines[n].partition(b":")
            lines[n] = key + colon + b" " + chance.choice(YAML_TOKENS)
        else:
            lines[n] = mutations.mutate_bytes(lines[n], chance)
        data = b"\n".join(lines)
    return data[: mutations.MAX_BYTES]


CONFIG_SEED = b"""\
streams:
  cam1: {source: a.mp4, pace: fast, loop: true, jpeg_quality: 80, timeout: 3s}
  cam2:
    source: rtsp://user:${HOME}@camera/1
extractors:
  face: {venv: face, streams: [cam1], hang_timeout: 5s, config: {backends: [a, b]}}
  text: {depends: [face], drop: keyframe_only, every: 3, instances: 2, streams: [cam1]}
ring: {length: 30s, size: 64MiB, total: 1GiB}
endpoints: {fusion/obs: "tcp://127.0.0.1:5555"}
allow_plain_loopback: true
fusion:
  window: 100ms
  rules:
    - {label: smile, when: {all: [face.count >= 1, {not: text.count > 2}]}, for: 200ms, cooldown: 1s, score: face.sure}
    - {label: both, when: {any: [face.count >= 1, text.count > 2]}, within: 2s, count: 2, min_score: 0.5, score: face.b}
clip: {pre: 1s, post: 2s, quota: 1GiB, retention: 7d, format: mjpeg}
log: {level: info, format: json}
trace: {level: off, size: 1MiB, keep: 2}
record: {enabled: true, size: 16MiB}
"""


def _tag(kind: type[Message]) -> str:
    return str(kind.__struct_config__.tag)


def _vectors(tag: str) -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in sorted(VECTORS.glob(f"{tag.lower()}*.msgpack")))


def _segment() -> bytes:
    header = msgspec.msgpack.decode(_vectors("FRAME")[0])
    payload = {"kind": "jpeg", "width": 4, "height": 4, "segment": "1-0.seg", "offset": 12, "length": 7}
    body = msgspec.msgpack.encode({**header, "stream": "cam1", "payloads": [payload]})
    return PREFIX.pack(b"VPR1", len(body), 7) + b"picture" + body


def _record() -> bytes:
    head = {
        "t": "HEAD", "v": 1, "format": 2, "visualpath": "0", "protocol": "1.0", "run": "1", "number": 0, "mono_ns": 0,
        "wall_ns": 0, "fusion": {"rules": [{"label": "smile", "when": "face.count >= 1", "for": 200_000_000}]},
        "streams": {"cam1": {"setup": {"pace": "fast", "expected": {"face": [1, 0]}, "groups": {}}, "firings": {}}},
    }  # fmt: skip
    bodies = [msgspec.msgpack.encode(head), *(_vectors(tag)[0] for tag in ("STREAM", "PING", "OBS", "SKIP", "TRIG"))]
    bodies += [msgspec.msgpack.encode({"t": "TICK", "v": 1})]
    return b"".join(_framed(n, 0, body) for n, body in enumerate(bodies))


@functools.cache
def _scratch() -> Path:
    """A folder in memory, of this process, that is cleared at its end."""
    shared = Path("/dev/shm")
    folder = tempfile.TemporaryDirectory(prefix="vp-fuzz-", dir=shared if os.access(shared, os.W_OK) else None)
    _folders.append(folder)
    return Path(folder.name)


_folders: list[tempfile.TemporaryDirectory[str]] = []


def _message_target(kind: type[Message]) -> Target:
    link, types = next(each for each in LINKS if kind in each[1])
    codec: Codec[Any] = Codec(*types, max_bytes=link.max_bytes)
    return Target(f"decode-{_tag(kind)}", functools.partial(decode, codec), _vectors(_tag(kind)))


TARGETS = (
    *map(_message_target, MESSAGES),
    Target("ring-segment", scan_ring, (_segment(),), segment_bytes),
    Target("ring-payload", read_payload, (_vectors("FRAME")[0], _segment()[19:])),
    Target("config", load_yaml, (CONFIG_SEED, b"streams: {a: {source: b}}\n"), yaml_bytes),
    Target("record", read_record, (_record(),), with_crc),
    Target(
        "trace-line",
        read_trace,
        (b'{"record_type":"timing","mono_ns":1,"wall_ns":2,"daemon":"a"}',),
        mutations.mutate_bytes,
    ),
)

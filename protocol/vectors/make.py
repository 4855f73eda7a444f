"""Writes the golden bytes of PROTOCOL.md. Run it deliberately: changed bytes are a changed protocol.

python protocol/vectors/make.py            compares, exits 1 on a difference
python protocol/vectors/make.py --write    writes

Each vector is a pair: NAME.msgpack, the bytes as one message part, and NAME.json, the same map for people, in which
{"$ext": 1, "hex": ...} is an extension value.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from visualpath_protocol import codec
from visualpath_protocol.messages import (
    Ack,
    Bound,
    Bye,
    Command,
    ErrorBody,
    Event,
    Evidence,
    FrameHeader,
    Message,
    Obs,
    ObservationBody,
    Payload,
    Ping,
    Reply,
    Skip,
    StreamState,
    Trig,
    make_trig_id,
)

HERE = Path(__file__).resolve().parent

FACE: dict[str, Any] = {"source": "face", "instance": "4f1c9a", "stream": "cam1", "epoch": 3}

VECTORS: dict[str, Message] = {
    "frame": FrameHeader(
        stream="cam1",
        epoch=3,
        frame_id=120,
        t_ns=4_000_000_000,
        wall_ns=1_769_860_800_250_000_000,
        mono_ns=86_400_123_456_789,
        width=1920,
        height=1080,
        payloads=[Payload(kind="jpeg", width=1920, height=1080, segment="3-7.seg", offset=1_048_584, length=98_304)],
    ),
    "stream": StreamState(
        stream="cam1",
        epoch=3,
        state="stalled",
        reason="no frame for 2 s",
        fps=29.97,
        width=1920,
        height=1080,
        origin_ns=-33_366_667,
        first_t_ns=0,
        last_frame_id=120,
        last_t_ns=4_000_000_000,
    ),
    "obs": Obs(
        **FACE,
        seq=41,
        frame_id=120,
        t_ns=4_000_000_000,
        mono_ns=86_400_123_456_789,
        observations=[
            ObservationBody(
                signals={"smile": 0.875, "count": 1.0},
                data={"name": "Zoë", "box": [10, 20, 300, 400], "known": True, "twin": None},
                metadata={"model": "yunet"},
                confidence=0.5,
            ),
            ObservationBody(signals={"smile": -0.25}),
        ],
        bound_ns=4_033_333_333,
        timing={"infer_ms": 12.5},
    ),
    "obs_array": Obs(
        **FACE,
        seq=42,
        frame_id=121,
        t_ns=4_033_333_333,
        mono_ns=86_400_156_790_122,
        observations=[
            ObservationBody(data={"embedding": np.array([[0.0, 0.5, -1.0], [1.5, 2.0, 65504.0]], dtype="<f4")})
        ],
        bound_ns=4_033_333_333,
    ),
    "skip": Skip(
        **FACE,
        seq=43,
        first_frame_id=122,
        last_frame_id=124,
        first_t_ns=4_066_666_667,
        t_ns=4_133_333_333,
        reason="error",
        detail="ValueError: no such layer",
    ),
    "bound": Bound(**FACE, seq=44, t_ns=4_166_666_667),
    "ping": Ping(
        source="face",
        instance="4f1c9a",
        version="1.0",
        streams=["cam1", "door"],
        ordered=True,
        stride=3,
        phase=1,
        expected=True,
        state="busy",
        busy_ns=45_000_000,
        sent={"cam1": 45, "door": 0},
        counters={"obs": 40, "skip": 3},
    ),
    "bye": Bye(source="face", instance="4f1c9a", reason="SIGTERM"),
    "trig": Trig(
        trig_id=make_trig_id("cam1", 3, "smile", 4_000_000_000),
        revision=1,
        stream="cam1",
        epoch=3,
        label="smile",
        reason="smile held for 500 ms",
        score=0.9,
        frame_id=135,
        t_start_ns=4_000_000_000,
        t_end_ns=4_500_000_000,
        evidence=[Evidence(source="face", frame_id=120, signal="smile", value=0.875)],
        metadata={"rule": "smile"},
    ),
    "ack": Ack(
        trig_id=make_trig_id("cam1", 3, "smile", 4_000_000_000),
        revision=1,
        result="expired",
        why="the ring begins at 9.000s",
    ),
    "command": Command(id="c-1", name="status", args={"verbose": True}),
    "reply": Reply(
        id="c-1",
        ok=False,
        error=ErrorBody(code="unknown-stream", message="no stream 'cam9'", hint="streams: cam1, door"),
    ),
    "event": Event(
        daemon="fusion",
        kind="trigger",
        mono_ns=86_400_656_790_122,
        wall_ns=1_769_860_800_783_000_000,
        body={"label": "smile", "score": 0.9},
    ),
}


def json_form(message: Message) -> str:
    """The message as indented JSON with its `t` and `v`, extension values as {"$ext": code, "hex": bytes}."""

    def extension(value: msgspec.msgpack.Ext) -> dict[str, Any]:
        return {"$ext": value.code, "hex": bytes(value.data).hex()}

    fields = msgspec.msgpack.decode(codec.encode(message))
    return json.dumps(fields, default=extension, indent=2, ensure_ascii=False) + "\n"


def files() -> dict[Path, bytes]:
    """What every vector file must hold."""
    contents: dict[Path, bytes] = {}
    for name, message in VECTORS.items():
        contents[HERE / f"{name}.msgpack"] = codec.encode(message)
        contents[HERE / f"{name}.json"] = json_form(message).encode()
    return contents


def main(arguments: list[str]) -> int:
    """Compare or write; the exit status."""
    if arguments not in ([], ["--write"]):
        sys.exit(__doc__)
    differing = [path for path, data in files().items() if not path.is_file() or path.read_bytes() != data]
    present = {path for pattern in ("*.msgpack", "*.json") for path in HERE.glob(pattern)}
    for path in differing:
        if arguments:
            path.write_bytes(files()[path])
        sys.stdout.write(f"{'written' if arguments else 'differs'}: {path.name}\n")
    for path in sorted(present - files().keys()):
        sys.stdout.write(f"belongs to no vector: {path.name}\n")
    return int(bool(present - files().keys()) or (bool(differing) and not arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

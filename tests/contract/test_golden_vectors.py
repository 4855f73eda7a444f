"""The bytes of PROTOCOL.md, read by an independent MessagePack decoder and by ours."""

import json
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest

from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.errors import VersionMismatch
from visualpath_protocol.messages import MESSAGES, Obs

VECTORS = Path(__file__).parents[2] / "protocol" / "vectors"
NAMES = sorted(path.stem for path in VECTORS.glob("*.msgpack"))
CODEC = Codec(*MESSAGES, max_bytes=1 << 20)


def vector(name):
    return (VECTORS / f"{name}.msgpack").read_bytes()


def independent(data):
    return msgpack.unpackb(data, ext_hook=lambda code, raw: {"$ext": code, "hex": raw.hex()})


def comparable(value):
    """JSON text: unlike ==, it tells 1 from 1.0 and from true."""
    return json.dumps(value, sort_keys=True)


@pytest.mark.parametrize("name", NAMES)
def test_an_independent_decoder_reads_the_json_form(name):
    expected = json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
    assert comparable(independent(vector(name))) == comparable(expected)


@pytest.mark.parametrize("name", NAMES)
def test_our_codec_gives_back_the_same_bytes(name):
    assert encode(CODEC.decode(vector(name))) == vector(name)


def test_every_message_has_a_vector():
    tags = {kind.__struct_config__.tag for kind in MESSAGES}
    assert tags <= {independent(vector(name))["t"] for name in NAMES}
    assert {tag.lower() for tag in tags} == set(NAMES) - {"obs_array"}


@pytest.mark.parametrize("name", NAMES)
def test_a_vector_carries_every_field_of_its_message(name):
    message = CODEC.decode(vector(name))
    assert independent(vector(name)).keys() == {"t", *message.__struct_fields__}


@pytest.mark.parametrize("name", NAMES)
def test_unknown_fields_are_skipped(name):
    fields = msgpack.unpackb(vector(name))
    extended = msgpack.packb({**fields, "zzz": {"from": ["a", "later", "minor"], "version": 1.5}})
    assert encode(CODEC.decode(extended)) == vector(name)


@pytest.mark.parametrize("name", NAMES)
def test_another_major_version_is_refused(name):
    fields = msgpack.unpackb(vector(name))
    with pytest.raises(VersionMismatch, match="protocol major version 2, this side speaks 1") as refusal:
        CODEC.decode(msgpack.packb({**fields, "v": 2}))
    assert refusal.value.theirs == 2


def test_the_array_vector_holds_this_array():
    message = CODEC.decode(vector("obs_array"))
    assert isinstance(message, Obs)
    array = message.observations[0].data["embedding"]
    assert array.dtype == np.float32
    assert array.tolist() == [[0.0, 0.5, -1.0], [1.5, 2.0, 65504.0]]


def test_an_array_is_extension_1_with_dtype_shape_and_bytes():
    raw = bytes.fromhex(independent(vector("obs_array"))["observations"][0]["data"]["embedding"]["hex"])
    dtype, shape, data = msgpack.unpackb(raw)
    assert (dtype, shape) == ("<f4", [2, 3])
    assert np.frombuffer(data, "<f4").tolist() == [0.0, 0.5, -1.0, 1.5, 2.0, 65504.0]


def test_the_script_that_writes_the_vectors_agrees_with_them():
    run = subprocess.run([sys.executable, VECTORS / "make.py"], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")

"""Whatever arrives is a message or a ProtocolError; whatever leaves arrives as it was."""

import math
from pathlib import Path
from typing import Any

import msgpack
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from visualpath_protocol.codec import Codec, encode, fit_text, pack
from visualpath_protocol.errors import MalformedMessage, OversizedMessage, ProtocolError, VersionMismatch
from visualpath_protocol.messages import MESSAGES, Bound, Bye, Obs, ObservationBody

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""On a loaded machine the clock says nothing about the codec."""

MAX_BYTES = 4096
CODEC = Codec(*MESSAGES, max_bytes=MAX_BYTES)

GOLDEN = [
    msgpack.unpackb(path.read_bytes())
    for path in sorted((Path(__file__).parents[2] / "protocol" / "vectors").glob("*.msgpack"))
]

OBS = {
    "t": "OBS",
    "v": 1,
    "source": "face",
    "instance": "4f1c9a",
    "seq": 1,
    "stream": "cam1",
    "epoch": 3,
    "frame_id": 120,
    "t_ns": 4_000_000_000,
    "mono_ns": 5,
    "observations": [],
    "bound_ns": 4_000_000_000,
}


class Key(msgspec.Struct, frozen=True):
    """Can be a key in Python, and is a map on the wire, which cannot."""

    n: int


def packed_obs(data):
    return msgpack.packb({**OBS, "observations": [{"data": data}]})


def array_ext(dtype, shape, raw, code=1):
    return msgpack.ExtType(code, msgpack.packb([dtype, shape, raw]))


def decoded_or_refused(data):
    """True for a message, False for a refusal; any other exception is the test's failure."""
    try:
        CODEC.decode(data)
    except ProtocolError:
        return False
    return True


# Refusals


def test_a_message_over_the_limit_of_its_link_is_refused_before_it_is_parsed():
    with pytest.raises(OversizedMessage, match="4097 bytes where at most 4096 are allowed"):
        CODEC.decode(b"\xc1" * (MAX_BYTES + 1))


def test_a_message_of_exactly_the_limit_is_taken():
    overhead = len(msgpack.packb({**OBS, "pad": "x" * 1000})) - 1000
    data = msgpack.packb({**OBS, "pad": "x" * (MAX_BYTES - overhead)})
    assert len(data) == MAX_BYTES
    assert CODEC.decode(data).frame_id == 120


def test_a_decoder_takes_only_the_messages_of_its_link():
    bounds_only = Codec(Bound, Bye, max_bytes=MAX_BYTES)
    with pytest.raises(MalformedMessage, match="no valid BOUND, BYE"):
        bounds_only.decode(msgpack.packb(OBS))


@pytest.mark.parametrize("fields", [{"t": "WARP"}, {"t": "OBS", "frame_id": "renamed"}, {"t": "OBS"}])
def test_a_message_of_another_major_version_says_so_even_where_its_fields_have_changed(fields):
    with pytest.raises(VersionMismatch) as refusal:
        CODEC.decode(msgpack.packb({"v": 2, **fields}))
    assert refusal.value.theirs == 2


@pytest.mark.parametrize("fields", [{"kind": "clip"}, {"kind": 5}], ids=["fields as ours", "other fields"])
def test_an_id_that_is_no_text_hides_no_other_major_version(fields):
    event = {"t": "EVENT", "v": 9, "id": 5, "daemon": "clip", "mono_ns": 1, "wall_ns": 1, **fields}
    with pytest.raises(VersionMismatch):
        CODEC.decode(msgpack.packb(event))


def test_a_message_without_a_version_is_one_of_major_version_1():
    assert CODEC.decode(msgpack.packb({key: value for key, value in OBS.items() if key != "v"})).v == 1


def test_a_malformed_message_of_our_version_is_no_version_mismatch():
    with pytest.raises(MalformedMessage) as refusal:
        CODEC.decode(msgpack.packb({**OBS, "t_ns": "soon"}))
    assert not isinstance(refusal.value, VersionMismatch)


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x80", b"\xc0", b"{}", msgpack.packb(OBS)[:-1], msgpack.packb([OBS])])
def test_what_is_no_message_is_malformed(data):
    with pytest.raises(MalformedMessage):
        CODEC.decode(data)


def test_bytes_behind_a_message_are_refused():
    with pytest.raises(MalformedMessage, match="trailing"):
        CODEC.decode(msgpack.packb(OBS) + b"\0")


def test_deep_nesting_is_refused():
    deep = Codec(Obs, max_bytes=1 << 20)
    head = msgpack.packb({**OBS, "observations": 0})
    assert head.count(b"\xacobservations\x00") == 1
    nested = head.replace(b"\xacobservations\x00", b"\xacobservations\x91\x81\xa4data" + b"\x91" * 200_000 + b"\xc0")
    with pytest.raises(MalformedMessage):
        deep.decode(nested)


@pytest.mark.parametrize("tag", ["x" * 3000, "OBS"])
def test_a_complaint_does_not_repeat_kilobytes_of_the_peers_bytes(tag):
    for version in (1, 2):
        with pytest.raises(MalformedMessage) as refusal:
            CODEC.decode(msgpack.packb({"t": tag, "v": version, "source": "y" * 900}))
        assert len(str(refusal.value)) < 400


@PATIENT
@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_protocol_errors(data):
    decoded_or_refused(data)


@PATIENT
@given(st.data())
def test_a_message_with_flipped_bytes_raises_nothing_but_protocol_errors(data):
    raw = bytearray(packed_obs({"array": array_ext("<f4", [2, 1], b"12345678"), "text": "Zoë"}))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    decoded_or_refused(bytes(raw))


SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8) | st.binary()
EXTENSIONS = st.builds(msgpack.ExtType, st.integers(0, 127), st.binary(max_size=20))
HASHABLE = SCALARS | EXTENSIONS
VALUES = st.recursive(
    HASHABLE,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(HASHABLE, inner, max_size=2),
    max_leaves=4,
)


@PATIENT
@given(st.sampled_from(GOLDEN), st.data())
def test_a_message_with_random_fields_raises_nothing_but_protocol_errors(golden, data):
    wild = data.draw(st.dictionaries(st.sampled_from(sorted(golden)), VALUES, max_size=3))
    decoded_or_refused(msgpack.packb({**golden, **wild}))


@PATIENT
@given(VALUES)
def test_random_data_in_an_observation_raises_nothing_but_protocol_errors(value):
    decoded_or_refused(packed_obs(value))


@PATIENT
@given(
    st.sampled_from(["<f4", "|b1", "|u1", ">f4", "|O", "<U1", "", "f4,f4"]) | st.text(max_size=5),
    st.lists(st.integers(-(2**63), 2**64 - 1) | st.integers(0, 3), max_size=9),
    st.binary(max_size=40),
)
def test_random_arrays_raise_nothing_but_protocol_errors(dtype, shape, raw):
    decoded_or_refused(packed_obs(array_ext(dtype, shape, raw)))


# Arrays


WIRE_DTYPES = ["|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"]


def round_trip(value):
    message = Obs(
        **{key: OBS[key] for key in OBS if key not in "tv" and key != "observations"},
        observations=[ObservationBody(data=value)],
    )
    return Codec(Obs, max_bytes=1 << 24).decode(encode(message)).observations[0].data


@PATIENT
@given(npst.arrays(st.sampled_from(WIRE_DTYPES), npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))
def test_an_array_arrives_as_it_was(array):
    arrived = round_trip(array)
    assert (arrived.dtype, arrived.shape) == (array.dtype, array.shape)
    assert arrived.tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", [">i4", ">f8", ">u2"])
def test_a_big_endian_array_arrives_with_its_values_in_little_endian(dtype):
    arrived = round_trip(np.array([1, 2, 300], dtype=dtype))
    assert arrived.dtype == np.dtype(dtype).newbyteorder("<")
    assert arrived.tolist() == [1, 2, 300]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)])
def test_an_array_without_elements_keeps_its_shape(shape):
    assert round_trip(np.zeros(shape, np.float32)).shape == shape


def test_an_array_without_dimensions_stays_one():
    arrived = round_trip(np.array(1.5))
    assert (arrived.shape, arrived[()]) == ((), 1.5)


def test_a_strided_view_arrives_in_c_order():
    view = np.arange(24).reshape(4, 6)[::2, ::-3].T
    assert round_trip(view).tolist() == view.tolist()


def test_an_array_that_arrived_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        round_trip(np.zeros(2))[0] = 1


@pytest.mark.parametrize("value", [np.float32(0.5), np.int64(7), np.bool_(True)])
def test_a_numpy_scalar_arrives_as_a_builtin(value):
    arrived = round_trip(value)
    assert type(arrived) in (float, int, bool)
    assert arrived == value


@pytest.mark.parametrize(
    "value",
    [
        np.array([None]),
        np.array(["text"]),
        np.array([b"raw"]),
        np.array([1j]),
        np.array([1], "datetime64[ns]"),
        np.array([(1, 2)], dtype=[("a", "<i4"), ("b", "<i4")]),
        np.zeros([1] * 9),
        np.zeros(1, np.longdouble),
        np.longdouble(1),
        np.complex64(1),
        object(),
        2**64,
        "\udcff",
        {"\udcff": 1},
    ],
    ids=ascii,
)
def test_what_has_no_form_on_the_wire_is_a_type_error(value):
    with pytest.raises(TypeError, match="not go over the wire"):
        round_trip(value)


def test_a_value_that_contains_itself_is_a_type_error():
    loop = []
    loop.append(loop)
    with pytest.raises(TypeError, match="does not go over the wire"):
        pack(loop, list[Any])


@pytest.mark.parametrize(
    ("value", "kind"),
    [({1: 2}, dict[str, Any]), (None, dict[str, Any]), ({"signals": {"a": "b"}}, ObservationBody), ({Key(1): 1}, Any)],
    ids=["a key that is no text", "no map", "another type", "a key that is a map"],
)
def test_a_part_that_no_receiver_takes_is_a_type_error(value, kind):
    with pytest.raises(TypeError):
        pack(value, kind)


def test_text_that_fits_stays_as_it_is():
    assert fit_text("Zoë" * 600) == "Zoë" * 600


def test_text_is_cut_to_what_a_field_takes():
    assert fit_text("ä" * 2001) == "ä" * 2000


def test_what_is_no_utf_8_becomes_a_question_mark():
    assert fit_text("/data/\udcff.bin") == "/data/?.bin"


@pytest.mark.parametrize(
    ("dtype", "shape", "raw"),
    [
        ("<f4", [2], b"1234"),
        ("<f4", [1], b"12345678"),
        ("<f4", [-1, -1], b"1234"),
        ("<f4", [1] * 9, b"1234"),
        ("<f4", [0, 2**64 - 1], b""),
        ("<f4", [0, 2**62, 2**62], b""),
        ("<f4", [2**62, 2**62], b""),
        (">f4", [1], b"1234"),
        ("f4", [1], b"1234"),
        ("|O", [1], b"12345678"),
        ("<U1", [1], b"1234"),
        ("|V4", [1], b"1234"),
        ("<M8[ns]", [1], b"12345678"),
    ],
)
def test_an_array_that_lies_or_is_of_a_forbidden_type_is_refused(dtype, shape, raw):
    with pytest.raises(MalformedMessage):
        CODEC.decode(packed_obs(array_ext(dtype, shape, raw)))


def test_another_extension_type_is_refused():
    with pytest.raises(MalformedMessage, match="unknown extension type 2"):
        CODEC.decode(packed_obs(array_ext("<f4", [1], b"1234", code=2)))


def test_the_wire_form_of_a_value_is_what_a_receiver_sees():
    packed = pack(
        {"box": (1, 2), "scores": np.array([0.5], np.float32), "body": ObservationBody(confidence=0.5)}, dict[str, Any]
    )
    seen = msgpack.unpackb(packed, ext_hook=lambda code, data: np.frombuffer(msgpack.unpackb(data)[2], "<f4"))
    assert seen["box"] == [1, 2]
    assert seen["scores"].tolist() == [0.5]
    assert seen["body"] == {"confidence": 0.5}


@PATIENT
@given(st.floats(allow_nan=False))
def test_numbers_in_data_keep_every_bit(value):
    assert math.copysign(1, round_trip(value)) == math.copysign(1, value)
    assert round_trip(value) == value

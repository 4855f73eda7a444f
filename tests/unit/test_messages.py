"""What a message refuses, and how it prints."""

import hashlib

import msgpack
import msgspec
import pytest

from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.endpoints import extractor_daemon, frame_daemon
from visualpath_protocol.errors import InvalidName, MalformedMessage
from visualpath_protocol.messages import (
    MESSAGES,
    Bye,
    Event,
    Evidence,
    Obs,
    ObservationBody,
    Ping,
    Reply,
    Skip,
    StreamState,
    Trig,
    check_name,
    make_trig_id,
)

CODEC = Codec(*MESSAGES, max_bytes=1 << 20)

SOURCE = {"source": "face", "instance": "4f1c9a", "stream": "cam1", "epoch": 3}
OBS = {**SOURCE, "seq": 1, "frame_id": 120, "t_ns": 4_000_000_000, "mono_ns": 5, "bound_ns": 4_000_000_000}
SKIP = {
    **SOURCE,
    "seq": 2,
    "first_frame_id": 7,
    "last_frame_id": 9,
    "first_t_ns": 10,
    "t_ns": 30,
    "reason": "gap",
}
TRIG = {
    "trig_id": "0123456789abcdef",
    "stream": "cam1",
    "epoch": 3,
    "label": "smile",
    "reason": "held",
    "score": 0.9,
    "frame_id": 120,
    "t_start_ns": 4_000_000_000,
    "t_end_ns": 4_500_000_000,
}
PING = {"source": "face", "instance": "4f1c9a", "streams": ["cam1"], "state": "ready"}


def over_the_wire(message):
    return CODEC.decode(encode(message))


@pytest.mark.parametrize("name", ["a", "0", "cam1", "cam-1_b", "0-9", "a" * 32])
def test_a_name_is_lower_case_letters_digits_hyphen_and_underscore(name):
    assert check_name("stream", name) == name
    assert over_the_wire(Bye(source=name, instance="i")).source == name


BAD_NAMES = ["", "a" * 33, "Cam1", "cam 1", "-cam", "_cam", "cam/1", "..", "cam1\n", "cam\0", "câm", "cam\uff11"]


@pytest.mark.parametrize("daemon", [frame_daemon("a" * 32), extractor_daemon("a" * 32)])
def test_the_daemon_of_the_longest_name_can_tell_of_events(daemon):
    event = Event(daemon=daemon, kind="state", mono_ns=1, wall_ns=2)
    assert over_the_wire(event).daemon == daemon


@pytest.mark.parametrize("name", BAD_NAMES)
def test_other_names_are_refused_where_they_are_given(name):
    with pytest.raises(InvalidName, match=r"stream .* is no valid name"):
        check_name("stream", name)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_other_names_are_refused_where_they_arrive(name):
    with pytest.raises(MalformedMessage):
        over_the_wire(Bye(source=name, instance="i"))


def test_an_invalid_name_is_also_a_value_error():
    assert issubclass(InvalidName, ValueError)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_signal_is_finite(value):
    with pytest.raises(ValueError, match=r"signal 'smile' is .*: signals must be finite"):
        ObservationBody(signals={"smile": value})


def test_an_integer_is_taken_for_a_float():
    fields = {"t": "OBS", "v": 1, **OBS, "observations": [{"signals": {"count": 2}}]}
    value = CODEC.decode(msgpack.packb(fields)).observations[0].signals["count"]
    assert (type(value), value) == (float, 2.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_timing_evidence_and_frame_rate_are_finite_on_the_wire(value):
    evidence = [Evidence(source="face", frame_id=1, signal="smile", value=value)]
    for message in (
        Obs(**OBS, observations=[], timing={"infer_ms": value}),
        Trig(**TRIG, evidence=evidence),
        StreamState(stream="cam1", epoch=0, state="live", fps=value),
    ):
        with pytest.raises(MalformedMessage, match="Expected `float`"):
            over_the_wire(message)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_scores_and_confidences_lie_between_0_and_1(value):
    for message in (
        Trig(**{**TRIG, "score": value}),
        Obs(**OBS, observations=[ObservationBody(confidence=value)]),
    ):
        with pytest.raises(MalformedMessage, match="Expected `float`"):
            over_the_wire(message)


def test_a_skip_runs_forwards():
    with pytest.raises(ValueError, match="last_frame_id 6 is below first_frame_id 7"):
        Skip(**{**SKIP, "last_frame_id": 6})
    assert Skip(**{**SKIP, "last_frame_id": 7}).last_frame_id == 7


def test_a_moment_does_not_end_before_it_begins():
    with pytest.raises(ValueError, match="t_end_ns 3999999999 is before t_start_ns 4000000000"):
        Trig(**{**TRIG, "t_end_ns": 3_999_999_999})
    assert Trig(**{**TRIG, "t_end_ns": 4_000_000_000}).t_end_ns == 4_000_000_000


@pytest.mark.parametrize("field", ["t_ns", "mono_ns", "frame_id", "epoch", "seq", "bound_ns"])
@pytest.mark.parametrize("value", [-1, 2**63])
def test_counts_and_times_fit_a_signed_64_bit_integer_and_are_not_negative(field, value):
    with pytest.raises(MalformedMessage):
        over_the_wire(Obs(**{**OBS, field: value}, observations=[]))


def test_the_origin_of_a_stream_may_be_negative():
    message = StreamState(stream="cam1", epoch=0, state="live", origin_ns=-33)
    assert over_the_wire(message).origin_ns == -33


@pytest.mark.parametrize("trig_id", ["", "0123456789ABCDEF", "0123456789abcde", "0123456789abcdef\n"])
def test_a_trig_id_is_16_lower_case_hex_digits(trig_id):
    with pytest.raises(MalformedMessage):
        over_the_wire(Trig(**{**TRIG, "trig_id": trig_id}))


def test_the_trig_id_is_the_documented_hash():
    digest = hashlib.sha256(b"cam1\x003\x00smile\x004000000000").hexdigest()
    assert make_trig_id("cam1", 3, "smile", 4_000_000_000) == digest[:16] == "0833356d81aa983a"


def test_trig_ids_keep_the_parts_apart():
    assert make_trig_id("cam1", 11, "a", 1) != make_trig_id("cam11", 1, "a", 1)


def test_a_text_over_2000_characters_is_refused():
    with pytest.raises(MalformedMessage):
        over_the_wire(Bye(source="face", instance="i", reason="x" * 2001))


def test_an_unknown_word_of_a_closed_list_is_refused():
    with pytest.raises(MalformedMessage, match="Invalid enum value 'sleepy'"):
        over_the_wire(Ping(**{**PING, "state": "sleepy"}))


@pytest.mark.parametrize("share", [{"stride": 0}, {"stride": 3, "phase": 3}, {"phase": 1}, {"stride": -1}])
def test_a_source_that_looks_at_no_frame_is_refused(share):
    with pytest.raises(MalformedMessage):
        CODEC.decode(msgspec.msgpack.encode({"t": "PING", "v": 1, **PING, **share}))


def test_messages_are_frozen():
    with pytest.raises(AttributeError):
        Bye(source="face", instance="i").source = "pose"


def test_default_containers_are_not_shared():
    Ping(**PING).counters["obs"] = 1
    assert Ping(**PING).counters == {}


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (StreamState(stream="cam1", epoch=3, state="stalled", reason="no frame"), "STREAM cam1/3 stalled: no frame"),
        (StreamState(stream="cam1", epoch=3, state="live"), "STREAM cam1/3 live"),
        (Obs(**OBS, observations=[]), "OBS face cam1/3 #120 4.000s"),
        (Skip(**SKIP), "SKIP face cam1/3 #7-#9 gap"),
        (Ping(**PING), "PING face ready"),
        (Trig(**TRIG), "TRIG 0123456789abcdef smile cam1/3 4.000s..4.500s score 0.90"),
        (Reply(id="1", ok=True), "REPLY ok"),
        (Reply(id="1", ok=False), "REPLY failed"),
    ],
)
def test_a_message_prints_as_one_line_of_a_log(message, text):
    assert str(message) == text

"""What the extractor daemon says to fusion: every message numbered, so that every loss is seen."""

from collections import Counter

import msgspec
import numpy as np
import pytest

from visualpath.core.errors import ExtractionError
from visualpath.core.observation import Observation
from visualpath.extractor.reporter import Reporter
from visualpath.observability import ObservabilityHub
from visualpath.process.packing import pack_observations
from visualpath.runtime.histogram import Histograms
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.messages import COUNT_MAX, Bound, Bye, FrameHeader, Message, Obs, Ping, Skip
from visualpath_protocol.sockets import OBSERVATIONS

CODEC = Codec(Obs, Skip, Bound, Ping, Bye, max_bytes=OBSERVATIONS.max_bytes)


class Key(msgspec.Struct, frozen=True):
    """Can be a key in Python, and is a map on the wire, which cannot."""

    n: int


class Failing(np.ndarray):
    @property
    def dtype(self):
        raise RuntimeError("on another device")


class FakeService:
    """Takes what is sent, as the real one does; while `blocked` nobody can take it."""

    def __init__(self):
        self.counters = Counter()
        self.histograms = Histograms(self.counters, 2)
        self.trace = ObservabilityHub()
        self.blocked = False
        self.sent = []
        self.told = []

    def emit(self, kind, body):
        self.told.append((kind, body))

    def send(self, socket, message):
        data = encode(message) if isinstance(message, Message) else message
        if not self.blocked:
            self.sent.append(CODEC.decode(data))
        return not self.blocked


@pytest.fixture
def service():
    return FakeService()


@pytest.fixture
def reporter(service):
    ping = Ping(source="face", instance="a1", streams=["cam1", "cam2"], expected=False, state="starting")
    return Reporter(service, object(), ping)


@pytest.fixture
def every_third(service):
    """The reporter of a source that looks at the frames 0, 3, 6, ..."""
    return Reporter(service, object(), Ping(source="face", instance="a1", streams=["cam1"], state="ready", stride=3))


def header(frame_id=0, stream="cam1", epoch=1):
    return FrameHeader(
        stream=stream, epoch=epoch, frame_id=frame_id, t_ns=frame_id * 40, wall_ns=0, mono_ns=frame_id + 7,
        width=2, height=2, payloads=[],
    )  # fmt: skip


def observe(reporter, *observations, at=None):
    packed = pack_observations(list(observations))
    reporter.observed(at or header(5), packed, {"decode_ms": 3.5, "extract_ms": 12.5})


# Sequence numbers -------------------------------------------------------------------------------


def test_sequence_numbers_rise_over_all_kinds(reporter, service):
    reporter.picked(header(0))
    observe(reporter, at=header(0))
    reporter.skipped(header(1), header(1), "backpressure")
    reporter.never_came(header(1), header(4))
    reporter.picked(header(4))
    assert [message.seq for message in service.sent] == [0, 1, 2, 3, 4]


def test_each_stream_has_its_own_sequence(reporter, service):
    for stream in ("cam1", "cam2", "cam1"):
        reporter.picked(header(stream=stream))
    assert [message.seq for message in service.sent] == [0, 0, 1]


def test_a_new_epoch_goes_on_with_the_sequence(reporter, service):
    reporter.picked(header(9, epoch=1))
    reporter.picked(header(0, epoch=2))
    assert [message.seq for message in service.sent] == [0, 1]


def test_the_number_of_a_message_that_nobody_could_take_is_used_up(reporter, service):
    reporter.picked(header(0))
    service.blocked = True
    reporter.picked(header(1))
    service.blocked = False
    reporter.picked(header(2))
    assert [message.seq for message in service.sent] == [0, 2]


@pytest.mark.parametrize("kind", ["obs", "skip", "bound", "ping", "bye"])
def test_what_nobody_could_take_is_counted_by_kind(reporter, service, kind):
    service.blocked = True
    send = {
        "obs": lambda: observe(reporter),
        "skip": lambda: reporter.skipped(header(), header(), "timeout"),
        "bound": lambda: reporter.picked(header()),
        "ping": lambda: reporter.send_ping("ready", 0),
        "bye": lambda: reporter.bye("stopped"),
    }
    send[kind]()
    assert (service.counters[f"dropped.{kind}"], service.counters[f"sent.{kind}"]) == (1, 0)


def test_a_ping_says_how_many_numbers_were_used_by_stream(reporter, service):
    for stream in ("cam1", "cam2", "cam1"):
        reporter.picked(header(stream=stream))
    reporter.send_ping("ready", 0)
    assert service.sent[-1].sent == {"cam1": 2, "cam2": 1}


def test_a_ping_uses_no_number(reporter, service):
    reporter.send_ping("ready", 0)
    reporter.picked(header())
    assert service.sent[-1].seq == 0


# Content ----------------------------------------------------------------------------------------


def test_an_obs_is_about_its_frame(reporter, service):
    observe(reporter)
    [obs] = service.sent
    assert (obs.source, obs.instance, obs.stream, obs.epoch, obs.frame_id, obs.t_ns, obs.mono_ns, obs.bound_ns) == (
        "face", "a1", "cam1", 1, 5, 200, 12, 200,
    )  # fmt: skip


def test_an_obs_carries_signals_data_and_metadata(reporter, service):
    observe(reporter, Observation(signals={"conf": 0.5}, data={"box": [1, 2]}, metadata={"model": "m"}))
    [body] = service.sent[0].observations
    assert (body.signals, body.data, body.metadata) == ({"conf": 0.5}, {"box": [1, 2]}, {"model": "m"})


def test_arrays_travel_as_arrays(reporter, service):
    observe(reporter, Observation(data=np.arange(3, dtype=np.float32)))
    np.testing.assert_array_equal(service.sent[0].observations[0].data, np.arange(3, dtype=np.float32))


def test_an_obs_says_how_long_decoding_and_extracting_took(reporter, service):
    observe(reporter)
    assert service.sent[0].timing == {"decode_ms": 3.5, "extract_ms": 12.5}


def test_nothing_found_is_an_obs_without_observations(reporter, service):
    observe(reporter)
    assert service.sent[0].observations == []


def test_a_skip_is_about_its_run_of_frames(reporter, service):
    reporter.skipped(header(3), header(5), "backpressure")
    [skip] = service.sent
    assert (skip.first_frame_id, skip.last_frame_id, skip.first_t_ns, skip.t_ns) == (3, 5, 120, 200)


def test_skipped_frames_are_counted_by_reason(reporter, service):
    reporter.skipped(header(3), header(5), "backpressure")
    reporter.never_came(header(5), header(8))
    assert (service.counters["skipped.backpressure"], service.counters["skipped.gap"]) == (3, 2)


def test_frames_that_never_came_lie_between_the_two_that_did(reporter, service):
    reporter.never_came(header(5), header(8))
    [skip] = service.sent
    assert (skip.reason, skip.first_frame_id, skip.last_frame_id) == ("gap", 6, 7)


def test_the_times_of_frames_that_never_came_lie_strictly_between_the_two_that_did(reporter, service):
    reporter.never_came(header(5), header(8))
    assert (service.sent[0].first_t_ns, service.sent[0].t_ns) == (201, 319)


@pytest.mark.parametrize(
    ("before", "after", "run"),
    [(3, 9, (6, 6)), (3, 8, (6, 6)), (2, 10, (3, 9)), (4, 13, (6, 12)), (5, 7, (6, 6))],
)
def test_of_lost_frames_only_those_that_the_source_looks_at_are_announced(every_third, service, before, after, run):
    every_third.never_came(header(before), header(after))
    [skip] = service.sent
    assert (skip.first_frame_id, skip.last_frame_id) == run


@pytest.mark.parametrize(("before", "after"), [(3, 6), (6, 9), (3, 5), (4, 6), (3, 4), (4, 4), (9, 3)])
def test_nothing_is_said_where_the_source_looks_at_none_of_the_lost_frames(every_third, service, before, after):
    every_third.never_came(header(before), header(after))
    assert service.sent == []


def test_of_lost_frames_only_those_that_the_source_looks_at_are_counted(every_third, service):
    every_third.never_came(header(2), header(10))
    assert service.counters["skipped.gap"] == 3


@pytest.mark.parametrize("before", range(12))
@pytest.mark.parametrize("missing", range(12))
@pytest.mark.parametrize("phase", range(4))
def test_a_run_of_lost_frames_is_what_a_plain_search_finds(service, before, missing, phase):
    ping = Ping(source="face", instance="a1", streams=["cam1"], state="ready", stride=4, phase=phase)
    Reporter(service, object(), ping).never_came(header(before), header(before + missing + 1))
    looked_at = [n for n in range(before + 1, before + missing + 1) if n % 4 == phase]
    said = [n for skip in service.sent for n in range(skip.first_frame_id, skip.last_frame_id + 1, 4)]
    assert said == looked_at


def test_a_long_detail_is_cut_to_what_the_wire_takes(reporter, service):
    reporter.skipped(header(), header(), "error", "x" * 5000)
    assert service.sent[0].detail == "x" * 2000


def test_a_detail_that_is_no_utf_8_can_be_sent_all_the_same(reporter, service):
    reporter.skipped(header(), header(), "error", "FileNotFoundError: '/data/\udcff.bin'")
    assert service.sent[0].detail == "FileNotFoundError: '/data/?.bin'"


def test_a_counter_beyond_what_the_wire_takes_stays_at_its_end(reporter, service):
    for epoch in (1, 2, 3):
        wild = msgspec.structs.replace(header(5, epoch=epoch), frame_id=COUNT_MAX)
        reporter.never_came(header(0, epoch=epoch), wild)
    reporter.send_ping("ready", 0)
    assert service.counters["skipped.gap"] > COUNT_MAX
    assert service.sent[-1].counters["skipped.gap"] == COUNT_MAX


def test_a_gap_behind_the_end_of_time_can_be_sent_all_the_same(reporter, service):
    last = msgspec.structs.replace(header(5), t_ns=COUNT_MAX)
    reporter.never_came(last, msgspec.structs.replace(header(8), t_ns=COUNT_MAX))
    assert (service.sent[0].first_t_ns, service.sent[0].t_ns) == (COUNT_MAX, COUNT_MAX)


def test_a_bound_says_that_nothing_earlier_comes(reporter, service):
    reporter.picked(header(5))
    assert service.sent == [Bound(source="face", instance="a1", seq=0, stream="cam1", epoch=1, t_ns=200)]


def test_a_ping_is_the_complete_registration(reporter, service):
    reporter.send_ping("ready", 123)
    [ping] = service.sent
    assert (ping.source, ping.instance, ping.streams, ping.expected, ping.state, ping.busy_ns) == (
        "face", "a1", ["cam1", "cam2"], False, "ready", 123,
    )  # fmt: skip


def test_a_ping_says_which_frames_the_source_looks_at(every_third, service):
    every_third.send_ping("ready", 0)
    assert (service.sent[0].stride, service.sent[0].phase) == (3, 0)


# The tap ----------------------------------------------------------------------------------------


def test_an_obs_goes_to_the_tap_as_it_is(reporter, service):
    observe(reporter, Observation(signals={"conf": 0.5}))
    [(kind, body)] = service.told
    assert (kind, CODEC.decode(encode(body))) == ("obs", service.sent[0])


def test_a_skip_goes_to_the_tap_as_it_is(reporter, service):
    reporter.skipped(header(3), header(5), "backpressure")
    assert service.told == [("skip", service.sent[0])]


def test_what_fusion_cannot_take_goes_to_the_tap_all_the_same(reporter, service):
    service.blocked = True
    observe(reporter)
    reporter.skipped(header(3), header(5), "backpressure")
    assert [kind for kind, _ in service.told] == ["obs", "skip"]


# The end ----------------------------------------------------------------------------------------


def test_a_bye_says_why(reporter, service):
    reporter.bye("stopped")
    assert service.sent == [Bye(source="face", instance="a1", reason="stopped")]


# What cannot be sent ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        object(),
        np.array(["text"]),
        2**70,
        np.zeros(OBSERVATIONS.max_bytes, np.uint8),
        "\udcff",
        {Key(1): 1},
        np.zeros(2).view(Failing),
    ],
    ids=[
        "an object",
        "an array of text",
        "a huge integer",
        "more than fusion takes",
        "no UTF-8",
        "a map as a key",
        "its own code fails",
    ],
)
def test_data_that_cannot_be_sent_is_a_failure_of_the_extractor(data):
    with pytest.raises(ExtractionError, match="data cannot be sent"):
        pack_observations([Observation(data=data)])


@pytest.mark.parametrize("metadata", [{"model": object()}, {1: 2}, None, {"\udcff": 1}], ids=ascii)
def test_metadata_that_cannot_be_sent_is_a_failure_of_the_extractor(metadata):
    with pytest.raises(ExtractionError, match="data cannot be sent"):
        pack_observations([Observation(metadata=metadata)])


def test_a_signal_whose_name_is_no_utf_8_is_a_failure_of_the_extractor():
    with pytest.raises(ExtractionError, match="data cannot be sent"):
        pack_observations([Observation(signals={"\udcff": 1.0})])


def test_what_a_plug_in_changes_after_packing_is_not_sent(reporter, service):
    scores = np.zeros(3, np.float32)
    packed = pack_observations([Observation(data=scores)])
    scores += 1
    reporter.observed(header(5), packed, {})
    np.testing.assert_array_equal(service.sent[0].observations[0].data, np.zeros(3, np.float32))

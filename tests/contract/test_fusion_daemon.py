"""The fusion daemon as a process. The test plays the frame daemon, two extractors and the clip daemon."""

import re
import signal
from contextlib import closing

import msgpack
import msgspec
import numpy as np
import pytest
from around_fusion import CONFIG, EPOCH, MS, World

from visualpath.core.errors import CommandError, PluginError, Unreachable
from visualpath.core.rules import RuleConfig
from visualpath.core.units import Duration
from visualpath.fusion.daemon import FusionDaemon
from visualpath.process import decision
from visualpath.process.decision import align_params, make_fusion
from visualpath.runtime.config import load_config
from visualpath.runtime.sections import FusionConfig
from visualpath.runtime.service import Service
from visualpath_protocol.codec import encode
from visualpath_protocol.messages import Bound, Bye, Command, Evidence, Ping, Skip, Trig, make_trig_id
from visualpath_protocol.sockets import CONTROL, TRIGGERS


class Fusion:
    """The daemon's process, and its control link."""

    def __init__(self, start_daemon, ask, config_path):
        self._start_daemon, self._ask, self._config_path = start_daemon, ask, config_path
        self.start()

    def start(self):
        self._daemon = self._start_daemon("fusion", self._config_path)

    def ask(self, command, timeout_ms=10_000, **args):
        return self._ask("fusion", command, args, timeout_ms=timeout_ms)

    def status(self):
        return self.ask("status")

    def count(self, counter):
        return self.status()["counters"].get(counter, 0)

    def end(self, number=signal.SIGTERM):
        """Send a signal, and return the exit code."""
        self._daemon.process.send_signal(number)
        return self._daemon.wait()

    def log(self):
        return self._daemon.log()


def ping(source, instance="i1", **fields):
    return Ping(**{"source": source, "instance": instance, "streams": ["cam1"], "state": "ready", **fields})


def register(fusion, *sources, **fields):
    for source in sources:
        fusion.ask("register", **msgspec.to_builtins(ping(source, **fields)))


EXPECTED = Trig(
    trig_id=make_trig_id("cam1", EPOCH, "smile", 150 * MS),
    stream="cam1",
    epoch=EPOCH,
    label="smile",
    reason="all(face.count >= 1, text.count >= 1) for 0.200 s",
    score=0.75,
    frame_id=7,
    t_start_ns=150 * MS,
    t_end_ns=350 * MS,
    evidence=[
        Evidence(source="face", frame_id=7, signal="count", value=1.0),
        Evidence(source="text", frame_id=7, signal="count", value=1.0),
        Evidence(source="face", frame_id=7, signal="sure", value=0.75),
    ],
)


@pytest.fixture
def fusion(start_daemon, ask, write_config):
    return Fusion(start_daemon, ask, write_config(CONFIG))


@pytest.fixture
def world(links):
    return World(links)


@pytest.fixture
def live(fusion, world, wait_for):
    """Both sources are registered, and the stream is live in its epoch."""
    register(fusion, "face", "text")
    world.say_state(last_frame_id=10, last_t_ns=500 * MS)
    wait_for(lambda: fusion.status()["streams"]["cam1"]["epoch"] == EPOCH)
    return world


# For how long it lags behind ------------------------------------------------------------------------


def unfused_ns(fusion):
    return fusion.status()["streams"]["cam1"]["unfused_ns"]


def test_observations_that_make_no_set_are_unfused(fusion, live, wait_for):
    live.obs("face", 1, 1.0, epoch=EPOCH + 1)
    wait_for(lambda: unfused_ns(fusion) > 0)


def test_after_a_set_nothing_is_unfused(fusion, live, wait_for):
    live.obs("face", 1, 1.0)
    wait_for(lambda: unfused_ns(fusion) > 0)
    live.obs("text", 1, 1.0)
    wait_for(lambda: unfused_ns(fusion) == 0)


def test_an_observation_that_comes_after_its_set_is_not_unfused(fusion, live, counter, wait_for):
    live.obs("face", 1, 1.0)
    wait_for(lambda: unfused_ns(fusion) > 0)
    wait_for(lambda: unfused_ns(fusion) == 0)
    live.obs("text", 1, 1.0)
    wait_for(lambda: counter("fusion", "late.text"))
    assert unfused_ns(fusion) == 0


def test_a_trigger_that_clip_does_not_acknowledge_is_undelivered(fusion, live, wait_for):
    live.play()
    trig = live.trig()
    wait_for(lambda: fusion.status()["undelivered_ns"] > 0)
    live.ack(trig)
    wait_for(lambda: fusion.status()["undelivered_ns"] == 0)


# The chain ------------------------------------------------------------------------------------------


def test_observations_of_two_sources_become_exactly_the_expected_trigger(fusion, live, wait_for):
    live.play()
    trig = live.trig()
    assert trig == EXPECTED
    live.ack(trig)
    wait_for(lambda: fusion.status()["outbox"] == 0)
    assert fusion.status()["streams"]["cam1"]["sets"] == 11
    assert fusion.count("triggers") == 1
    assert fusion.count("sets.complete") == 11


def test_status_tells_of_sources_and_streams(fusion, live):
    status = fusion.status()
    assert {name: source["state"] for name, source in status["sources"].items()} == {"face": "ready", "text": "ready"}
    assert status["streams"]["cam1"]["state"] == "live"
    assert status["streams"]["cam1"]["last_t_ns"] == 500 * MS


def test_a_ping_on_the_observation_link_registers_too(fusion, world, wait_for):
    world.push(ping("face"))
    wait_for(lambda: "face" in fusion.status()["sources"])


def test_a_source_that_left_is_waited_for_no_more(fusion, live, wait_for):
    live.obs("face", 0, 1.0)
    live.push(Bye(source="text", instance="i1"))
    wait_for(lambda: fusion.count("sets") == 1)
    assert fusion.count("missing.down.text") == 1


def test_a_source_that_falls_silent_is_waited_for_no_more(fusion, live, wait_for):
    live.obs("face", 0, 1.0)
    wait_for(lambda: fusion.count("sets") == 1, timeout_s=5)
    assert fusion.status()["sources"]["text"]["state"] == "down"


def test_a_flood_is_refused_and_counted_and_keeps_nobody_else_out(start_daemon, ask, write_config, world, wait_for):
    fusion = Fusion(start_daemon, ask, write_config(CONFIG.replace("window: 20s", "window: 20s\n  max_rate: 50")))
    register(fusion, "face", "text")
    world.say_state()
    wait_for(lambda: fusion.status()["streams"]["cam1"]["epoch"] == EPOCH)
    for n in range(200):
        world.push(skip("text", n, n, seq=n))
    world.obs("face", 0, 1.0)
    wait_for(lambda: fusion.count("fused.face") == 1)
    assert fusion.count("refused.obs.rate") >= 50
    assert (fusion.count("skips.text"), fusion.status()["sources"]["text"]["lost"]) == (200, 0)


def test_a_wild_promise_is_refused_and_counted(fusion, live, wait_for):
    message = Bound(source="text", instance="i1", seq=0, stream="cam1", epoch=EPOCH, t_ns=10**18)
    live.push(message)
    wait_for(lambda: fusion.count("refused.obs.wild-bound") == 1)


@pytest.mark.parametrize("streams", [[], ["cam1"] * 1000, ["cam9"]])
def test_a_ping_that_is_no_registration_is_refused_and_counted_and_fusion_lives(fusion, live, wait_for, streams):
    live.push(ping("rogue", streams=streams))
    wait_for(lambda: fusion.count("refused.obs.unknown-stream") + fusion.count("refused.obs.malformed") == 1)
    live.push(skip("rogue", 0, 0, seq=0))
    wait_for(lambda: fusion.count("skips.unregistered") == 1)


def test_a_source_that_comes_and_goes_without_end_does_not_fill_the_log(fusion, live, wait_for):
    before = len(fusion.log())
    for _ in range(500):
        live.push(ping("text", state="starting"))
        live.push(ping("text"))
    wait_for(lambda: fusion.count("refused.obs.rate") > 900)
    assert len(fusion.log()) - before < 10_000


def test_observations_that_waited_when_their_source_left_are_counted_by_its_name(fusion, live, wait_for):
    live.obs("face", 0, 1.0)
    live.push(Bye(source="face", instance="i1"))
    live.push(Bye(source="text", instance="i1"))
    live.say_state("ended")
    live.say_state("starting", epoch=EPOCH + 1)
    wait_for(lambda: fusion.count("fused.face") == 1)


def test_a_trigger_by_hand_is_no_measure_of_how_long_triggers_take(fusion, live, ask, wait_for):
    fusion.ask("trigger", stream="cam1", t_ns=400 * MS)
    wait_for(lambda: fusion.status()["outbox"] == 1)
    assert "capture_to_trigger" not in str(ask("fusion", "metrics")["histograms"])


def test_a_skip_is_counted_by_frames(fusion, live, wait_for):
    live.push(skip("text", 0, 3, seq=0))
    wait_for(lambda: fusion.count("skips.text") == 4)


def test_lost_messages_are_seen_in_the_status(fusion, live, wait_for):
    live.push(skip("text", 0, 0, seq=0))
    live.push(skip("text", 1, 1, seq=4))
    live.push(ping("text", sent={"cam1": 7}))
    wait_for(lambda: fusion.status()["sources"]["text"]["lost"] == 5)


def test_a_stream_that_ended_is_drained(start_daemon, ask, write_config, world, wait_for):
    fusion = Fusion(start_daemon, ask, write_config(CONFIG.replace("20s", "50ms")))
    world.say_state("ended")
    wait_for(lambda: fusion.status()["streams"]["cam1"]["drained"])


# Bad input ------------------------------------------------------------------------------------------


def skip(source, first, last, seq):
    return Skip(
        source=source,
        instance="i1",
        seq=seq,
        stream="cam1",
        epoch=EPOCH,
        first_frame_id=first,
        last_frame_id=last,
        first_t_ns=0,
        t_ns=0,
        reason="gap",
    )


@pytest.mark.parametrize(
    ("data", "counter"),
    [
        (b"", "refused.obs.malformed"),
        (b"\xff\x00garbage", "refused.obs.malformed"),
        (b"\x91" * 100_000, "refused.obs.malformed"),
        (encode(EXPECTED), "refused.obs.malformed"),
        (msgpack.packb({"t": "BYE", "v": 2, "source": "face", "instance": "i1"}), "refused.obs.version"),
    ],
    ids=["empty", "garbage", "nested", "other-message", "version"],
)
def test_garbage_on_the_observation_link_is_counted_and_the_daemon_lives(fusion, world, wait_for, data, counter):
    world.push(data)
    wait_for(lambda: fusion.count(counter) == 1)


def test_after_garbage_the_chain_still_works(fusion, live):
    live.push(b"garbage")
    live.play()
    assert live.trig() == EXPECTED


def test_observations_of_an_unknown_stream_are_counted(fusion, world, wait_for):
    world.push(msgspec.structs.replace(skip("face", 0, 0, seq=0), stream="cam9"))
    wait_for(lambda: fusion.count("refused.obs.unknown-stream") == 1)


@pytest.mark.parametrize("field", ["sent", "counters", "streams", "source", "stride"])
def test_a_registration_with_an_array_in_the_place_of_something_else_is_refused(fusion, field):
    with pytest.raises(CommandError) as caught:
        fusion.ask("register", **{**msgspec.to_builtins(ping("face")), field: np.zeros(3)})
    assert caught.value.code == "malformed"


def test_a_second_instance_of_a_live_source_is_refused(fusion, live):
    with pytest.raises(CommandError) as caught:
        register(fusion, "face", instance="i2")
    assert caught.value.code == "name-taken"


def test_messages_of_a_second_instance_are_counted_and_not_taken(fusion, live, wait_for):
    live.push(msgspec.structs.replace(skip("face", 0, 0, seq=0), instance="i2"))
    wait_for(lambda: fusion.count("refused.obs.name-taken") == 1)
    assert fusion.count("skips.face") == 0


@pytest.mark.parametrize(
    ("fields", "code"), [({"version": "2.0"}, "version"), ({"streams": ["cam9"]}, "unknown-stream")]
)
def test_a_registration_that_does_not_fit_is_refused(fusion, fields, code):
    with pytest.raises(CommandError) as caught:
        register(fusion, "face", **fields)
    assert caught.value.code == code


def test_a_malformed_registration_is_refused(fusion):
    with pytest.raises(CommandError, match="no registration"):
        fusion.ask("register", source="No Name")


def test_absurd_counts_do_not_take_the_status_away(fusion, live, wait_for):
    for seq in range(3):
        live.push(skip("text", 0, 2**63 - 1, seq))
    wait_for(lambda: fusion.count("skips.text") == 2**63 - 1)


@pytest.fixture
def inside(write_config):
    """A fusion daemon in this process, with its service; its loop does not run."""
    service = Service("fusion", load_config(write_config(CONFIG)))
    with closing(FusionDaemon(service)) as daemon:
        yield daemon, service
    service.close()


@pytest.mark.parametrize(
    ("fields", "counter"),
    [
        ({"score": 2.0}, "refused.trigger.malformed"),
        ({"label": "No Name"}, "refused.trigger.malformed"),
        ({"metadata": {"x": object()}}, "refused.trigger.malformed"),
        ({"metadata": {"x": b"x" * TRIGGERS.max_bytes}}, "refused.trigger.oversized"),
    ],
    ids=["score", "label", "metadata", "size"],
)
def test_a_plug_ins_trigger_that_nobody_could_read_is_refused_and_counted(inside, fields, counter):
    daemon, service = inside
    daemon._outcomes.act(daemon._streams["cam1"], [msgspec.structs.replace(EXPECTED, **fields), EXPECTED], 0)
    assert (service.counters[counter], service.counters["triggers"]) == (1, 1)


# Settings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "window_ms"), [("realtime", 100), ("batch", 200), ("low_latency", 50)])
def test_a_preset_gives_the_window(preset, window_ms):
    assert align_params(FusionConfig(preset=preset), "realtime").window_ns == window_ms * MS


def test_a_window_that_is_given_goes_before_the_preset():
    config = FusionConfig(preset="batch", window_ns=Duration(70 * MS))
    assert align_params(config, "realtime").window_ns == 70 * MS


def test_the_documents_late_threshold_becomes_the_lateness_beyond_the_window():
    params = align_params(FusionConfig(window_ns=Duration(100 * MS), late_arrival_threshold=1.5), "realtime")
    assert (params.window_ns, params.allowed_lateness_ns) == (100 * MS, 50 * MS)


def test_of_a_stream_that_is_read_as_fast_as_can_be_only_its_own_word_moves_time():
    params = align_params(FusionConfig(), "fast")
    assert params.jump_confirm == 0
    assert min(params.future_guard_ns, params.reset_backstep_ns) > 10 * 365 * 86_400 * 1_000_000_000


def test_each_stream_has_a_fusion_of_its_own():
    config = FusionConfig(rules=[RuleConfig(label="a", when="b.c > 1")])
    assert make_fusion(config) is not make_fusion(config)


def test_a_fusion_plug_in_that_cannot_start_is_told_with_its_cause(monkeypatch):
    def start(config):
        raise KeyError("threshold")

    monkeypatch.setattr(decision, "load_fusion", lambda name: start)
    with pytest.raises(PluginError, match="fusion 'mine' cannot start: KeyError: 'threshold'"):
        make_fusion(FusionConfig(plugin="mine"))


# Triggers by hand -----------------------------------------------------------------------------------


def test_a_trigger_by_hand_reaches_the_clip_daemon(fusion, live):
    answer = fusion.ask("trigger", stream="cam1", label="look", t_ns=400 * MS, reason="a noise")
    trig = live.trig()
    assert answer == {"trig_id": trig.trig_id, "stream": "cam1", "epoch": EPOCH, "t_ns": 400 * MS}
    assert (trig.label, trig.t_start_ns, trig.t_end_ns, trig.reason) == ("look", 400 * MS, 400 * MS, "a noise")


def test_without_a_time_it_is_that_of_the_last_frame(fusion, live):
    assert fusion.ask("trigger", stream="cam1")["t_ns"] == 500 * MS


def test_asking_twice_for_one_time_is_one_trigger(fusion, live, wait_for):
    first, again = (fusion.ask("trigger", stream="cam1", t_ns=400 * MS) for _ in range(2))
    wait_for(lambda: fusion.status()["outbox"] == 1)
    assert first == again
    other = fusion.ask("trigger", stream="cam1", t_ns=401 * MS)
    wait_for(lambda: fusion.status()["outbox"] == 2)
    assert other["trig_id"] != first["trig_id"]


@pytest.mark.parametrize("t_ns", [-1, 1.5, True, "now", 2**63])
def test_a_time_that_is_none_is_refused(fusion, live, t_ns):
    with pytest.raises(CommandError) as caught:
        fusion.ask("trigger", stream="cam1", t_ns=t_ns)
    assert caught.value.code == "malformed"
    assert fusion.status()["outbox"] == 0


def test_a_label_that_is_no_name_is_refused(fusion, live):
    with pytest.raises(CommandError, match="is no valid name"):
        fusion.ask("trigger", stream="cam1", label="../etc")


def test_a_long_reason_is_cut_to_what_the_wire_takes(fusion, live):
    fusion.ask("trigger", stream="cam1", reason="x" * 5000)
    assert live.trig().reason == "x" * 2000


def test_a_stream_that_is_not_there_is_refused_with_those_there_are(fusion):
    with pytest.raises(CommandError) as caught:
        fusion.ask("trigger", stream="cam9")
    assert (caught.value.code, caught.value.hint) == ("unknown-stream", "cam1")


def test_triggers_by_hand_without_end_are_refused_before_they_push_others_out(fusion, live, links):
    control = links.connect(CONTROL, "fusion")
    codes = []
    for t_ns in range(300):
        control.send(encode(Command(id=str(t_ns), name="trigger", args={"stream": "cam1", "t_ns": t_ns})))
        assert control.poll(10_000)
        codes.append((msgpack.unpackb(control.recv())["error"] or {}).get("code"))
    assert {None, "busy"} == set(codes)


def test_a_stream_without_frames_is_refused(fusion):
    with pytest.raises(CommandError) as caught:
        fusion.ask("trigger", stream="cam1")
    assert caught.value.code == "no-frames"


# Ends and restarts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_ends_it_in_order(fusion, short_dir, number):
    fusion.status()
    assert fusion.end(number) == 0
    assert re.search(r"INFO fusion: down\n\Z", fusion.log())
    assert [path.name for path in (short_dir / "run" / "fusion").iterdir()] == ["lock"]


def test_every_trigger_decided_before_an_orderly_end_is_stored(fusion, live, links, wait_for):
    control = links.connect(CONTROL, "fusion")
    for t_ns in range(90):
        control.send(encode(Command(id=str(t_ns), name="trigger", args={"stream": "cam1", "t_ns": t_ns})))
    for _ in range(90):
        assert control.poll(10_000)
        control.recv()
    assert fusion.end() == 0
    fusion.start()
    wait_for(lambda: fusion.status()["outbox"] == 90)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_trigger_without_ack_is_delivered_after_a_restart(fusion, live, wait_for, number):
    live.play()
    assert live.trig() == EXPECTED
    fusion.end(number)
    while live.trig(timeout_s=0):
        pass
    fusion.start()
    again = live.trig()
    assert again == EXPECTED
    live.ack(again)
    wait_for(lambda: fusion.status()["outbox"] == 0)


def test_after_a_restart_the_same_moment_is_not_fired_again(fusion, live, wait_for):
    live.play()
    live.ack(live.trig())
    wait_for(lambda: fusion.status()["outbox"] == 0)
    fusion.end(signal.SIGKILL)
    fusion.start()
    register(fusion, "face", "text")
    del live.subscribed
    live.say_state()
    wait_for(lambda: fusion.status()["streams"]["cam1"]["epoch"] == EPOCH)
    live.play()
    wait_for(lambda: fusion.status()["streams"]["cam1"]["sets"] == 11)
    assert fusion.count("triggers") == 0


def test_a_restarted_fusion_knows_a_source_from_any_ping(fusion, live, wait_for):
    fusion.end(signal.SIGKILL)
    fusion.start()
    live.push(ping("face"))
    wait_for(lambda: fusion.status()["sources"].get("face", {}).get("state") == "ready")


def test_a_killed_daemon_does_not_answer_and_its_successor_takes_the_folder(fusion):
    fusion.status()
    fusion.end(signal.SIGKILL)
    with pytest.raises(Unreachable):
        fusion.ask("status", timeout_ms=100)
    fusion.start()
    assert fusion.status()["daemon"] == "fusion"

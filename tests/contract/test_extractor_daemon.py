"""The real extractor daemon with a plug-in made for the test, which plays the frame daemon and fusion."""

import re
import signal

import msgspec
import pytest

from visualpath_protocol.messages import Bound, Bye, Obs, Ping, Skip


@pytest.fixture
def fusion(fake_fusion):
    return fake_fusion


@pytest.fixture
def camera(fake_stream):
    return fake_stream("cam1")


@pytest.fixture
def start(start_daemon, write_config, scripted_plugins, release):
    """Start the daemon of the extractor `probe`."""

    def start(plugin="scripted", **config):
        settings = ", ".join(f"{key}: {list(value)}" for key, value in config.items())
        path = write_config(f"""
            state_dir: state
            ring: {{dir: ring, length: 30s}}
            streams:
              cam1: {{source: none.mp4}}
            extractors:
              probe: {{plugin: {plugin}, config: {{release: "{release}", {settings}}}}}
        """)
        return start_daemon("extractor", path, "probe", PYTHONPATH=scripted_plugins)

    return start


@pytest.fixture
def running(start, fusion, camera):
    """Start it, accept it, and wait until it listens to the stream."""

    def running(**config):
        daemon = start(**config)
        fusion.accept()
        camera.await_subscribers()
        return daemon

    return running


# Registration -----------------------------------------------------------------------------------


def test_a_registration_is_complete(start, fusion, camera):
    start()
    ping = fusion.receive_register()[2]
    assert (ping.source, ping.streams, ping.expected, ping.state) == ("probe", ["cam1"], True, "ready")


def test_no_frame_is_taken_before_fusion_has_accepted(start, fusion, camera):
    start()
    for _ in range(2):  # it asks again
        fusion.receive_register()
    assert not camera._socket.poll(0)
    fusion.accept()
    camera.await_subscribers()


def test_a_refused_source_asks_again_and_says_why_it_was_refused(start, fusion, camera):
    daemon = start()
    fusion.refuse("another live instance is called probe")
    fusion.accept()
    camera.await_subscribers()
    assert "refused by fusion: another live instance is called probe" in daemon.log()


def test_pings_come_while_the_source_waits_to_be_accepted(start, fusion, camera):
    start()
    assert fusion.first(Ping).source == "probe"


def test_a_version_that_is_no_text_is_shown_as_text(start, fusion, ask, release):
    release.touch()
    start("heavy")
    fusion.receive_register()
    assert ask("extractor-probe", "status")["extractor"]["version"] == "2.0"


# Observations -----------------------------------------------------------------------------------


def test_a_frame_becomes_an_observation(running, fusion, camera):
    running()
    [header] = camera.frames(0, 0)
    obs = fusion.about(0)
    assert (obs.source, obs.stream, obs.epoch, obs.t_ns, obs.mono_ns) == ("probe", "cam1", 1, 0, header.mono_ns)


def test_an_observation_carries_what_the_plugin_found(running, fusion, camera):
    running()
    camera.frames(3, 3)
    [body] = fusion.about(3).observations
    assert (body.signals, body.data["box"].tolist(), body.metadata) == ({"id": 3.0}, [1.0, 2.0, 3.0, 4.0], {"m": "x"})


def test_an_observation_says_how_long_it_took(running, fusion, camera):
    running()
    camera.frames(0, 0)
    assert set(fusion.about(0).timing) == {"decode_ms", "extract_ms"}


def test_a_bound_comes_at_each_pick_before_its_observation(running, fusion, camera):
    running()
    for n in range(3):
        camera.frames(n, n)
        fusion.about(n)
    kinds = [(type(m), m.t_ns) for m in fusion.messages if isinstance(m, Obs | Bound)]
    assert kinds == [(kind, n * camera.FRAME_NS) for n in range(3) for kind in (Bound, Obs)]


def test_a_bound_comes_while_the_inference_still_runs(running, fusion, camera):
    running(holds_at=[0])
    camera.frames(0, 0)
    assert fusion.first(Bound).t_ns == 0
    assert fusion.of(Obs) == []


def test_sequence_numbers_have_no_holes(running, fusion, camera):
    running(fails_at=[1])
    for n in (0, 1, 4):
        camera.frames(n, n)
        fusion.about(n)
    numbers = [message.seq for message in fusion.messages if not isinstance(message, Ping)]
    assert numbers == list(range(len(numbers)))


# Skips ------------------------------------------------------------------------------------------


def test_a_failed_inference_is_a_skip_with_the_reason(running, fusion, camera):
    running(fails_at=[0])
    camera.frames(0, 0)
    skip = fusion.about(0)
    assert (skip.reason, skip.detail) == ("error", "RuntimeError: cannot look at 0")


def test_a_failed_inference_is_logged_with_the_plug_ins_line_and_its_traceback(running, fusion, camera, wait_for):
    daemon = running(fails_at=[0])
    camera.frames(0, 0)
    fusion.about(0)
    wait_for(lambda: "failed.error x 1" in daemon.log())
    [line] = [line for line in daemon.log().splitlines() if "failed.error x 1" in line]
    assert re.search(r"RuntimeError: cannot look at 0 \(at /.*/scripted_plugin\.py:\d+\)$", line)
    assert "Traceback (most recent call last):" in daemon.log()


def test_a_crash_of_the_process_leaves_the_python_line_in_the_log(running, camera):
    daemon = running()
    daemon.process.send_signal(signal.SIGSEGV)
    assert daemon.wait() == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in daemon.log()


def test_the_status_names_the_signals_that_the_plug_in_gave(running, fusion, camera, ask):
    running()
    assert ask("extractor-probe", "status")["extractor"]["signals"] == []
    camera.frames(0, 0)
    fusion.about(0)
    assert ask("extractor-probe", "status")["extractor"]["signals"] == ["id"]


def unanswered_ns(ask):
    return ask("extractor-probe", "status")["extractor"]["freshness"]["cam1"]["unanswered_ns"]


def test_frames_that_it_fails_on_are_unanswered_since_the_first_of_them(running, fusion, camera, ask, wait_for):
    running(fails_at=[0, 1])
    camera.frames(0, 0)
    fusion.about(0)
    before_ns = unanswered_ns(ask)
    camera.frames(1, 1)
    fusion.about(1)
    assert 0 < before_ns < unanswered_ns(ask)


def test_after_an_observation_nothing_is_unanswered(running, fusion, camera, ask):
    running(fails_at=[0])
    camera.frames(0, 1)
    fusion.about(1)
    assert unanswered_ns(ask) == 0


def test_a_new_epoch_begins_to_be_unanswered_anew(running, fusion, camera, ask, wait_for):
    running(fails_at=[0])
    camera.frames(0, 0)
    fusion.about(0)
    wait_for(lambda: unanswered_ns(ask) > 500_000_000)
    camera.begin(2)
    camera.frames(0, 0)
    wait_for(lambda: unanswered_ns(ask) < 500_000_000)


def test_a_plug_in_that_gives_signals_without_end_has_none_in_its_status(running, fusion, camera, ask):
    running(many_names_at=[0])
    camera.frames(0, 0)
    fusion.about(0)
    assert ask("extractor-probe", "status")["extractor"]["signals"] is None


@pytest.mark.parametrize("trouble", ["fails_at", "fails_unspeakably_at", "answers_wrongly_at"])
def test_a_failed_inference_does_not_end_the_daemon(running, fusion, camera, trouble):
    running(**{trouble: [0]})
    camera.frames(0, 0)
    fusion.about(0)
    camera.frames(1, 1)
    assert type(fusion.about(1)) is Obs


def test_a_damaged_picture_is_a_skip(running, fusion, camera):
    running()
    camera.announce(camera.write(0, jpeg=b"no picture"))
    assert fusion.about(0).reason == "error"


def test_an_evicted_picture_is_a_skip(running, fusion, camera):
    running()
    header = camera.write(0)
    camera.segment(header).unlink()
    camera.announce(header)
    assert fusion.about(0).reason == "evicted"


def test_a_header_without_payload_is_a_skip(running, fusion, camera):
    running()
    camera.announce(msgspec.structs.replace(camera.write(0), payloads=[]))
    assert fusion.about(0).reason == "error"


def test_frames_that_did_not_arrive_are_a_skip(running, fusion, camera):
    running()
    camera.frames(0, 0)
    fusion.about(0)
    camera.frames(4, 4)
    skip = fusion.about(1)
    assert (skip.reason, skip.first_frame_id, skip.last_frame_id) == ("gap", 1, 3)


def test_a_new_epoch_is_no_gap(running, fusion, camera):
    running()
    camera.frames(7, 7)
    fusion.about(7)
    camera.begin(2)
    camera.frames(0, 0)
    fusion.about(0)
    assert fusion.of(Skip) == []


def test_a_frame_that_is_replaced_while_it_waits_is_a_skip_at_once(running, fusion, camera):
    running(holds_at=[0])
    camera.frames(0, 0)
    fusion.first(Bound)
    camera.frames(1, 2)
    assert fusion.about(1).reason == "backpressure"
    assert fusion.of(Obs) == []


def test_the_newest_frame_is_worked_on_after_a_slow_one(running, fusion, camera, release):
    running(holds_at=[0])
    camera.frames(0, 0)
    fusion.first(Bound)
    camera.frames(1, 9)
    fusion.about(8)
    release.touch()
    assert type(fusion.about(9)) is Obs


def test_every_frame_is_observed_or_skipped_and_none_twice(running, fusion, camera, release):
    running(holds_at=[0], fails_at=range(10, 200, 3))
    for n in range(200):
        if n % 7 != 3 or n > 190:
            camera.frames(n, n)
        else:
            camera.write(n)
        if n == 100:
            release.touch()
        fusion.until(lambda f, n=n: len(f.settled()) >= n - 3)  # one in work, one waits, one is not known to be lost
    fusion.until(lambda f: len(f.settled()) == 200)
    assert set(fusion.settled().values()) == {1}


def test_garbage_in_place_of_a_header_is_counted_and_the_daemon_lives(running, fusion, camera, counter, wait_for):
    running()
    camera.send("h", b"garbage")
    wait_for(lambda: counter("extractor-probe", "refused.headers.malformed") == 1)
    camera.frames(0, 0)
    assert type(fusion.about(0)) is Obs


# Signs of life ----------------------------------------------------------------------------------


def test_pings_during_an_inference_say_how_long_it_has_run(running, fusion, camera):
    running(holds_at=[0])
    camera.frames(0, 0)
    fusion.first(Bound)
    busy = fusion.until(lambda f: len(found := [p.busy_ns for p in f.of(Ping) if p.busy_ns]) >= 2 and found)
    assert busy[1] - busy[0] > 200_000_000


def test_busy_ns_is_0_when_the_inference_is_over(running, fusion, camera, release):
    running(holds_at=[0])
    camera.frames(0, 0)
    fusion.until(lambda f: [p for p in f.of(Ping) if p.busy_ns])
    release.touch()
    fusion.about(0)
    count = len(fusion.of(Ping))
    assert fusion.until(lambda f: f.of(Ping)[count:])[0].busy_ns == 0


def test_a_ping_says_how_many_numbers_were_used(running, fusion, camera):
    running()
    camera.frames(0, 0)
    fusion.about(0)
    count = len(fusion.of(Ping))
    assert fusion.until(lambda f: f.of(Ping)[count:])[0].sent == {"cam1": 2}


# The end ----------------------------------------------------------------------------------------


def test_an_orderly_stop_says_bye_and_ends_with_0(running, fusion):
    daemon = running()
    assert daemon.stop() == 0
    assert fusion.first(Bye).source == "probe"


@pytest.fixture
def stopping(running, fusion, camera, counter, wait_for):
    """Start it, and tell it to stop when frame 0 is in work and frame 1 waits."""
    daemon = running(holds_at=[0])
    camera.frames(0, 0)
    fusion.first(Bound)
    camera.frames(1, 1)
    wait_for(lambda: counter("extractor-probe", "received") == 2)
    daemon.process.terminate()
    return daemon


def test_at_the_stop_a_frame_that_waits_is_skipped_at_once(stopping, fusion):
    skip = fusion.about(1)
    assert (skip.reason, skip.detail, fusion.of(Obs)) == ("backpressure", "stopped", [])


def test_after_the_stop_a_frame_that_comes_is_skipped_at_once(stopping, fusion, camera):
    fusion.about(1)
    camera.frames(2, 2)
    skip = fusion.about(2)
    assert (skip.reason, skip.detail, fusion.of(Obs)) == ("backpressure", "stopped", [])


def test_after_the_stop_pings_say_stopping(stopping, fusion):
    fusion.until(lambda f: "stopping" in [ping.state for ping in f.of(Ping)])
    assert fusion.of(Bye) == []


def test_a_stop_during_an_inference_that_ends_in_time_ends_with_its_obs_then_bye_and_0(stopping, fusion, release):
    fusion.about(1)
    release.touch()
    fusion.first(Bye)
    said = [type(message) for message in fusion.messages if not isinstance(message, Ping)]
    assert said == [Bound, Skip, Obs, Bye]
    assert stopping.wait(4) == 0


def test_a_stop_during_an_inference_that_hangs_ends_with_its_skip_then_bye_and_1(stopping, fusion):
    fusion.first(Bye)
    *_, skip, _ = [message for message in fusion.messages if not isinstance(message, Ping)]
    assert (skip.first_frame_id, skip.reason, skip.detail) == (0, "error", "stopped in the middle of it")
    assert stopping.wait() == 1
    assert "ending without it" in stopping.log()


def test_a_stop_during_an_inference_that_hangs_leaves_no_sockets(stopping, short_dir):
    assert stopping.wait() == 1
    assert [path.name for path in (short_dir / "run" / "extractor-probe").iterdir()] == ["lock"]


@pytest.mark.parametrize("holds_at", [[], [0]], ids=["while it waits", "during an inference"])
def test_a_defect_of_the_thread_that_sends_ends_it_with_1(running, camera, holds_at):
    daemon = running(breaks_the_daemon_at=[0], holds_at=holds_at)
    camera.frames(0, 0)
    assert daemon.wait() == 1
    assert "the I/O thread is stopped by a defect" in daemon.log()


def test_a_stop_while_the_model_is_loaded_ends_without_a_registration(start, fusion, release):
    daemon = start("heavy")
    fusion.first(Ping)
    daemon.process.terminate()
    fusion.until(lambda f: "stopping" in [ping.state for ping in f.of(Ping)])
    release.touch()
    assert daemon.wait() == 0
    assert not fusion._control.poll(0)


def test_a_stop_before_fusion_is_there_ends_with_0(start, wait_for):
    daemon = start()
    wait_for(lambda: "ready after" in daemon.log())
    assert daemon.stop() == 0


# What keeps it from starting --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plugin", "cause"),
    [
        ("broken", "plug-in 'broken' (broken_plugin:Broken) cannot be imported: ModuleNotFoundError"),
        ("fussy", "extractor 'probe' cannot start: ValueError: threshold must be below 1"),
        ("stranger", "plug-in 'stranger' (pathlib:Path) is no BaseExtractor"),
        ("absent", "no plug-in 'absent' in the group visualpath.extractors of this venv; installed here: broken"),
    ],
)
def test_a_plugin_that_cannot_start_ends_it_with_78_and_the_cause_in_one_line(start, plugin, cause):
    daemon = start(plugin)
    assert daemon.wait() == 78
    [line] = [line for line in daemon.log().splitlines() if "ERROR" in line]
    assert cause in line
    assert "Traceback" not in daemon.log()


def test_an_extractor_that_the_configuration_does_not_name_is_refused(start_daemon, write_config):
    path = write_config("streams: {cam1: {source: none.mp4}}\nring: {dir: ring, length: 30s}")
    daemon = start_daemon("extractor", path, "probe")
    assert daemon.wait() == 78
    assert "extractors: no 'probe' here" in daemon.log()

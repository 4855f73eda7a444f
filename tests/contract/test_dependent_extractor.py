"""Two real extractor daemons, of which one needs what the other saw on the same frame."""

import pytest

from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.messages import Event, Obs, Skip
from visualpath_protocol.sockets import TAP

WINDOW_S = 0.3


@pytest.fixture
def camera(fake_stream):
    return fake_stream("cam1")


@pytest.fixture
def config(write_config):
    """The configuration of both, with settings of the one that is depended on."""

    def write(share="", depends="depends: [probe], ", **config):
        settings = ", ".join(f"{key}: {list(value)}" for key, value in config.items())
        return write_config(f"""
            state_dir: state
            ring: {{dir: ring, length: 30s}}
            streams: {{cam1: {{source: none.mp4}}}}
            fusion: {{window: {WINDOW_S}s}}
            extractors:
              probe: {{plugin: scripted, {share} config: {{{settings}}}}}
              follower: {{{depends}}}
        """)

    return write


@pytest.fixture
def start(start_daemon, scripted_plugins):
    return lambda path, name: start_daemon("extractor", path, name, PYTHONPATH=scripted_plugins)


@pytest.fixture
def both(config, start, fake_fusion, camera):
    """Start them, and wait until frames reach both and words go from one to the other; returns the first."""

    def both(**settings):
        path = config(**settings)
        start(path, "follower")
        fake_fusion.accept("follower")
        probe = start(path, "probe")
        fake_fusion.accept("probe")
        camera.await_subscribers(2)
        until_they_talk(fake_fusion, camera)
        return probe

    return both


def until_they_talk(fusion, camera):
    """Send frames until one goes all the way, then begin another epoch."""
    for n in range(1000):
        camera.frames(n, n)
        if type(about(fusion, camera, n)) is Obs:
            break
    camera.begin(camera.epoch + 1)


def about(fusion, camera, frame_id, source="follower"):
    """The OBS or SKIP of a frame of the present epoch by a source, once it is there."""

    def found(fusion):
        mine = [m for m in (*fusion.of(Obs), *fusion.of(Skip)) if (m.source, m.epoch) == (source, camera.epoch)]
        hits = [m for m in mine if isinstance(m, Obs) and m.frame_id == frame_id]
        return hits + [m for m in mine if isinstance(m, Skip) and m.first_frame_id <= frame_id <= m.last_frame_id]

    return fusion.until(found)[0]


def test_an_extractor_gets_what_the_other_saw_on_the_same_frame(both, fake_fusion, camera):
    both()
    for n in range(5):
        camera.frames(n, n)
        obs = about(fake_fusion, camera, n)
        [body] = obs.observations
        assert (body.signals, body.data["box"].tolist()) == ({"id": float(n)}, [2.0, 4.0, 6.0, 8.0])


def test_a_frame_that_the_other_fails_on_is_skipped_for_the_same_reason(both, fake_fusion, camera):
    both(fails_at=[7])
    camera.frames(7, 7)
    skip = about(fake_fusion, camera, 7)
    assert (skip.reason, skip.detail) == ("error", "probe skipped it")


def test_a_frame_that_the_other_never_looks_at_is_skipped_at_once(both, fake_fusion, camera):
    both(share="drop: keyframe_only, every: 2,")
    camera.frames(1, 1)
    skip = about(fake_fusion, camera, 1)
    assert (skip.reason, skip.detail) == ("stride", "probe does not look at it")


def test_when_the_other_is_killed_frames_are_skipped_after_the_window(both, fake_fusion, camera):
    probe = both()
    probe.kill()
    for n in range(3):
        camera.frames(n, n)
        skip = about(fake_fusion, camera, n)
        assert (skip.reason, skip.detail) == ("timeout", "nothing from probe in 300 ms")


def test_frames_of_which_the_other_says_nothing_are_not_unanswered(both, fake_fusion, camera, ask):
    both().kill()
    camera.frames(0, 0)
    about(fake_fusion, camera, 0)
    assert ask("extractor-follower", "status")["extractor"]["freshness"]["cam1"]["unanswered_ns"] == 0


def test_when_the_other_comes_back_its_words_do_too(both, config, start, fake_fusion, camera):
    both().kill()
    start(config(), "probe")
    fake_fusion.accept("probe")
    camera.await_subscribers()
    until_they_talk(fake_fusion, camera)


def test_of_instances_each_says_its_part(config, start, fake_fusion, camera):
    path = config(share="instances: 2,")
    for name in ("follower", "probe-0", "probe-1"):
        start(path, name)
        fake_fusion.accept(name)
    camera.await_subscribers(3)
    for n in range(1000):
        camera.frames(n, n)
        about(fake_fusion, camera, n)
        if {m.frame_id % 2 for m in fake_fusion.of(Obs) if m.source == "follower"} == {0, 1}:
            return
    raise AssertionError("only one of the instances is heard")


def test_at_the_stop_a_frame_that_waits_for_the_other_is_skipped_at_once(
    write_config, start, fake_fusion, camera, counter, wait_for
):
    path = write_config("""
        ring: {dir: ring, length: 30s}
        streams: {cam1: {source: none.mp4}}
        fusion: {window: 60s}
        extractors: {probe: {plugin: scripted}, follower: {depends: [probe]}}
    """)
    daemon = start(path, "follower")
    fake_fusion.accept()
    camera.await_subscribers()
    camera.frames(0, 0)
    wait_for(lambda: counter("extractor-follower", "received") == 1)
    assert daemon.stop() == 0
    skip = about(fake_fusion, camera, 0)
    assert (skip.reason, skip.detail) == ("backpressure", "stopped")


# The tap ----------------------------------------------------------------------------------------


@pytest.fixture
def played(config, start, links, fake_fusion, camera, wait_for):
    """Start the follower; returns how to say something on the tap of the other, which the test plays."""
    tap = links.bind(TAP, "extractor-probe")
    start(config(), "follower")
    fake_fusion.accept()
    camera.await_subscribers()
    subscriptions = {tap.recv() for _ in range(2) if tap.poll(10_000)}
    assert subscriptions == {b"\1obs", b"\1skip"}
    return lambda kind, body: tap.send_multipart([kind.encode(), body])


def event(kind, body):
    return encode(Event(daemon="extractor-probe", kind=kind, mono_ns=1, wall_ns=1, body=body))


@pytest.mark.parametrize("body", [b"garbage", event("obs", {"source": "probe"}), event("obs", None)])
def test_what_is_no_word_is_counted_and_the_daemon_lives(played, fake_fusion, camera, counter, wait_for, body):
    played("obs", body)
    wait_for(lambda: counter("extractor-follower", "refused.tap.malformed") == 1)
    camera.frames(0, 0)
    assert about(fake_fusion, camera, 0).reason == "timeout"


def test_kinds_of_events_that_begin_alike_are_passed_over(played, counter, wait_for):
    played("observer", b"something else")
    played("obs", b"garbage")
    wait_for(lambda: counter("extractor-follower", "refused.tap.malformed") == 1)


def test_an_extractor_tells_its_tap_what_it_tells_fusion(config, start, links, fake_fusion, camera):
    start(config(), "probe")
    fake_fusion.accept()
    camera.await_subscribers()
    tap = links.connect(TAP, "extractor-probe")
    tap.subscribe("obs")
    for n in range(1000):
        camera.frames(n, n)
        sent = about(fake_fusion, camera, n, source="probe")
        if tap.poll(50):
            break
    told = Codec(Event, max_bytes=TAP.max_bytes).decode(tap.recv_multipart()[-1])
    assert (told.kind, told.body["t"], told.body["frame_id"]) == ("obs", "OBS", sent.frame_id)
    assert told.body["observations"][0]["signals"] == sent.observations[0].signals


# What keeps it from starting --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "depends", "cause"),
    [
        ("follower", "", "extractor 'follower' needs the observations of probe: write `depends: [probe]` into"),
        ("other", "plugin: scripted, depends: [probe]", "extractor 'other' takes no observations of others: take"),
    ],
)
def test_depends_that_does_not_fit_the_plug_in_ends_it_with_78(write_config, start, name, depends, cause):
    path = write_config(f"""
        ring: {{dir: ring, length: 30s}}
        streams: {{cam1: {{source: none.mp4}}}}
        extractors: {{probe: {{plugin: scripted}}, {name}: {{{depends}}}}}
    """)
    daemon = start(path, name)
    assert daemon.wait() == 78
    assert cause in daemon.log()

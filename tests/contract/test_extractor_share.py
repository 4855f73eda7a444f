"""The real extractor daemon with frames that it leaves out: drop strategies, instances, and its own state."""

import pytest

from visualpath_protocol.messages import Bound, Obs, Ping, Skip


@pytest.fixture
def camera(fake_stream):
    return fake_stream("cam1")


@pytest.fixture
def run(start_daemon, write_config, scripted_plugins, release, fake_fusion, camera):
    """Start one daemon of the extractor `probe`, accept it, and wait until it listens; returns its registration."""

    def run(share, daemon="probe", **config):
        settings = ", ".join(f"{key}: {list(value)}" for key, value in config.items())
        path = write_config(f"""
            state_dir: state
            ring: {{dir: ring, length: 30s}}
            streams: {{cam1: {{source: none.mp4}}}}
            extractors:
              probe: {{plugin: scripted, {share}, config: {{release: "{release}", {settings}}}}}
        """)
        start_daemon("extractor", path, daemon, PYTHONPATH=scripted_plugins)
        ping = fake_fusion.accept()
        camera.await_subscribers()
        return ping

    return run


def said(fusion):
    """The frames that were observed, and those skipped with their reasons."""
    return sorted(m.frame_id for m in fusion.of(Obs)), [
        (m.first_frame_id, m.last_frame_id, m.reason) for m in fusion.of(Skip)
    ]


# Strategies -------------------------------------------------------------------------------------


def until_picked(fusion, camera):
    """Send frames until work on one begins; returns its number. With `skip_busy` the first may be refused."""
    for n in range(1000):
        camera.frames(n, n)
        fusion.until(lambda f, n=n: f.of(Bound) or f.settled()[n])
        if fusion.of(Bound):
            return n
    raise AssertionError("no frame was taken")


def test_skip_busy_skips_a_frame_that_comes_during_an_inference_when_it_comes(run, fake_fusion, camera, release):
    run("drop: skip_busy", holds_at=range(1000))
    held = until_picked(fake_fusion, camera)
    camera.frames(held + 1, held + 1)
    assert fake_fusion.about(held + 1).reason == "backpressure"
    assert fake_fusion.of(Obs) == []
    release.touch()
    assert type(fake_fusion.about(held)) is Obs


def test_skip_busy_takes_frames_again_after_the_inference(run, fake_fusion, camera):
    run("drop: skip_busy")
    for n in range(50):
        camera.frames(n, n)
        fake_fusion.about(n)
    assert said(fake_fusion)[0]
    assert set(fake_fusion.settled().values()) == {1}


def test_skip_intermediate_keeps_the_oldest_and_the_newest(run, fake_fusion, camera, release):
    run("drop: skip_intermediate", holds_at=[0])
    camera.frames(0, 0)
    fake_fusion.first(Bound)
    camera.frames(1, 5)
    for n in (2, 3, 4):
        assert fake_fusion.about(n).reason == "backpressure"
    release.touch()
    fake_fusion.about(5)
    assert said(fake_fusion)[0] == [0, 1, 5]


def test_skip_intermediate_works_in_order(run, fake_fusion, camera, release):
    run("drop: skip_intermediate", holds_at=[0])
    camera.frames(0, 5)
    release.touch()
    fake_fusion.about(5)
    times = [m.t_ns for m in fake_fusion.messages if isinstance(m, Bound | Obs)]
    assert times == sorted(times)


def test_keyframe_only_says_nothing_about_other_frames(run, fake_fusion, camera):
    run("drop: keyframe_only, every: 3")
    for n in range(8):
        camera.frames(n, n)
        if n % 3 == 0:
            fake_fusion.about(n)
    assert said(fake_fusion) == ([0, 3, 6], [])
    assert {m.t_ns // camera.FRAME_NS for m in fake_fusion.of(Bound)} == {0, 3, 6}


def test_keyframe_only_announces_lost_keyframes_and_no_others(run, fake_fusion, camera):
    run("drop: keyframe_only, every: 3")
    camera.frames(1, 1)
    camera.frames(3, 3)
    fake_fusion.about(3)
    camera.frames(8, 9)
    fake_fusion.about(9)
    assert said(fake_fusion) == ([3, 9], [(6, 6, "gap")])


# Instances --------------------------------------------------------------------------------------


def test_an_instance_registers_under_its_own_name_with_its_share(run):
    ping = run("instances: 3, drop: keyframe_only, every: 2", "probe-1")
    assert (ping.source, ping.stride, ping.phase) == ("probe-1", 6, 2)


def test_an_instance_looks_at_its_share_only(run, fake_fusion, camera):
    run("instances: 2", "probe-1")
    for n in range(6):
        camera.frames(n, n)
        if n % 2:
            fake_fusion.about(n)
    assert said(fake_fusion) == ([1, 3, 5], [])


def test_a_name_of_which_there_are_instances_is_no_daemon(start_daemon, write_config):
    path = write_config("streams: {cam1: {source: a}}\nring: {dir: ring}\nextractors: {probe: {instances: 2}}")
    daemon = start_daemon("extractor", path, "probe")
    assert daemon.wait() == 78
    assert "no 'probe' here; there are probe-0, probe-1" in daemon.log()


# What it says of itself -------------------------------------------------------------------------


def states_until(fusion, state):
    """The states that PINGs say from now on until one says this."""
    count = len(fusion.of(Ping))
    return fusion.until(lambda f: state in (said := [ping.state for ping in f.of(Ping)[count:]]) and said)


def test_a_ping_during_an_inference_says_busy(run, fake_fusion, camera):
    run("drop: skip_oldest", holds_at=[0])
    camera.frames(0, 0)
    fake_fusion.first(Bound)
    assert states_until(fake_fusion, "busy")


def fail(fusion, camera, first, last):
    for n in range(first, last + 1):
        camera.frames(n, n)
        assert fusion.about(n).reason == "error"


def test_two_failures_in_a_row_leave_it_ready(run, fake_fusion, camera):
    run("drop: skip_oldest", fails_at=[0, 1])
    fail(fake_fusion, camera, 0, 1)
    assert "degraded" not in states_until(fake_fusion, "ready")


def test_three_failures_in_a_row_are_said_by_degraded(run, fake_fusion, camera):
    run("drop: skip_oldest", fails_at=[0, 1, 2])
    fail(fake_fusion, camera, 0, 2)
    assert states_until(fake_fusion, "degraded")


def test_a_frame_that_it_can_look_at_ends_degraded(run, fake_fusion, camera):
    run("drop: skip_oldest", fails_at=[0, 1, 2])
    fail(fake_fusion, camera, 0, 2)
    camera.frames(3, 3)
    fake_fusion.about(3)
    assert states_until(fake_fusion, "ready")

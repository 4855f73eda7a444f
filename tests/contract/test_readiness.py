"""When the real daemons tell systemd that they serve, that they live, and that they end."""

import socket
import time

import pytest

from visualpath_protocol.messages import Ping
from visualpath_protocol.sockets import CONTROL, HEADERS, TAP, TRIGGERS

WATCHDOG_USEC = "300000"
"""It is fed every 100 ms."""
MISSED_S = 2.0


class Manager:
    """The receiving end of sd_notify."""

    def __init__(self, path):
        self.environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": WATCHDOG_USEC, "WATCHDOG_PID": ""}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def until(self, wanted, timeout_s=20.0):
        """The first notification that has this line; None if none comes in time."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                lines = self._socket.recv(4096).decode().splitlines()
            except TimeoutError:
                return None
            if wanted in lines:
                return lines
        return None

    def drain(self):
        """Forget what has come; returns its lines."""
        lines = []
        self._socket.setblocking(False)
        while True:
            try:
                lines += self._socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return lines

    def close(self):
        self._socket.close()


@pytest.fixture
def manager(short_dir):
    manager = Manager(short_dir / "notify")
    yield manager
    manager.close()


@pytest.fixture
def start(start_daemon, write_config, scripted_plugins, release, manager):
    def start(role, instance="", plugin="scripted", holds_at=()):
        path = write_config(f"""
            state_dir: state
            ring: {{dir: ring}}
            clip: {{dir: clips}}
            streams: {{cam1: {{source: none.mp4}}}}
            extractors:
              probe:
                plugin: {plugin}
                hang_timeout: 200ms
                config: {{release: "{release}", holds_at: {list(holds_at)}}}
        """)
        return start_daemon(role, path, instance, PYTHONPATH=scripted_plugins, **manager.environ)

    return start


@pytest.mark.parametrize("link", [TRIGGERS, CONTROL, TAP], ids=lambda link: link.name)
def test_a_daemon_is_ready_when_its_sockets_are_there(start, manager, short_dir, link):
    start("clip")
    assert manager.until("READY=1")
    assert (short_dir / "run" / "clip" / link.name).is_socket()


def test_a_frame_daemon_whose_source_is_away_is_ready_and_says_that_it_waits(start, manager, short_dir):
    start("frame", "cam1")
    assert "STATUS=starting, epoch 0, 0 frames" in manager.until("READY=1")
    assert (short_dir / "run" / "frame-cam1" / HEADERS.name).is_socket()


def test_an_extractor_is_not_ready_before_its_model_is_loaded(start, manager, fake_fusion, release):
    start("extractor", "probe", plugin="heavy")
    assert fake_fusion.first(Ping).state == "starting"
    assert "READY=1" not in manager.drain()
    release.touch()
    assert manager.until("READY=1")


def test_an_extractor_without_fusion_is_ready_and_says_that_it_waits(start, manager):
    start("extractor", "probe")
    assert "STATUS=ready (not accepted by fusion), 0 observed, 0 skipped" in manager.until("READY=1")


@pytest.fixture
def at_work(start, manager, fake_fusion, fake_stream):
    """An extractor that hangs in its frame 1."""
    camera = fake_stream("cam1")
    start("extractor", "probe", holds_at=[1])
    fake_fusion.accept()
    camera.await_subscribers()
    return camera


def test_an_extractor_that_works_feeds_the_watchdog(at_work, manager):
    at_work.frames(0, 0)
    manager.drain()
    assert manager.until("WATCHDOG=1")


def test_an_extractor_whose_model_hangs_does_not_feed_the_watchdog(at_work, manager, ask, wait_for):
    at_work.frames(1, 1)
    wait_for(lambda: ask("extractor-probe", "status")["extractor"]["state"] == "hung")
    manager.drain()
    assert manager.until("WATCHDOG=1", MISSED_S) is None


def test_an_extractor_whose_model_comes_back_feeds_it_again(at_work, manager, ask, wait_for, release):
    at_work.frames(1, 1)
    wait_for(lambda: ask("extractor-probe", "status")["extractor"]["state"] == "hung")
    manager.drain()
    release.touch()
    assert manager.until("WATCHDOG=1")


def test_a_daemon_that_is_told_to_stop_says_so(start, manager):
    daemon = start("clip")
    manager.until("READY=1")
    daemon.process.terminate()
    assert manager.until("STOPPING=1")


def test_a_daemon_whose_disk_refuses_rests_before_it_ends_so_that_systemd_never_gives_it_up(start, manager, short_dir):
    (short_dir / "state").write_text("in the way")
    daemon = start("clip")
    assert manager.until("WATCHDOG=1")  # the rest must not be taken for a hang
    assert "cannot use" in daemon.log()
    assert daemon.alive()
    assert daemon.stop() == 74

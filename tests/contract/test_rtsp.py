"""The real frame daemon at a real RTSP server, which is killed, stopped and started again."""

import json
import signal
import socket
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

from visualbase import jpeg
from visualbase.ring import RingReader

SERVER = Path(__file__).with_name("rtsp_server.py")
PYTHON = "/usr/bin/python3"
NEEDS = (
    "gir1.2-gst-rtsp-server-1.0 python3-gi gstreamer1.0-plugins-base gstreamer1.0-plugins-good "
    "gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly"
)
PROBE = """
import gi
gi.require_version("Gst", "1.0"), gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
lacking = [e for e in ("videotestsrc", "x264enc", "jpegenc", "rtph264pay") if Gst.ElementFactory.find(e) is None]
assert not lacking, lacking
"""
BACK_WITHIN_S = 2.0
USER, PASSWORD = "operator7", "s3cr@t/7"
ENCODED = "s3cr%40t%2F7"


@pytest.fixture(scope="module", autouse=True)
def _installed():
    probe = subprocess.run([PYTHON, "-c", PROBE], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"no RTSP server here: apt-get install {NEEDS}; {probe.stderr.strip().splitlines()[-1]}")


class Camera:
    """The server, at the same port each time it is started."""

    def __init__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = None

    def start(self, *login):
        self.process = subprocess.Popen([PYTHON, SERVER, str(self.port), *login], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "ready\n"
        return time.monotonic_ns()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)
        return time.monotonic_ns()

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()
            self.process = None


@pytest.fixture
def camera():
    camera = Camera()
    yield camera
    camera.kill()


@pytest.fixture
def start(start_daemon, write_config, camera):
    def start(path="h264", login="", timeout="1s"):
        config = write_config(f"""
            state_dir: state
            ring: {{dir: ring}}
            trace: {{level: verbose}}
            streams: {{cam1: {{source: "rtsp://{login}127.0.0.1:{camera.port}/{path}", timeout: {timeout}}}}}
        """)
        return start_daemon("frame", config, "cam1")

    return start


@pytest.fixture
def playing(camera, start, watch):
    """The daemon, while frames come."""
    camera.start()
    daemon = start()
    watch.until(lambda w: len(w.ids(1)) >= 10)
    return daemon


def stalled(watch):
    """Wait for the state, and return it."""
    return watch.until(lambda w: w.states and w.states[-1].state == "stalled").states[-1]


def first_frame_of(watch, epoch):
    watch.until(lambda w: w.ids(epoch))
    return next(header for header in watch.headers if header.epoch == epoch)


def resumed_after_s(watch, epoch, back_ns):
    return (first_frame_of(watch, epoch).mono_ns - back_ns) / 1e9


# Play -------------------------------------------------------------------------------------------


def test_times_are_those_of_capture_on_the_monotonic_clock_and_rise(playing, watch):
    watch.until(lambda w: len(w.headers) >= 30)
    times = [header.t_ns for header in watch.headers]
    assert all(before < after for before, after in pairwise(times))
    assert all(header.mono_ns == header.t_ns for header in watch.headers)
    assert time.monotonic_ns() - times[-1] < 1_000_000_000


def test_the_stream_is_live_with_its_size_and_rate(playing, watch):
    state = watch.until(lambda w: w.states[-1].state == "live").states[-1]
    assert (state.width, state.height, state.fps) == (320, 240, 25.0)


@pytest.mark.parametrize("path", ["h264", "mjpeg"])
def test_pictures_can_be_decoded(camera, start, watch, short_dir, path):
    camera.start()
    start(path)
    header = first_frame_of(watch, 1)
    with RingReader(short_dir / "ring", "cam1") as reader:
        pixels = jpeg.decode(reader.read(header.payloads[0]), width_at_least=None, pixel_format="gray")
    assert (pixels.shape, pixels.min() < 40, pixels.max() > 200) == ((240, 320, 1), True, True)  # a white ball on black


# Killed -----------------------------------------------------------------------------------------


def test_a_killed_server_is_a_stalled_stream_with_the_reason(playing, watch, camera):
    camera.kill()
    assert "the stream has ended" in stalled(watch).reason


def test_frames_resume_within_2_s_of_the_server_being_back(playing, watch, camera, counter, wait_for):
    camera.kill()
    wait_for(lambda: counter("frame-cam1", "failed.source") >= 5)  # the back-off is at its longest
    assert resumed_after_s(watch, 2, camera.start()) < BACK_WITHIN_S


def test_reconnecting_begins_a_new_epoch_from_frame_0_whose_time_goes_on(playing, watch, camera):
    camera.kill()
    stalled(watch)
    camera.start()  # its own time stamps begin anew
    watch.until(lambda w: len(w.ids(2)) >= 5)
    assert watch.ids(2) == list(range(len(watch.ids(2))))
    times = [header.t_ns for header in watch.headers]
    assert all(before < after for before, after in pairwise(times))


def test_states_tell_of_the_connection_lost_and_found(playing, watch, camera):
    camera.kill()
    stalled(watch)
    camera.start()
    watch.until(lambda w: w.ids(2) and w.states[-1].state == "live")
    assert watch.state_names()[-4:] == ["live", "stalled", "starting", "live"]


def test_the_trace_tells_of_the_connection_lost_and_found(playing, watch, camera, short_dir, wait_for):
    camera.kill()
    stalled(watch)
    camera.start()
    first_frame_of(watch, 2)
    trace = short_dir / "state" / "trace" / "frame-cam1.jsonl"

    def changes():
        records = [json.loads(line) for line in trace.read_text().splitlines()] if trace.exists() else []
        return [(r["state"], r["epoch"]) for r in records if r["record_type"] == "state_change"]

    wait_for(lambda: ("live", 2) in changes())
    assert ("stalled", 1) in changes()


def test_connects_and_disconnects_are_counted(playing, watch, camera, ask):
    camera.kill()
    stalled(watch)
    camera.start()
    first_frame_of(watch, 2)
    counters = ask("frame-cam1", "status")["counters"]
    assert (counters["source.connects"], counters["source.disconnects.ended"]) == (2, 1)


def test_a_server_that_comes_after_the_daemon_is_taken_within_2_s(start, watch, camera):
    start()
    assert "connection refused" in stalled(watch).reason
    assert resumed_after_s(watch, 1, camera.start()) < BACK_WITHIN_S


def test_a_failure_that_lasts_is_logged_once_and_counted_each_time(start, watch, counter, wait_for):
    daemon = start()
    wait_for(lambda: counter("frame-cam1", "failed.source") >= 4)
    assert daemon.log().count("connection refused") == 1


# Stopped ----------------------------------------------------------------------------------------


def test_a_silent_server_is_a_stalled_stream_after_the_timeout(playing, watch, camera):
    camera.freeze()
    assert "nothing has come for 1 s" in stalled(watch).reason
    assert 0.9e9 < time.monotonic_ns() - watch.headers[-1].mono_ns < 3e9


def test_frames_resume_within_2_s_of_the_server_going_on(playing, watch, camera, counter, wait_for):
    camera.freeze()
    stalled(watch)
    wait_for(lambda: counter("frame-cam1", "failed.source") >= 3)  # opening has failed, too
    assert resumed_after_s(watch, 2, camera.thaw()) < BACK_WITHIN_S


def test_the_daemon_ends_in_order_while_its_source_is_silent(playing, watch, camera):
    camera.freeze()
    stalled(watch)
    assert playing.stop() == 0


# Secrets ----------------------------------------------------------------------------------------


def test_user_and_password_are_told_to_the_server_and_to_nobody_else(camera, start, watch, short_dir, ask):
    camera.start(USER, PASSWORD)
    daemon = start(login=f"{USER}:{ENCODED}@")
    first_frame_of(watch, 1)
    camera.kill()
    stalled(watch)
    watch.until(lambda w: "refused" in w.states[-1].reason)
    camera.start(USER, "another")
    watch.until(lambda w: "401" in w.states[-1].reason)
    told = daemon.log() + json.dumps(ask("frame-cam1", "status")) + str(watch.states)
    daemon.stop()
    told += daemon.log() + (short_dir / "state" / "trace" / "frame-cam1.jsonl").read_text()
    assert [secret for secret in (USER, PASSWORD, ENCODED, "s3cr") if secret in told] == []
    assert f"rtsp://127.0.0.1:{camera.port}/..." in told

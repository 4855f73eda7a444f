"""What several test files need: short run directories, configurations, sockets, waiting with a deadline."""

import functools
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import zmq
from click.testing import CliRunner
from hypothesis import settings

from visualbase import jpeg as jpeg_codec
from visualbase.ring import RingWriter
from visualpath.core.errors import Unreachable
from visualpath.ctl.main import main as vpctl_main
from visualpath.runtime.control import ControlClient
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.endpoints import Endpoints
from visualpath_protocol.messages import Ack, FrameHeader, StreamState, Trig, make_trig_id
from visualpath_protocol.security import FolderClaim
from visualpath_protocol.sockets import HEADERS, TRIGGERS, bind, connect, topic

settings.register_profile("shared machine", deadline=None)  # a slow moment of the machine is no failure of the code
settings.load_profile("shared machine")

STREAM_CODEC = Codec(FrameHeader, StreamState, max_bytes=HEADERS.max_bytes)


class Links:
    """Real sockets of both sides in one run dir, for a test that plays some of the daemons; closed at the end."""

    def __init__(self, run_dir):
        self._endpoints = Endpoints(run_dir)
        self._context = zmq.Context()
        self._claims = {}
        self._sockets = []

    def bind(self, link, daemon):
        if daemon not in self._claims:
            self._claims[daemon] = FolderClaim(self._endpoints.folder(daemon))
        return self._keep(bind(self._context, link, self._endpoints.address(daemon, link.name), self._claims[daemon]))

    def connect(self, link, daemon, **options):
        return self._keep(connect(self._context, link, self._endpoints.address(daemon, link.name), **options))

    def _keep(self, socket):
        self._sockets.append(socket)
        return socket

    def close(self):
        for socket in self._sockets:
            socket.close(linger=0)
        self._context.term()
        for claim in self._claims.values():
            claim.release()


@pytest.fixture
def short_dir():
    """A directory with a short name (ipc paths end at 107 bytes), removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="vp-", dir="/tmp"))
    yield path
    shutil.rmtree(path)


@pytest.fixture
def links(short_dir):
    """Sockets under `short_dir/run`, which is the run_dir that `write_config` writes."""
    links = Links(short_dir / "run")
    yield links
    links.close()


@pytest.fixture
def write_config(short_dir):
    """Write visualpath.yaml into `short_dir`: run_dir and ring are given, the sections are the test's."""

    def write(sections):
        path = short_dir / "visualpath.yaml"
        path.write_text("run_dir: run\n" + textwrap.dedent(sections))
        return path

    return write


@pytest.fixture
def install_plugins(short_dir):
    """Install modules, given as their texts by name, with their entry points; returns the folder for PYTHONPATH."""

    def install(entry_points, **modules):
        folder = short_dir / "plugins"
        info = folder / "xyz-0.dist-info"
        info.mkdir(parents=True)
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(textwrap.dedent(text))
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: xyz\nVersion: 0\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))
        return str(folder)

    return install


@pytest.fixture
def wait_for():
    """Wait until a condition gives something true, and return that; fail at the deadline."""

    def wait(condition, timeout_s=10.0):
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.005)
        return value

    return wait


class DaemonProcess:
    """A real daemon in a process of its own; its log lies in a file that a failing test shows."""

    def __init__(self, role, instance, config, env):
        self._log_path = config.parent / f"{role}-{instance}-{time.monotonic_ns()}.log"
        command = [sys.executable, "-m", f"visualpath.{role}", *filter(None, [instance]), "--config", str(config)]
        if "PYTHONPATH" in env:  # in front of what the tests themselves run with
            env["PYTHONPATH"] = os.pathsep.join(filter(None, [env["PYTHONPATH"], os.environ.get("PYTHONPATH")]))
        with self._log_path.open("wb") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env={**os.environ, **env})

    def log(self):
        return self._log_path.read_text()

    def alive(self):
        return self.process.poll() is None

    def kill(self):
        """As a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self, timeout_s=15.0):
        """Ask it to end, as systemd does; returns its exit code."""
        self.process.terminate()
        return self.process.wait(timeout_s)

    def wait(self, timeout_s=15.0):
        """Its exit code, once it has ended by itself."""
        return self.process.wait(timeout_s)


@pytest.fixture
def start_daemon(short_dir):
    """Start `python -m visualpath.ROLE [INSTANCE] --config CONFIG`; ended with the test."""
    started = []

    def start(role, config, instance="", **env):
        started.append(DaemonProcess(role, instance, config, env))
        return started[-1]

    yield start
    for daemon in started:
        daemon.kill()
        print(daemon.log())


@pytest.fixture
def ask(short_dir):
    """One command to a daemon under `short_dir/run`: its result, as vpctl gets it."""
    client = ControlClient(Endpoints(short_dir / "run"))
    yield client.ask
    client.close()


@pytest.fixture
def counter(ask):
    """One counter of a daemon, 0 while it does not answer."""

    def read(daemon, name):
        try:
            return ask(daemon, "status", timeout_ms=500)["counters"].get(name, 0)
        except Unreachable:
            return 0

    return read


@pytest.fixture
def fake_stream(short_dir, links):
    """Play the frame daemon of a stream: a real ring in `short_dir/ring` and a real headers socket."""
    made = []

    def make(name="cam1", epoch=1):
        made.append(FakeStream(links, short_dir / "ring", name, epoch))
        return made[-1]

    yield make
    for stream in made:
        stream.close()


class FakeStream:
    """What a frame daemon shows of itself. Frame n is at n * 40 ms."""

    FRAME_NS = 40_000_000

    def __init__(self, links, ring_dir, name, epoch):
        self.name = name
        self.epoch = epoch
        self._ring_dir = ring_dir
        self._socket = links.bind(HEADERS, f"frame-{name}")
        self._ring = None
        self.begin(epoch)

    def begin(self, epoch):
        """Begin a new epoch."""
        self.close()
        self.epoch = epoch
        self._ring = RingWriter(
            self._ring_dir, self.name, epoch, max_seconds=60, max_bytes=64 << 20, segment_seconds=0.2
        )

    def await_subscribers(self, count=1, kind="h"):
        """Wait until `count` subscriptions to the headers (or states) have come."""
        seen = 0
        while seen < count:
            assert self._socket.poll(10_000), f"{seen} of {count} subscribers came"
            seen += self._socket.recv() == b"\1" + topic(self.name, kind)

    def write(self, frame_id, jpeg=None):
        """A frame in the ring that nobody has heard of."""
        header = FrameHeader(
            stream=self.name, epoch=self.epoch, frame_id=frame_id, t_ns=frame_id * self.FRAME_NS,
            wall_ns=time.time_ns(), mono_ns=time.monotonic_ns(), width=PICTURE_WIDTH, height=PICTURE_HEIGHT,
            payloads=[],
        )  # fmt: skip
        return self._ring.append(header, noise(frame_id) if jpeg is None else jpeg)

    def announce(self, header):
        self.send("h", encode(header))

    def frames(self, first, last):
        """Write and announce the frames from `first` to `last`."""
        headers = [self.write(n) for n in range(first, last + 1)]
        for header in headers:
            self.announce(header)
        return headers

    def state(self, state, **fields):
        self.send("s", encode(StreamState(stream=self.name, epoch=self.epoch, state=state, **fields)))

    def send(self, kind, body):
        self._socket.send_multipart([topic(self.name, kind), body], zmq.NOBLOCK)

    def segment(self, header):
        """The file that holds the picture."""
        return self._ring_dir / self.name / header.payloads[0].segment

    def close(self):
        if self._ring is not None:
            self._ring.close()


PICTURE_WIDTH, PICTURE_HEIGHT = 64, 48


@functools.cache
def noise(seed):
    """A JPEG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 255, (PICTURE_HEIGHT, PICTURE_WIDTH, 3), dtype=np.uint8)
    return jpeg_codec.encode(pixels)


@pytest.fixture
def vpctl(config):
    """Run vpctl with the configuration that the test module's fixture `config` gives."""

    def run(*args, path=config):
        result = CliRunner().invoke(vpctl_main, ["--config", str(path), *args])
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return run


@dataclass
class Watch:
    """A subscriber to headers and states, and a second one to states alone, as clip daemon and fusion are."""

    links: object
    headers: list = field(default_factory=list)
    states: list = field(default_factory=list)

    def __post_init__(self):
        self._socket = self.links.connect(HEADERS, "frame-cam1")
        for kind in "hs":
            self._socket.subscribe(topic("cam1", kind))
        self.second = self.links.connect(HEADERS, "frame-cam1")

    def both(self):
        """Let the second one subscribe, so that the stream has all it waits for."""
        self.second.subscribe(topic("cam1", "s"))

    def until(self, condition):
        """Take messages until the condition on this object holds."""
        deadline = time.monotonic() + 15
        while not condition(self):
            assert time.monotonic() < deadline, f"not in time: {len(self.headers)} headers, {self.states[-3:]}"
            while self.second.poll(0):  # it subscribes anew, after a restart, only while somebody looks at it
                self.second.recv_multipart()
            if self._socket.poll(100):
                message = STREAM_CODEC.decode(self._socket.recv_multipart()[-1])
                (self.headers if isinstance(message, FrameHeader) else self.states).append(message)
        return self

    def ended(self):
        return self.until(lambda _: self.states and self.states[-1].state == "ended")

    def ids(self, epoch=1):
        return [header.frame_id for header in self.headers if header.epoch == epoch]

    def state_names(self):
        """The states in the order they came, repetitions left out."""
        names = [state.state for state in self.states]
        return [name for n, name in enumerate(names) if n == 0 or names[n - 1] != name]


@pytest.fixture
def watch(links):
    return Watch(links)


@pytest.fixture
def trigger(links):
    """Play fusion to the clip daemon: send the TRIG of a moment of cam1, wait until it is accepted; returns it."""
    socket = links.connect(TRIGGERS, "clip", identity="fusion")
    codec = Codec(Ack, max_bytes=TRIGGERS.max_bytes)

    def send(label, epoch, t_start_ns, t_end_ns):
        trig = Trig(
            trig_id=make_trig_id("cam1", epoch, label, t_start_ns), stream="cam1", epoch=epoch, label=label,
            reason="", score=0.5, frame_id=0, t_start_ns=t_start_ns, t_end_ns=t_end_ns,
        )  # fmt: skip
        assert socket.poll(10_000, flags=zmq.POLLOUT), "the clip daemon is not there"
        socket.send(encode(trig))
        assert socket.poll(10_000), "no ACK"
        ack = codec.decode(socket.recv())
        assert (ack.trig_id, ack.result) == (trig.trig_id, "accepted")
        return trig

    return send

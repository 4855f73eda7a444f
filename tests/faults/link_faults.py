"""Faults of what is at the other end: slow, hung and flooding extractors, a source that stalls, clients without end."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import simplejpeg
import yaml
import zmq
from chain import FRAME, STREAM, FaultError, Status
from scenario import Scenario, Trial

from visualpath_protocol.clock import mono_ns
from visualpath_protocol.codec import encode
from visualpath_protocol.messages import Obs, Ping
from visualpath_protocol.sockets import CONTROL, HEADERS, OBSERVATIONS, TAP, TRIGGERS, Link, connect

NOTICED_S = 30.0
SLOW_SKIPS = 30
FLOOD_S = 3.0
BATCH = 50
"""Clients at a time."""
RECONNECTS = 10_000
"""On each link."""
GROWTH_BYTES = 8 << 20
GROWTH_COUNTERS = 30
"""A source that is new, or kinds of refusals, have some; thousands of clients may not have thousands."""
PICTURE_S = 1 / 30


def slow(trial: Trial) -> str:
    """Eight times slower than the stream, for a while."""
    before = trial.counter("extractor-a", "skipped.backpressure")
    trial.mood("a", "firing", "slow")
    trial.chain.wait(
        lambda: trial.counter("extractor-a", "skipped.backpressure") >= before + SLOW_SKIPS, "it skips", NOTICED_S
    )
    trial.flows()
    trial.mood("a", "firing")
    return "skips frames, and says which; the others go on"


def hung(trial: Trial) -> str:
    """An inference that never ends: fusion no longer waits for it; a kill (systemd's watchdog does it) mends it."""
    trial.mood("a", "hung")

    def seen() -> bool:
        status = trial.status("fusion")["sources"].get("a", {})
        return trial.status("extractor-a")["extractor"]["state"] == "hung" and status["state"] == "down"

    trial.chain.wait(seen, "it is taken for hung", NOTICED_S)
    trial.mood("a", "firing")
    trial.struck()
    trial.comes_back("extractor-a", trial.chain.kill("extractor-a"))
    return "hung, and down for fusion, after hang_timeout; the others go on"


def flood(trial: Trial) -> str:
    """A source that nobody named sends as fast as it can."""
    context = zmq.Context()
    trial.mend.callback(context.term)
    socket = connect(context, OBSERVATIONS, trial.chain.config.endpoints().address("fusion", OBSERVATIONS.name))
    trial.mend.callback(socket.close, linger=0)
    before = trial.status("fusion")
    ping = Ping(source="flood", instance="f", streams=[STREAM], expected=False, state="ready")
    socket.send(encode(ping))
    sent, deadline = 0, time.monotonic() + FLOOD_S
    while time.monotonic() < deadline:
        if socket.poll(100, zmq.POLLOUT):
            socket.send(_flood_obs(sent, before["streams"][STREAM]["epoch"]))
            sent += 1
    trial.struck()
    counters = trial.status("fusion")["counters"]
    trial.chain.wait(lambda: trial.counter("fusion", "obs.flood") == sent, "all of it is counted", NOTICED_S)
    after = trial.status("fusion")
    if not counters.get("dropped.rate") or after["pid"] != before["pid"]:
        raise FaultError(f"of {sent} OBS {counters.get('dropped.rate', 0)} were dropped for their rate")
    _check_growth(before, after)
    trial.flows()
    return f"{sent / FLOOD_S:.0f} OBS/s, all counted; beyond max_rate dropped"


def _flood_obs(seq: int, epoch: int) -> bytes:
    now = mono_ns()
    return encode(
        Obs(
            source="flood", instance="f", seq=seq, stream=STREAM, epoch=epoch, frame_id=seq, t_ns=now, mono_ns=now,
            observations=[], bound_ns=now,
        )
    )  # fmt: skip


class Camera:
    """Motion JPEG over HTTP that can be held up: connections stay, and nothing comes."""

    def __init__(self) -> None:
        self.flowing = threading.Event()
        self.flowing.set()
        picture = np.full((240, 320, 3), 90, np.uint8)
        jpeg = simplejpeg.encode_jpeg(picture, quality=80, colorspace="BGR")
        part = b"--next\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg) + jpeg + b"\r\n"
        flowing = self.flowing

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
                self.end_headers()
                while flowing.wait():
                    try:
                        self.wfile.write(part)
                    except OSError:
                        return
                    time.sleep(PICTURE_S)  # the pace of a camera

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        """Hang up on everybody."""
        self._server.shutdown()
        self._server.server_close()


_cameras: list[Camera] = []


def with_camera(trial: Trial) -> None:
    """Let the stream come from a camera of ours."""
    camera = Camera()
    trial.mend.callback(camera.close)
    _cameras.append(camera)
    path = trial.chain.config_path
    config = yaml.safe_load(path.read_text())
    config["streams"][STREAM] = {"source": camera.address, "timeout": "2s"}
    path.write_text(yaml.safe_dump(config))


def stalled(trial: Trial) -> str:
    """The camera holds its connections and sends nothing, until it is stalled; then it goes on."""
    camera = _cameras.pop()
    camera.flowing.clear()
    trial.chain.wait(lambda: trial.counter(FRAME, "source.disconnects.stalled"), "the source is stalled", NOTICED_S)
    trial.chain.wait(lambda: trial.status("fusion")["streams"][STREAM]["state"] == "stalled", "all know", NOTICED_S)
    trial.struck()
    camera.flowing.set()
    trial.flows()
    return "stalled after timeout; opened anew, a new epoch"


def reconnects(times: int) -> Callable[[Trial], str]:
    """Clients that come and go, on every link of the chain."""

    def play(trial: Trial) -> str:
        links = ((FRAME, HEADERS), ("fusion", OBSERVATIONS), ("fusion", TAP), ("clip", TRIGGERS), ("clip", CONTROL))
        for daemon, link in links:
            come_and_go(trial, daemon, link, BATCH)  # the buffers of the first ones are no growth
        before = {name: (trial.status(name), _descriptors(trial, name)) for name in (FRAME, "fusion", "clip")}
        for daemon, link in links:
            come_and_go(trial, daemon, link, times)
        for name, (status, descriptors) in before.items():
            trial.chain.wait(
                lambda name=name, descriptors=descriptors: _descriptors(trial, name) <= descriptors + 2,
                f"{name} has its {descriptors} file descriptors again",
                NOTICED_S,
            )
            _check_growth(status, trial.status(name))
        trial.struck()
        trial.flows()
        return f"{times:,} on each of {len(links)} links: no descriptor, no counter more, < 8 MiB"

    return play


def come_and_go(trial: Trial, daemon: str, link: Link, times: int) -> None:
    """`times` clients, as strangers write them, connect to a link, say something, and are gone."""
    address = trial.chain.config.endpoints().address(daemon, link.name)
    for first in range(0, times, BATCH):
        with zmq.Context() as context:
            sockets = [context.socket(link.connect_type) for _ in range(BATCH)]
            monitors = [socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED) for socket in sockets]
            for socket in sockets:
                socket.connect(address)
            for number, (socket, monitor) in enumerate(zip(sockets, monitors, strict=True), first):
                if not monitor.poll(int(NOTICED_S * 1000)):
                    raise FaultError(f"{daemon} takes no client on {link.name}")
                _say(socket, link, number)
            for socket, monitor in zip(sockets, monitors, strict=True):
                socket.disable_monitor()
                monitor.close(linger=0)
                socket.close(linger=0)


def _say(socket: zmq.Socket[bytes], link: Link, number: int) -> None:
    if link.connect_type == zmq.SUB:
        socket.subscribe(b"client%d" % number)
    elif link is OBSERVATIONS:
        socket.send(encode(Ping(source=f"c{number}", instance="i", streams=[STREAM], expected=False, state="starting")))
    else:
        socket.send(b"hello")


def _descriptors(trial: Trial, daemon: str) -> int:
    return len(os.listdir(f"/proc/{trial.chain.pid(daemon)}/fd"))


def _check_growth(before: Status, after: Status) -> None:
    """No process of its own, no memory and no counters in number more than before."""
    name = before["daemon"]
    if after["pid"] != before["pid"]:
        raise FaultError(f"{name} was started again")
    if after["rss_bytes"] - before["rss_bytes"] > GROWTH_BYTES:
        raise FaultError(f"{name} has grown from {before['rss_bytes'] >> 20} to {after['rss_bytes'] >> 20} MiB")
    if len(after["counters"]) - len(before["counters"]) > GROWTH_COUNTERS:
        raise FaultError(f"{name} counts {set(after['counters']) - set(before['counters'])}")


SCENARIOS = (
    Scenario("slow-extractor", "an extractor 8 times too slow", slow),
    Scenario("hung-extractor", "an extractor that hangs", hung),
    Scenario("flooding-extractor", "a source that floods fusion", flood),
    Scenario("stalled-source", "a camera that sends nothing", stalled, prepare=with_camera),
    Scenario("reconnects", "clients that come and go", reconnects(RECONNECTS)),
)

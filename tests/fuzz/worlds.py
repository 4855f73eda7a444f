"""One real daemon, and the fuzzer as everybody that it talks to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zmq

from visualpath.core.errors import Unreachable
from visualpath.runtime.control import ControlClient
from visualpath_protocol.endpoints import CLIP, FUSION, Endpoints
from visualpath_protocol.sockets import LINKS, ROOM_BYTES, TRIGGERS

CONFIG = """\
run_dir: run
state_dir: state
ring: {dir: ring, length: 10s, size: 4MiB}
streams:
  cam1: {source: "synthetic://?width=128&height=112&fps=30"}
  cam2: {source: none.mp4}
extractors:
  face: {plugin: scripted, config: {mean_ms: 5}}
  text: {plugin: follower, depends: [face]}
fusion:
  rules: [{label: smile, when: face.count >= 1, for: 100ms, cooldown: 200ms, score: face.sure}]
clip: {pre: 1s, post: 1s, stall_timeout: 1s, format: mjpeg, min_free: 0KiB}
record: {size: 8MiB}
"""
FOLLOWER = """
from visualpath.core import BaseExtractor, Observation
class Follower(BaseExtractor):
    name, depends = "follower", ["face"]
    def extract(self, frame, seen=None):
        return [Observation(source="follower", frame_id=frame.frame_id, t_ns=frame.t_ns, signals={"count": 1.0})]
"""
DAEMONS = {
    "frame-cam1": ("frame", "cam1"),
    "extractor-text": ("extractor", "text"),
    "fusion": ("fusion",),
    "clip": ("clip",),
}
START_S, ANSWER_S = 30.0, 20.0
ASK_MS = 500
ASKS_MS = 6000
"""Longer than a daemon waits until it asks again."""


@dataclass(frozen=True)
class Vitals:
    """What must not grow without end."""

    rss_bytes: int
    fds: int
    counters: int
    log_bytes: int


class Died(Exception):
    """The daemon ended, or does not answer any more; the message has the end of its log."""


class World:
    """One daemon of CONFIG in a folder of its own. It runs until `close`; `restart` after it died.

    Args:
        daemon: one of DAEMONS.
    """

    def __init__(self, daemon: str) -> None:
        self.daemon = daemon
        shared = Path("/dev/shm")
        self.folder = Path(tempfile.mkdtemp(prefix="vp-z-", dir=shared if os.access(shared, os.W_OK) else None))
        (self.folder / "visualpath.yaml").write_text(CONFIG)
        self._install_follower()
        self._endpoints = Endpoints(self.folder / "run")
        self._client = ControlClient(self._endpoints)
        self._context = zmq.Context()
        self._sockets: dict[tuple[str, str, int], zmq.Socket[bytes]] = {}
        self._asked: dict[zmq.Socket[bytes], bytes] = {}
        self._process: subprocess.Popen[bytes] | None = None
        if daemon.startswith("extractor"):
            self.peer("obs", FUSION)  # it asks for nothing before fusion is there
        self.restart()

    def restart(self) -> None:
        """Start it (again), and wait until it answers."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._asked.clear()
        env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(self.folder), os.environ.get("PYTHONPATH", "")])}
        role, *name = DAEMONS[self.daemon]
        command = [sys.executable, "-m", f"visualpath.{role}", *name, "--config", str(self.folder / "visualpath.yaml")]
        with self._log_path.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
        self.status(START_S)

    def peer(self, link: str, other: str = "") -> zmq.Socket[bytes]:
        """A socket at a link of the daemon; or, in the place of an `other` daemon, at the link that it asks for."""
        (kind,) = (each for each in LINKS if each.name == link)
        if not other:
            connects = zmq.XSUB if kind.bind_type == zmq.XPUB else kind.connect_type
            return self._socket(self.daemon, link, connects)
        return self._socket(other, link, kind.bind_type)

    def addressee(self, router: zmq.Socket[bytes]) -> list[bytes]:
        """By what identity a ROUTER of ours knows the daemon; none while it has asked for nothing yet.

        Fusion has nothing to ask where no trigger was decided, but it has told its name to whom it is connected to.
        """
        if router not in self._asked and router is self._sockets.get((CLIP, TRIGGERS.name, zmq.ROUTER)):
            if self._is_connected(router, FUSION.encode()):
                self._asked[router] = FUSION.encode()
        elif router not in self._asked and router.poll(ASKS_MS):
            self._asked[router] = router.recv_multipart()[0]
        return [self._asked[router]] if router in self._asked else []

    def _is_connected(self, router: zmq.Socket[bytes], identity: bytes) -> bool:
        """Whether one of this identity comes in time: it is told an empty message."""
        deadline = time.monotonic() + ASKS_MS / 1000
        while time.monotonic() < deadline:
            try:
                router.send_multipart([identity, b""], zmq.NOBLOCK)
            except zmq.ZMQError:  # nobody of this identity yet
                router.poll(10)
            else:
                return True
        return False

    def _socket(self, daemon: str, link: str, kind: int) -> zmq.Socket[bytes]:
        found = self._sockets.get((daemon, link, kind))
        if found is not None:
            return found
        socket = self._sockets[daemon, link, kind] = self._context.socket(kind)
        socket.linger, socket.maxmsgsize = 0, 2 * ROOM_BYTES
        if kind == zmq.ROUTER:
            socket.router_mandatory = True  # else what is for nobody is taken, and counts as an execution
        address = self._endpoints.address(daemon, link)
        if daemon == self.daemon:
            socket.connect(address)
        else:
            Path(address.removeprefix("ipc://")).parent.mkdir(parents=True, exist_ok=True)
            socket.bind(address)
        return socket

    def status(self, patience_s: float = ANSWER_S) -> dict[str, Any]:
        """Its answer to `status`, after all that was sent before on other links was at least begun with.

        Raises:
            Died: there is none.
        """
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                code = None if self._process is None else self._process.returncode
                raise Died(f"{self.daemon} ended with {code}\n{self.log()[-3000:]}")
            try:
                answer: dict[str, Any] = self._client.ask(self.daemon, "status", timeout_ms=ASK_MS)
            except Unreachable:
                continue
            return answer
        raise Died(f"{self.daemon} does not answer within {patience_s:g} s\n{self.log()[-3000:]}")

    def vitals(self) -> Vitals:
        """What it takes up; the answers that wait for nobody are taken away first."""
        for socket in self._sockets.values():
            while socket.poll(0, zmq.POLLIN):
                socket.recv_multipart()
        status = self.status()
        fds = len(os.listdir(f"/proc/{status['pid']}/fd"))
        return Vitals(status["rss_bytes"], fds, len(status["counters"]), self._log_path.stat().st_size)

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    @property
    def _log_path(self) -> Path:
        return self.folder / "log"

    def _install_follower(self) -> None:
        info = self.folder / "follower-0.dist-info"
        info.mkdir()
        (self.folder / "follower_plugin.py").write_text(FOLLOWER)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: follower\nVersion: 0\n")
        (info / "entry_points.txt").write_text("[visualpath.extractors]\nfollower = follower_plugin:Follower\n")

    def close(self) -> None:
        """End it and remove everything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        for socket in self._sockets.values():
            socket.close()
        self._client.close()
        self._context.term()
        shutil.rmtree(self.folder, ignore_errors=True)

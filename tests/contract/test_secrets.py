"""A secret that is planted wherever one can be is in nothing that a run of the whole chain leaves behind or says."""

import http.server
import json
import sys
import threading
from pathlib import Path

import pytest
import zmq

from visualpath.runtime.main import EXIT_CONFIG
from visualpath_protocol.sockets import TAP

SECRET = "xyzzy-Gandalf-42"
PLUGINS = """
from visualpath.core import BaseExtractor, BaseFusion, FusionResult, Observation
class Teller(BaseExtractor):
    name = "teller"
    def __init__(self, config):
        self.token = config["token"]
    def extract(self, frame):
        if frame.frame_id % 2:
            raise RuntimeError(f"401 for https://models/?token={self.token}")
        return [Observation(source="teller", frame_id=frame.frame_id, t_ns=frame.t_ns, signals={"count": 1.0})]
class Broken(Teller):
    name = "broken"
    def __init__(self, config):
        raise ValueError(f"no service takes {config['token']}")
class Loose(BaseFusion):
    def __init__(self, config):
        self.token = config["token"]
    def update(self, frame):
        raise RuntimeError(f"cannot tell {self.token}")
"""
ENTRY_POINTS = """
[visualpath.extractors]
teller = tellers:Teller
broken = tellers:Broken
[visualpath.fusions]
loose = tellers:Loose
"""
CONFIG = """
state_dir: state
ring: {{dir: ring}}
streams:
  cam1: {{source: "synthetic://?width=128&height=112&fps=30"}}
  cam2: {{source: "http://admin:${{PLANTED}}@127.0.0.1:{port}/video?key=${{PLANTED}}"}}
  cam3: {{source: "http://admin:xyzzy-Gandalf-42@127.0.0.1:{port}/${{PLANTED}}"}}
extractors:
  teller: {{venv: {venv}, config: {{token: "${{PLANTED}}"}}}}
  broken: {{venv: {venv}, expected: false, config: {{token: "${{PLANTED}}"}}}}
fusion: {{plugin: loose, config: {{token: "${{PLANTED}}"}}}}
trace: {{level: verbose}}
log: {{level: debug}}
"""
COMMANDS = (
    "validate", "status", "--json status", "streams", "--json streams", "extractors", "--json extractors", "metrics",
    "doctor", "--json doctor", "health", "--json health", "clips", "record", "trace summary", "--json trace summary",
    "explain --stream cam1 --at -1s", "replay", "trigger cam1", "plugins list", "logs",
)  # fmt: skip


class Camera(http.server.BaseHTTPRequestHandler):
    """Lets nobody in."""

    def do_GET(self):
        self.send_error(401)

    def log_message(self, *_):
        pass


@pytest.fixture
def camera_port():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def chain(write_config, install_plugins, start_daemon, camera_port, counter, wait_for, links, short_dir):
    """All daemons, until each has met what it could give away; returns their configuration and plug-ins."""
    path = write_config(CONFIG.format(port=camera_port, venv=Path(sys.executable).parents[1]))
    env = {"PYTHONPATH": install_plugins(ENTRY_POINTS, tellers=PLUGINS), "PLANTED": SECRET}
    taps = [links.connect(TAP, name) for name in ("frame-cam1", "frame-cam2", "extractor-teller", "fusion", "clip")]
    for tap in taps:
        tap.subscribe(b"")
    daemons = [start_daemon("fusion", path, **env), start_daemon("clip", path, **env)]
    daemons += [start_daemon("extractor", path, "teller", **env)]
    assert start_daemon("extractor", path, "broken", **env).wait(60) == EXIT_CONFIG
    daemons += [start_daemon("frame", path, stream, **env) for stream in ("cam1", "cam2", "cam3")]
    wait_for(lambda: counter("extractor-teller", "failed.error") > 5, 60)
    wait_for(lambda: counter("fusion", "failed.fusion") > 5, 60)
    for stream in ("cam2", "cam3"):
        wait_for(lambda name=f"frame-{stream}": counter(name, "failed.source"), 60)
    (short_dir / "tapped").write_bytes(b"\n".join(part for tap in taps for part in _waiting(tap)))
    return path, daemons, env


def _waiting(socket):
    while socket.poll(0, zmq.POLLIN):
        yield from socket.recv_multipart()


@pytest.fixture
def config(chain):
    """For `vpctl`."""
    return chain[0]


def test_a_planted_secret_is_in_nothing_that_a_run_leaves_behind_or_says(chain, short_dir, ask, vpctl, monkeypatch):
    path, daemons, env = chain
    monkeypatch.setenv("PLANTED", SECRET)
    monkeypatch.syspath_prepend(env["PYTHONPATH"])
    said = {words: vpctl(*words.split()).output.encode() for words in COMMANDS}
    assert [words for words, text in said.items() if not text] == []
    for name in ("frame-cam1", "frame-cam2", "frame-cam3", "extractor-teller", "fusion", "clip"):
        said[f"metrics of {name}"] = json.dumps(ask(name, "metrics")).encode()
    for daemon in daemons:
        said[f"command line {daemon.process.pid}"] = Path(f"/proc/{daemon.process.pid}/cmdline").read_bytes()
        assert daemon.stop() == 0
    files = [each for each in short_dir.rglob("*") if each.is_file() and each != path]
    said |= {str(each.relative_to(short_dir)): each.read_bytes() for each in files}
    assert any(name.endswith(".vprec") for name in said), "the chain left no record"
    assert any(name.endswith(".jsonl") for name in said), "the chain left no trace"
    assert b"401 for https://models/?token=${PLANTED}" in b"".join(said.values())
    assert [name for name, text in said.items() if SECRET.encode() in text] == []

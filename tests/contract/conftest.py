"""What several contract tests need: fusion as an extractor daemon sees it, and extractors that obey a test."""

import contextlib
import socket
import time
from collections import Counter

import msgspec
import pytest

from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.messages import (
    Bound,
    Bye,
    Command,
    ErrorBody,
    Obs,
    Ping,
    Reply,
    Skip,
)
from visualpath_protocol.sockets import CONTROL, OBSERVATIONS

OBS_CODEC = Codec(Obs, Skip, Bound, Ping, Bye, max_bytes=OBSERVATIONS.max_bytes)
COMMAND_CODEC = Codec(Command, max_bytes=CONTROL.max_bytes)


PLUGIN = """
    import time
    from pathlib import Path

    import numpy as np

    from visualpath.core.extractor import BaseExtractor
    from visualpath.core.observation import Observation
    from visualpath.extractor.reporter import Reporter


    class Scripted(BaseExtractor):
        version = "9.8.7"

        def extract(self, frame):
            if frame.frame_id in self.config.get("fails_at", []):
                raise RuntimeError(f"cannot look at {frame.frame_id}")
            if frame.frame_id in self.config.get("fails_unspeakably_at", []):
                raise RuntimeError("\\udcff")
            if frame.frame_id in self.config.get("answers_wrongly_at", []):
                return 42
            if frame.frame_id in self.config.get("breaks_the_daemon_at", []):
                Reporter.send_ping = None
            if frame.frame_id in self.config.get("holds_at", []):
                while not Path(self.config["release"]).exists():
                    time.sleep(0.005)
            if frame.frame_id in self.config.get("many_names_at", []):
                return Observation(signals={f"s{number}": 1.0 for number in range(300)})
            box = np.array([1, 2, 3, 4], np.float32)
            return Observation(signals={"id": np.float64(frame.frame_id)}, data={"box": box}, metadata={"m": "x"})


    class Follower(BaseExtractor):
        depends = ("probe",)

        def extract(self, frame, seen=None):
            [one] = seen["probe"]
            return Observation(signals={"id": one.signals["id"]}, data={"box": one.data["box"] * 2})


    class Heavy(BaseExtractor):
        version = Path("2.0")

        @classmethod
        def load_models(cls, config):
            while not Path(config["release"]).exists():
                time.sleep(0.005)

        def extract(self, frame):
            return None


    class Fussy(BaseExtractor):
        def __init__(self, config=None):
            raise ValueError("threshold must be below 1")

        def extract(self, frame):
            return None
"""

ENTRY_POINTS = """
    [visualpath.extractors]
    scripted = scripted_plugin:Scripted
    follower = scripted_plugin:Follower
    heavy = scripted_plugin:Heavy
    fussy = scripted_plugin:Fussy
    broken = broken_plugin:Broken
    stranger = pathlib:Path
"""


@pytest.fixture
def scripted_plugins(install_plugins):
    """A folder for PYTHONPATH that has the plug-ins installed."""
    return install_plugins(ENTRY_POINTS, scripted_plugin=PLUGIN, broken_plugin="import no_such_library\n")


@pytest.fixture
def release(short_dir):
    """The file whose coming lets a held inference go on."""
    return short_dir / "release"


class Fusion:
    """What an extractor daemon sees of fusion."""

    def __init__(self, links):
        self._obs = links.bind(OBSERVATIONS, "fusion")
        self._control = links.bind(CONTROL, "fusion")
        self.messages = []

    def receive_register(self):
        """The next REGISTER: who asks, the id, and the registration."""
        assert self._control.poll(10_000), "no REGISTER"
        identity, body = self._control.recv_multipart()
        command = COMMAND_CODEC.decode(body)
        assert command.name == "register"
        return identity, command.id, msgspec.convert(command.args, Ping)

    def accept(self, source=None):
        """Answer REGISTERs until one is from `source` (None: any); returns that registration."""
        while True:
            identity, command_id, ping = self.receive_register()
            self._control.send_multipart([identity, encode(Reply(id=command_id, ok=True, result={}))])
            if source in (None, ping.source):
                return ping

    def refuse(self, why):
        identity, command_id, _ = self.receive_register()
        reply = Reply(id=command_id, ok=False, error=ErrorBody(code="name-taken", message=why))
        self._control.send_multipart([identity, encode(reply)])

    def until(self, condition):
        """Take messages until the condition on this object holds; returns what it gave."""
        deadline = time.monotonic() + 15
        while not (value := condition(self)):
            assert time.monotonic() < deadline, f"not in time: {[str(m) for m in self.messages[-8:]]}"
            if self._obs.poll(100):
                self.messages.append(OBS_CODEC.decode(self._obs.recv()))
        return value

    def of(self, kind):
        return [message for message in self.messages if type(message) is kind]

    def first(self, kind):
        return self.until(lambda f: f.of(kind))[0]

    def about(self, frame_id):
        """The OBS or SKIP of a frame, once it is there."""

        def found(fusion):
            hits = [m for m in fusion.of(Obs) if m.frame_id == frame_id]
            return hits + [m for m in fusion.of(Skip) if m.first_frame_id <= frame_id <= m.last_frame_id]

        return self.until(found)[0]

    def settled(self):
        """How often each frame was reported or skipped."""
        times = Counter(message.frame_id for message in self.of(Obs))
        for skip in self.of(Skip):
            times.update(range(skip.first_frame_id, skip.last_frame_id + 1))
        return times


@pytest.fixture
def fake_fusion(links):
    """Play fusion to extractor daemons."""
    return Fusion(links)


@pytest.fixture
def free_ports():
    """Three ports of loopback that nobody has."""
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(socket.socket()) for _ in range(3)]
        for holder in holders:
            holder.bind(("127.0.0.1", 0))
        return [holder.getsockname()[1] for holder in holders]


@pytest.fixture(autouse=True)
def no_installed_configuration(monkeypatch, tmp_path):
    """This machine may have visualpath installed; the tests are about what they set up themselves."""
    monkeypatch.setattr("visualpath.ctl.console.INSTALLED_CONFIG", tmp_path / "none" / "visualpath.yaml")

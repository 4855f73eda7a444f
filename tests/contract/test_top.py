"""`vpctl top` beside a real fusion daemon; the test plays two extractors, a third never comes."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

from visualpath_protocol.codec import encode
from visualpath_protocol.messages import Obs, ObservationBody, Ping, Skip
from visualpath_protocol.sockets import OBSERVATIONS

CONFIG = """
    state_dir: state
    streams:
      cam1: {source: none.mp4}
    extractors:
      face: {}
      pose: {}
      text: {}
    fusion:
      window: 150ms
      rules: [{label: smile, when: face.count >= 1}]
"""
MS = 1_000_000
FRAME_S = 0.03


class Players:
    """`face` reports every frame, ten with a face and ten without; `text` the even ones, and leaves the others out."""

    def __init__(self, link):
        self._link = link
        self._frame_id = self._seq = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def _play(self):
        while not self._stop.wait(FRAME_S):
            self._frame(self._frame_id)
            self._frame_id += 1
        self._link.close(linger=0)

    def _frame(self, frame_id):
        t_ns = frame_id * round(FRAME_S * 1000) * MS
        for source in ("face", "text"):
            who = {"source": source, "instance": "i1", "stream": "cam1", "epoch": 0, "seq": self._seq}
            if frame_id % 10 == 0:
                self._send(Ping(source=source, instance="i1", streams=["cam1"], state="ready"))
            if source == "text" and frame_id % 2:
                run = {"first_frame_id": frame_id, "last_frame_id": frame_id, "first_t_ns": t_ns, "t_ns": t_ns}
                self._send(Skip(**who, **run, reason="backpressure"))
            else:
                found = [ObservationBody(signals={"count": float(frame_id // 10 % 2)})]
                self._send(
                    Obs(**who, frame_id=frame_id, t_ns=t_ns, mono_ns=0, observations=found, bound_ns=t_ns, timing={})
                )
        self._seq += 1

    def _send(self, message):
        if self._link.poll(0, 2):  # nobody is there while fusion starts
            self._link.send(encode(message))

    def stop(self):
        self._stop.set()
        self._thread.join()


@pytest.fixture
def config(write_config):
    return write_config(CONFIG)


@pytest.fixture
def players(links):
    players = Players(links.connect(OBSERVATIONS, "fusion"))
    yield players
    players.stop()


@pytest.fixture
def fusion(start_daemon, config, players, wait_for, counter):
    """At work: frames flow through it, and it has decided once."""
    daemon = start_daemon("fusion", config)
    wait_for(lambda: counter("fusion", "triggers"), timeout_s=20)
    return daemon


class Terminal:
    """vpctl top as it runs in a terminal of 120 x 40."""

    def __init__(self, config):
        self._screen, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        command = [sys.executable, "-c", "from visualpath.ctl.main import main; main()", "--config", str(config), "top"]
        environ = {**os.environ, "TERM": "xterm"}
        self.process = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=environ)
        os.close(inside)

    def until(self, pattern, timeout_s=20.0):
        """Read on until the pattern comes."""
        deadline, text = time.monotonic() + timeout_s, ""
        while not re.search(pattern, text):
            assert time.monotonic() < deadline, f"{pattern} did not come: {text[-3000:]}"
            text += self._read()

    def interrupt(self, timeout_s=10.0):
        """Ctrl-C; gives the exit code. What it still writes is read, as a terminal does."""
        self.process.send_signal(signal.SIGINT)
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it did not end"
            self._read()
        return self.process.returncode

    def _read(self):
        try:
            return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", os.read(self._screen, 65536).decode(errors="replace"))
        except OSError:  # nobody is left inside
            return ""

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self._screen)


@pytest.fixture
def terminal(config):
    terminal = Terminal(config)
    yield terminal
    terminal.close()


# Once -----------------------------------------------------------------------------------------------


def test_with_nothing_running_all_is_shown_as_down_and_exit_4(vpctl):
    result = vpctl("top", "--once")
    assert result.stdout.startswith("down: clip, fusion, extractor-face, extractor-pose, extractor-text, frame-cam1\n")
    assert result.exit_code == 4


def test_without_a_terminal_it_prints_once(vpctl):
    assert vpctl("top").stdout.count("Sync Status") == 1


def test_a_bad_configuration_is_exit_78(vpctl, write_config):
    assert vpctl("top", path=write_config("streams: {cam1: {sauce: a.mp4}}\n")).exit_code == 78


@pytest.mark.parametrize("interval", ["0", "-1", "soon"])
def test_an_interval_that_is_none_is_wrong_usage(vpctl, interval):
    assert vpctl("top", "--interval", interval).exit_code == 2


def test_people_see_who_has_answered(fusion, vpctl):
    result = vpctl("top", "--once")
    assert re.search(r"^cam1 #\d+\n +\S face .* \S pose down +\S text ", result.stdout, re.MULTILINE), result.stdout
    assert re.search(r"\[[█░]{20}\] \d+/150 ms  (complete|waiting)\n", result.stdout)
    assert result.exit_code == 3


def test_programs_get_the_facts(fusion, vpctl):
    facts = json.loads(vpctl("--json", "top").stdout)
    assert facts["streams"]["cam1"]["sets_per_s"] == pytest.approx(1 / FRAME_S, rel=0.5)
    assert facts["streams"]["cam1"]["complete"] > 0.5
    slowest = facts["sync"]["cam1"]["slowest"]["sources"]
    assert (slowest["face"]["state"], slowest["pose"]["state"]) == ("seen", "down")
    assert facts["daemons"]["fusion"]["up"]
    assert facts["unreadable"] == 0
    assert facts["outbox"] > 0


def test_moments_that_come_meanwhile_are_shown(fusion, vpctl):
    moments = json.loads(vpctl("--json", "top").stdout)["moments"]
    assert {moment["label"] for moment in moments} == {"smile"}


# On a terminal --------------------------------------------------------------------------------------


def test_ctrl_c_ends_it_in_order(terminal):
    terminal.until("Sync Status")
    assert terminal.interrupt() == 0


def test_it_goes_on_while_fusion_goes_and_comes(fusion, terminal, start_daemon, config):
    terminal.until(r"✓ face")
    fusion.kill()
    terminal.until(r"down: clip, fusion")
    terminal.until(r"cam1  no frames of late")
    start_daemon("fusion", config)
    terminal.until(r"✓ face")

"""The whole chain in a folder of its own, on the looping sample video: what the fault scripts and tests drive."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from visualpath.core.errors import CommandError, Unreachable
from visualpath.runtime.config import load_config
from visualpath.runtime.control import ControlClient
from visualpath.runtime.roles import Role, roles
from visualpath_protocol.endpoints import FUSION, frame_daemon
from visualpath_protocol.sockets import TAP, connect

CHECKOUT = Path(__file__).resolve().parents[2]
VENVS = CHECKOUT / ".venvs"
SAMPLE = CHECKOUT / "var/sample/faces.mp4"
VPCTL = VENVS / "core/bin/vpctl"
EXEC = VENVS / "core/bin/visualpath-exec"

STREAM = "demo"
SOURCES = ("face", "quality")
COOLDOWN_S = 2.0
POLL_S = 0.02
ANSWER_MS = 300

CONFIG = f"""
state_dir: state
venvs_dir: {VENVS}
streams:
  {STREAM}:
    source: {SAMPLE}
    loop: true
extractors:
  face: {{venv: face}}
  quality: {{venv: light}}
fusion:
  rules:
    - {{label: face, when: face.count >= 1, for: 500ms, cooldown: {COOLDOWN_S:g}s, score: face.conf}}
clip:
  dir: clips
  pre: 1s
  post: 1s
"""

NEEDED = {VENVS / "face/bin/python": "make venvs", SAMPLE: "make demo"}
"""What CONFIG needs, and what makes it."""

Status = dict[str, Any]


class FaultError(Exception):
    """Something did not happen in time, or a command failed."""


class Chain:
    """One configuration in a temporary folder; removed by `close` unless `keep`.

    Args:
        text: of the configuration; `$HERE` in it stands for the folder.
        needed: files that it needs, and the command that makes each.

    Attributes:
        env: added to the environment of what is started.
    """

    def __init__(self, text: str = CONFIG, needed: dict[Path, str] = NEEDED, *, keep: bool = False) -> None:
        for path, how in needed.items():
            if not path.exists():
                raise FaultError(f"{path.relative_to(CHECKOUT)} is absent: `{how}` makes it")
        self.folder = Path(tempfile.mkdtemp(prefix="vp-faults-"))
        self.config_path = self.folder / "visualpath.yaml"
        self.config_path.write_text(text.replace("$HERE", str(self.folder)))
        self.env: dict[str, str] = {}
        self.config = load_config(self.config_path)
        self._keep = keep
        self._client = ControlClient(self.config.endpoints())
        self._context = zmq.Context()

    @property
    def roles(self) -> list[Role]:
        return roles(self.config)

    def vpctl(self, *args: str) -> subprocess.CompletedProcess[str]:
        """One vpctl command, as an operator gives it."""
        command = [str(VPCTL), "--config", str(self.config_path), *args]
        env = {**os.environ, **self.env}
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=env)

    def up(self) -> None:
        result = self.vpctl("up")
        if result.returncode:
            raise FaultError(f"vpctl up: exit code {result.returncode}: {result.stdout}{result.stderr}")

    def down(self) -> None:
        result = self.vpctl("down")
        if result.returncode:
            raise FaultError(f"vpctl down: exit code {result.returncode}: {result.stdout}{result.stderr}")

    def status(self, daemon: str) -> Status | None:
        """One daemon's status; None while it does not answer."""
        try:
            status: Status = self._client.ask(daemon, "status", timeout_ms=ANSWER_MS)
        except (Unreachable, CommandError):
            return None
        return status

    def ask(self, daemon: str, command: str, args: dict[str, Any]) -> Any:
        """One command's answer."""
        return self._client.ask(daemon, command, args)

    def statuses(self) -> dict[str, Status | None]:
        return {role.daemon: self.status(role.daemon) for role in self.roles}

    def wait(self, condition: Callable[[], Any], what: str, timeout_s: float) -> Any:
        """What the condition gives, once that is true."""
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise FaultError(f"not within {timeout_s:g} s: {what}")
            time.sleep(POLL_S)
        return value

    def wait_for_answers(self, timeout_s: float) -> dict[str, Status]:
        """Every daemon's status, once all answer."""

        def answers() -> dict[str, Status] | None:
            found = {name: status for name, status in self.statuses().items() if status is not None}
            return found if len(found) == len(self.roles) else None

        found: dict[str, Status] = self.wait(answers, "every daemon answers", timeout_s)
        return found

    def flow(self) -> tuple[int, ...] | None:
        """How far each link of the chain is: observations of each source, sets, frames in the clip daemon."""
        fusion, clip = self.status(FUSION), self.status("clip")
        if fusion is None or clip is None:
            return None
        counted = fusion["counters"]
        obs = (counted.get(f"obs.{source}", 0) for source in self.config.extractors)
        return (*obs, counted.get("sets", 0), clip["counters"].get("frames", 0))

    def wait_for_flow(self, timeout_s: float) -> None:
        """Until every link of the chain has moved on from where it is now."""
        before = self.wait(self.flow, "fusion and clip answer", timeout_s)

        def moved() -> bool:
            now = self.flow()
            return now is not None and all(a > b for a, b in zip(now, before, strict=True))

        self.wait(moved, f"the obs of each source, sets and frames rise (from {before})", timeout_s)

    def await_trigger(self, timeout_s: float) -> None:
        """Until fusion says on its tap that a rule has fired."""
        tap = connect(self._context, TAP, self.config.endpoints().address(FUSION, TAP.name))
        try:
            tap.subscribe(b"trigger")
            if not tap.poll(int(timeout_s * 1000)):
                raise FaultError(f"no trigger within {timeout_s:g} s")
        finally:
            tap.close(linger=0)

    def pid(self, daemon: str) -> int:
        """Of one daemon, or of `supervisord`."""
        name = "supervisor/supervisord.pid" if daemon == "supervisord" else None
        if name is not None:
            return int((self.config.state_dir / name).read_text())
        return int((self.config.run_dir / daemon / "lock").read_text())

    def pids(self) -> dict[int, str]:
        """Every living process of this configuration: its command line by pid, supervisord included."""
        found: dict[int, str] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if str(self.folder) in command and int(folder.name) != os.getpid():
                    found[int(folder.name)] = command
        return found

    def daemon_pids(self) -> dict[int, str]:
        """As `pids`, without the encoders, which clip starts and ends as it needs them."""
        return {pid: command for pid, command in self.pids().items() if "-m visualbase.transcode" not in command}

    def kill(self, daemon: str) -> int:
        """kill -9; returns the pid that it had."""
        pid = self.pid(daemon)
        os.kill(pid, signal.SIGKILL)
        return pid

    def log(self, daemon: str) -> str:
        path = self.config.state_dir / "supervisor" / f"{daemon}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def close(self) -> None:
        """Stop what runs and remove everything; what a failed stop left is killed."""
        self.vpctl("down")
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._client.close()
        self._context.term()
        shutil.rmtree(self.config.ring_dir, ignore_errors=True)
        shutil.rmtree(self.config.run_dir, ignore_errors=True)
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Chain:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


FRAME = frame_daemon(STREAM)

"""Local run: a supervisord of its own for one configuration.

Its configuration, log files and socket are made from visualpath.yaml; each program is a daemon that
`visualpath-exec` starts in the right venv.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections import deque
from collections.abc import Iterator, Sequence
from configparser import RawConfigParser
from datetime import datetime
from http.client import HTTPException
from io import StringIO
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import Faults, SupervisorTransport

from visualpath.ctl.ends import Ends, recent_ends
from visualpath.ctl.supervision import Process, SupervisorFailed, readable
from visualpath.runtime.config import Config
from visualpath.runtime.roles import local_roles

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.1
FOLLOW_S = 0.3
LOG_BYTES = 10 << 20
PRIORITIES = {"watch": 0, "clip": 1, "fusion": 2, "extractor": 3, "frame": 4}
"""Consumers start before producers, and stop after them."""
STATES: dict[str, Any] = {
    "STARTING": "starting", "RUNNING": "up", "BACKOFF": "failing", "STOPPING": "stopping", "EXITED": "failing",
    "FATAL": "failing",
}  # fmt: skip
START_RETRIES = 1_000_000
"""A cause that lasts, such as a full disk, must not end a daemon for good; supervisord backs off by itself."""


class LocalSupervisor:
    """Starts and stops the supervisord of one configuration."""

    name = "supervisord"

    def __init__(self, config: Config) -> None:
        self._config = config
        self.folder = config.state_dir / "supervisor"
        self.logs_at = str(self.folder)
        self._socket = config.run_dir / "supervisor.sock"

    def start(self) -> bool:
        """Start supervisord and with it all daemons, or bring a running one to the configuration as it is now.

        Daemons that the configuration no longer names are stopped, new and stopped ones started.

        Returns:
            Whether supervisord was started.

        Raises:
            ConfigError: a venv is missing.
            SupervisorFailed: its folders cannot be written, or it does not come up.
        """
        for role in local_roles(self._config):
            role.command(self._config)
        path = self._prepare()
        if self._pid() is not None:
            self._update()
            return False
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(path)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise SupervisorFailed(f"supervisord does not start: {(result.stderr or result.stdout).strip()}")
        self._wait_for(True, START_TIMEOUT_S)
        return True

    def _prepare(self) -> Path:
        """Make the folders and supervisord's configuration; returns its path."""
        path = self.folder / "supervisord.conf"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._config.run_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
            path.write_text(self._render())
        except OSError as error:
            raise SupervisorFailed(f"cannot write {error.filename}: {error.strerror}") from error
        if self._socket.exists() and not self._socket.is_socket():  # supervisord would delete it
            raise SupervisorFailed(f"{self._socket} exists and is no socket: move it away, supervisord binds there")
        return path

    def stop(self) -> bool:
        """Stop all daemons, producers first, then supervisord; False if it did not run."""
        if self._pid() is None:
            return False
        self._call("shutdown")
        self._wait_for(False, STOP_TIMEOUT_S)
        return True

    def restart(self, daemons: Sequence[str]) -> None:
        """Stop and start these daemons.

        Raises:
            SupervisorFailed: supervisord does not run, or does not know one of them.
        """
        if self._pid() is None:
            raise SupervisorFailed("nothing runs here; `vpctl up` starts it")
        for daemon in daemons:
            self._stop_and_start(daemon)

    def processes(self) -> dict[str, Process]:
        """Each program of supervisord; empty if it does not run."""
        return {
            name: Process(STATES.get(info["statename"], "stopped"), info["pid"] or None, self._told(name, info))
            for name, info in self._programs().items()
        }

    def _told(self, daemon: str, info: dict[str, Any]) -> str:
        """The last words of one that does not stay up."""
        if STATES.get(info["statename"]) != "failing":
            return ""
        lines = self.log_lines(daemon, 1)
        return f"its last words: {readable(lines[0])}" if lines else ""

    def ends(self, since: datetime | None = None) -> dict[str, Ends]:
        """From supervisord's log."""
        return recent_ends(self.folder, since)

    def log_lines(self, daemon: str, count: int) -> list[str]:
        """The last lines of a daemon's log; none if it has not written any."""
        try:
            with self.log(daemon).open(errors="replace") as file:
                return [line.rstrip("\n") for line in deque(file, count)]
        except FileNotFoundError:
            return []

    def log(self, daemon: str) -> Path:
        """The log file of one daemon."""
        return self.folder / f"{daemon}.log"

    def follow(self, daemons: Sequence[str]) -> Iterator[str]:
        """What is appended to their log files."""
        return _follow([_Follower(self.log(daemon)) for daemon in daemons])

    def _programs(self) -> dict[str, dict[str, Any]]:
        """What supervisord says of each program; empty if it does not run."""
        try:
            return {info["name"]: info for info in self._call("getAllProcessInfo")}
        except SupervisorFailed:
            return {}

    def _pid(self) -> int | None:
        try:
            pid: int = self._call("getPID")
        except SupervisorFailed:
            return None
        return pid

    def _update(self) -> None:
        [[added, changed, removed]] = self._call("reloadConfig")
        for group in (*changed, *removed):
            self._call("stopProcessGroup", group)
            self._call("removeProcessGroup", group)
        for group in (*added, *changed):
            self._call("addProcessGroup", group)
        for name, process in self.processes().items():
            if process.state in ("failing", "stopped"):
                self._stop_and_start(name)

    def _stop_and_start(self, daemon: str) -> None:
        """At once: one that fails waits longer before each start, and what kept it down may be mended."""
        self._call("stopProcess", daemon, unless=Faults.NOT_RUNNING)
        self._call("startProcess", daemon, False, unless=Faults.ALREADY_STARTED)  # by supervisord itself, in between

    def _call(self, method: str, *args: Any, unless: int = 0) -> Any:
        """What supervisord answers; None if that is the fault `unless`.

        Raises:
            SupervisorFailed: it does not run, or refuses.
        """
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            return getattr(proxy.supervisor, method)(*args)
        except xmlrpc.client.Fault as error:
            if error.faultCode == unless:
                return None
            raise SupervisorFailed(f"{' '.join([method, *map(str, args[:1])])}: {error.faultString}") from error
        except (OSError, HTTPException, xmlrpc.client.Error) as error:
            raise SupervisorFailed(f"supervisord does not answer: {error}") from error
        finally:
            transport.close()

    def _wait_for(self, running: bool, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while (self._pid() is not None) != running or (not running and self._socket.exists()):
            if time.monotonic() > deadline:
                state = "does not come up" if running else "does not end"
                raise SupervisorFailed(f"supervisord {state}; see {self.folder / 'supervisord.log'}")
            time.sleep(POLL_S)

    def _render(self) -> str:
        parser = RawConfigParser()
        parser["unix_http_server"] = {"file": str(self._socket), "chmod": "0700"}
        parser["supervisord"] = {
            "logfile": str(self.folder / "supervisord.log"),
            "pidfile": str(self.folder / "supervisord.pid"),
            "childlogdir": str(self.folder),
        }
        parser["rpcinterface:supervisor"] = {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        }
        for role in local_roles(self._config):
            command = [sys.executable, "-m", "visualpath.runtime.exec", role.role, *filter(None, [role.instance])]
            parser[f"program:{role.daemon}"] = {
                "command": shlex.join([*command, "--config", str(self._config.path)]),
                "priority": str(PRIORITIES[role.role]),
                "autorestart": "true",
                "startsecs": "1",
                "startretries": str(START_RETRIES),
                "stopwaitsecs": "15",
                "redirect_stderr": "true",
                "stdout_logfile": str(self.log(role.daemon)),
                "stdout_logfile_maxbytes": str(LOG_BYTES),
            }
        text = StringIO()
        parser.write(text)
        return text.getvalue().replace("%", "%%")  # supervisord expands %(name)s


def _follow(followers: list[_Follower]) -> Iterator[str]:
    while True:
        for follower in followers:
            yield from follower.fresh()
        time.sleep(FOLLOW_S)


class _Follower:
    """Reads what is appended to a log file from now on, also when it begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def fresh(self) -> Iterator[str]:
        try:
            file = self._path.open("rb")
        except FileNotFoundError:  # not yet, or rotated just now
            return
        with file:
            if os.fstat(file.fileno()).st_size < self._offset:  # it was rotated
                self._offset = 0
            file.seek(self._offset)
            while (line := file.readline()).endswith(b"\n"):
                self._offset += len(line)
                yield line.decode(errors="replace").rstrip("\n")

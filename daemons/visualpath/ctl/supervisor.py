"""Local run: a supervisord of its own for one configuration.

Its configuration, log files and socket are made from visualpath.yaml; each program is a daemon that
`visualpath-exec` starts in the right venv.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections import deque
from configparser import RawConfigParser
from http.client import HTTPException
from io import StringIO
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from visualpath.core.errors import VisualpathError
from visualpath.runtime.config import Config
from visualpath.runtime.roles import roles

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.1
LOG_BYTES = 10 << 20
LAST_LINES = 5
PRIORITIES = {"clip": 1, "fusion": 2, "extractor": 3, "frame": 4}
"""Consumers start before producers, and stop after them."""
ALIVE = ("STARTING", "RUNNING", "BACKOFF")
FAILING = ("BACKOFF", "FATAL", "EXITED")
START_RETRIES = 1_000_000
"""A cause that lasts, such as a full disk, must not end a daemon for good; supervisord backs off by itself."""


class SupervisorFailed(VisualpathError):
    """supervisord could not be started or stopped."""


class LocalSupervisor:
    """Starts and stops the supervisord of one configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.folder = config.state_dir / "supervisor"
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
        for role in roles(self._config):
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

    def restart(self, daemon: str) -> None:
        """Stop and start one daemon, so that it reads the configuration again.

        Raises:
            SupervisorFailed: supervisord does not run, or does not know the daemon.
        """
        if self._pid() is None:
            raise SupervisorFailed("nothing runs here; `vpctl up` starts it")
        try:
            if self._call("getProcessInfo", daemon)["statename"] in ALIVE:
                self._call("stopProcess", daemon)
            self._call("startProcess", daemon, False)
        except xmlrpc.client.Fault as error:
            raise SupervisorFailed(f"{daemon}: {error.faultString}") from error

    def processes(self) -> dict[str, dict[str, Any]]:
        """State of each program as supervisord sees it, by daemon name; empty if it does not run."""
        try:
            return {info["name"]: info for info in self._call("getAllProcessInfo")}
        except (OSError, HTTPException, xmlrpc.client.Error):
            return {}

    def broken(self) -> dict[str, str]:
        """The daemons that do not stay up, each with the last lines of its log."""
        failing = (name for name, info in self.processes().items() if info["statename"] in FAILING)
        return {name: "\n".join(self.log_lines(name, LAST_LINES)) for name in failing}

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

    def _pid(self) -> int | None:
        try:
            pid: int = self._call("getPID")
        except (OSError, HTTPException, xmlrpc.client.Error):
            return None
        return pid

    def _update(self) -> None:
        [[added, changed, removed]] = self._call("reloadConfig")
        for group in (*changed, *removed):
            self._call("stopProcessGroup", group)
            self._call("removeProcessGroup", group)
        for group in (*added, *changed):
            self._call("addProcessGroup", group)
        for name, info in self.processes().items():
            if info["statename"] not in ALIVE:
                self._call("startProcess", name, False)

    def _call(self, method: str, *args: Any) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            return getattr(proxy.supervisor, method)(*args)
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
        for role in roles(self._config):
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

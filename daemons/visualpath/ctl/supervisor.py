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
        """Start supervisord, and with it all daemons; False if it runs already.

        Raises:
            ConfigError: a venv is missing.
            SupervisorFailed: it does not come up.
        """
        for role in roles(self._config):
            role.command(self._config)
        if self._pid() is not None:
            return False
        self.folder.mkdir(parents=True, exist_ok=True)
        self._config.run_dir.mkdir(parents=True, exist_ok=True, mode=0o750)
        path = self.folder / "supervisord.conf"
        path.write_text(self._render())
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(path)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode:
            raise SupervisorFailed(f"supervisord does not start: {(result.stderr or result.stdout).strip()}")
        self._wait_for(True, START_TIMEOUT_S)
        return True

    def stop(self) -> bool:
        """Stop all daemons, producers first, then supervisord; False if it did not run."""
        if self._pid() is None:
            return False
        self._call("shutdown")
        self._wait_for(False, STOP_TIMEOUT_S)
        return True

    def processes(self) -> dict[str, dict[str, Any]]:
        """State of each program as supervisord sees it, by daemon name; empty if it does not run."""
        if self._pid() is None:
            return {}
        return {info["name"]: info for info in self._call("getAllProcessInfo", namespace="supervisor")}

    def log(self, daemon: str) -> Path:
        """The log file of one daemon."""
        return self.folder / f"{daemon}.log"

    def _pid(self) -> int | None:
        try:
            pid: int = self._call("getPID")
        except (OSError, HTTPException, xmlrpc.client.Error):
            return None
        return pid

    def _call(self, method: str, namespace: str = "supervisor") -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            proxy = xmlrpc.client.ServerProxy("http://localhost", transport=transport)
            return getattr(getattr(proxy, namespace), method)()
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
        for priority, role in enumerate(roles(self._config), start=1):
            command = [sys.executable, "-m", "visualpath.runtime.exec", role.role, *filter(None, [role.instance])]
            parser[f"program:{role.daemon}"] = {
                "command": shlex.join([*command, "--config", str(self._config.path)]),
                "priority": str(priority),
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

"""`visualpath-exec ROLE [NAME] --config FILE`: become the right venv's Python for one daemon.

systemd units and supervisor programs call it, so that the YAML alone says which venv runs what.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import sys
from pathlib import Path

from visualpath.core.errors import ConfigError
from visualpath.runtime.config import load_config
from visualpath.runtime.logs import tell_refusal
from visualpath.runtime.main import EXIT_CONFIG
from visualpath.runtime.roles import ROLES, find_role
from visualpath.runtime.variables import Variables

PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""


def main(argv: list[str] | None = None) -> int:
    """Entry point; returns only if the daemon cannot be started."""
    parser = argparse.ArgumentParser(prog="visualpath-exec", description="Run one daemon in its own venv.")
    parser.add_argument("role", choices=ROLES)
    parser.add_argument("name", nargs="?", default="", help="the stream or extractor")
    parser.add_argument("--config", type=Path, default=Path("visualpath.yaml"))
    args = parser.parse_args(argv)
    environ = Variables(args.config)  # as they are now: supervisord's own environment is as old as it is
    try:
        config = load_config(args.config, environ)
        command = find_role(config, args.role, args.name).command(config)
    except ConfigError as error:
        tell_refusal(f"visualpath-exec: {error}")
    else:
        _end_with_supervisor()
        os.execve(command[0], command, environ)  # noqa: S606
    return EXIT_CONFIG


def _end_with_supervisor() -> None:
    """Have the kernel send SIGTERM when a supervisord dies, even by kill -9; it stays so over execve.

    Else its daemons would live on as orphans and hold the locks against the next set.
    """
    if "SUPERVISOR_ENABLED" not in os.environ:
        return
    supervisor = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != supervisor:  # it died before the kernel knew
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())

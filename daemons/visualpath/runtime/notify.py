"""sd_notify in the standard library: telling systemd how the daemon is.

Does nothing where NOTIFY_SOCKET is unset, that is, under supervisord or by hand. Source: sd_notify(3).
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

log = logging.getLogger(__name__)

PATIENCE_S = 0.1
"""With a service manager that takes nothing: it must not hold up the work loop."""


class Notifier:
    """Sends READY, STATUS, WATCHDOG and STOPPING to the service manager.

    Args:
        environ: holds NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID where systemd runs the daemon.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_ns = _watchdog_ns(environ)
        """How often `alive` must be called, at most; None where nobody watches."""

    @property
    def listens(self) -> bool:
        """Whether there is a service manager to tell."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The daemon serves."""
        self._send("READY=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """The work loop turns."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The orderly end has begun."""
        self._send("STOPPING=1")

    def _send(self, *lines: str) -> None:
        if not self._address:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(PATIENCE_S)
            try:
                sender.sendto("\n".join(line.replace("\n", " ") for line in lines).encode(), self._address)
            except OSError as error:  # also a timeout
                log.warning("systemd does not take %s: %s", lines[0], error)


def _watchdog_ns(environ: Mapping[str, str]) -> int | None:
    """A third of the time after which systemd would kill us, as its documentation advises to be safe."""
    usec, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not usec.isdigit() or (pid and pid != str(os.getpid())):
        return None
    return int(usec) * 1000 // 3

"""Where each daemon's sockets are: one map for everybody.

The default is `ipc://<run_dir>/<daemon>/<link>`; `overrides` maps `<daemon>/<link>` to another address.
Daemons are named `frame-<stream>`, `extractor-<name>`, `fusion`, `clip` and `watch`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from visualpath_protocol.errors import EndpointError
from visualpath_protocol.keys import ClientKeys, Keyring
from visualpath_protocol.sockets import is_tcp

IPC_PATH_MAX_BYTES = 107
"""sun_path holds 108 bytes with its final zero."""

FUSION = "fusion"
CLIP = "clip"
WATCH = "watch"


def frame_daemon(stream: str) -> str:
    """Name of the frame daemon of a stream."""
    return f"frame-{stream}"


def extractor_daemon(name: str) -> str:
    """Name of the daemon that hosts an extractor."""
    return f"extractor-{name}"


def default_run_dir(checkout: Path) -> Path:
    """A short directory of this user and checkout for sockets and locks: ipc paths end at 107 bytes."""
    digest = hashlib.sha256(str(checkout.resolve()).encode()).hexdigest()[:8]
    runtime_dir = os.environ.get("XDG_RUNTIME_DIR")
    if runtime_dir and os.access(runtime_dir, os.W_OK):
        return Path(runtime_dir) / f"vp-{os.getuid()}-{digest}"
    return Path(f"/tmp/vp-{os.getuid()}-{digest}")  # noqa: S108  (mode 0750, ownership checked when claimed)


class Endpoints:
    """The address of each daemon's links.

    Args:
        run_dir: directory that holds one folder per daemon.
        overrides: `<daemon>/<link>` to address, for what is not local.
        keys: for those that are tcp; None: they are plain, on loopback.
    """

    def __init__(self, run_dir: Path, overrides: Mapping[str, str] | None = None, keys: Keyring | None = None) -> None:
        self.run_dir = run_dir
        self.keys = keys
        self._overrides = dict(overrides or {})

    def folder(self, daemon: str) -> Path:
        """The folder that `daemon` alone binds in."""
        return self.run_dir / daemon

    def address(self, daemon: str, link: str) -> str:
        """The ZeroMQ address of one link of one daemon.

        Raises:
            EndpointError: the ipc path would be longer than the kernel allows.
        """
        override = self._overrides.get(f"{daemon}/{link}")
        if override is not None:
            return override
        path = str(self.folder(daemon) / link)
        if len(path.encode()) > IPC_PATH_MAX_BYTES:
            raise EndpointError(
                f"socket path {path} has {len(path.encode())} bytes, the kernel allows {IPC_PATH_MAX_BYTES}: "
                "choose a shorter run_dir"
            )
        return f"ipc://{path}"

    def client_keys(self, daemon: str, link: str, client: str) -> ClientKeys | None:
        """The keys by which `client` connects to one link of one daemon; None where it needs none.

        Raises:
            KeyFileError: they cannot be used.
        """
        if self.keys is None or not is_tcp(self.address(daemon, link)):
            return None
        return self.keys.asking(client, daemon)

"""Who may bind where.

libzmq takes over a live ipc endpoint without a word and deletes a regular file of that name. So each
daemon has a folder of its own, claimed by a lock file for the life of the process, and binds only there.
tcp is refused without CURVE keys, unless it is loopback and the caller says that this is meant.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from urllib.parse import urlsplit

from visualpath_protocol.errors import AddressInUse, EndpointError

RUN_DIR_MODE = 0o750
FOLDER_MODE = 0o2750
SOCKET_UMASK = 0o007
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class FolderClaim:
    """Exclusive right to bind inside one folder, held until `release` or the end of the process.

    Raises:
        AddressInUse: a live process holds the folder.
        EndpointError: the folder cannot be made or is not ours.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            _claimable_parent(folder.parent)
            _make_folder(folder)
            self._lock_fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise EndpointError(f"cannot use {folder} for sockets: {error.strerror}") from error
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock_fd, 32, 0).decode(errors="replace").strip()
            os.close(self._lock_fd)
            raise AddressInUse(
                f"{folder.name} is running already (pid {holder or 'unknown'} holds {folder}/lock)"
            ) from None
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, f"{os.getpid()}\n".encode(), 0)

    def clear_stale(self, path: Path) -> None:
        """Make way for a bind: remove a socket that a dead run of ours left.

        Raises:
            EndpointError: the path lies elsewhere, or is something that is no socket.
        """
        if path.parent != self.folder:
            raise EndpointError(f"{path} is outside this daemon's own folder {self.folder}")
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise EndpointError(f"{path} exists and is no socket: move it away, this daemon binds there")
        path.unlink()

    def release(self) -> None:
        """Remove our sockets and give the folder up."""
        for path in self.folder.iterdir():
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink(missing_ok=True)
        os.close(self._lock_fd)


def _make_folder(folder: Path) -> None:
    """Make a daemon's folder, or see that the one that is there is ours and nobody else's to write.

    One with fewer rights stays as it is: systemd makes it so, and gives none to a dynamic user that is setgid.
    """
    try:
        folder.mkdir(mode=FOLDER_MODE & 0o777)
    except FileExistsError:
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode):
            raise EndpointError(f"{folder} is no folder: remove it or choose another run_dir") from None
        if status.st_uid != os.geteuid():
            raise EndpointError(f"{folder} belongs to another user: remove it or choose another run_dir") from None
        if not stat.S_IMODE(status.st_mode) & ~FOLDER_MODE:
            return
    set_mode(folder, FOLDER_MODE)


def set_mode(folder: Path, mode: int) -> None:
    """Give a folder its mode, unless it has it: under systemd the setgid bit is inherited, and setting it refused."""
    if stat.S_IMODE(folder.stat().st_mode) != mode:
        folder.chmod(mode)


def _claimable_parent(run_dir: Path) -> None:
    """Make `run_dir`, or see that no stranger owns it: who owns it could put another folder in the place of ours."""
    run_dir.mkdir(mode=RUN_DIR_MODE, parents=True, exist_ok=True)
    status = run_dir.stat()
    if status.st_uid not in (0, os.geteuid()) and status.st_gid not in (os.getegid(), *os.getgroups()):
        raise EndpointError(f"{run_dir} belongs to a stranger: remove it or choose another run_dir")


def check_address(address: str, *, keyed: bool = False, allow_plain_loopback: bool = False) -> None:
    """Refuse addresses that would let strangers in, or tell them what they should not hear.

    Args:
        keyed: whether there are CURVE keys for it.

    Raises:
        EndpointError: tcp without keys that is not loopback, loopback that was not asked for, or another transport.
    """
    if address.startswith(("ipc:///", "inproc://")):
        return
    if not address.startswith("tcp://"):
        raise EndpointError(f"{address!r} is no address: use ipc:///path or tcp://host:port")
    host = _tcp_host(address)
    if keyed:
        return
    if host not in _LOOPBACK:
        raise EndpointError(
            f"{address} is refused: tcp beyond loopback needs CURVE keys. Write `security: {{key: NAME}}` into "
            "visualpath.yaml, then run `vpctl keys new NAME`"
        )
    if not allow_plain_loopback:
        raise EndpointError(
            f"{address} is refused without CURVE keys: write `security: {{key: NAME}}` into visualpath.yaml and run "
            "`vpctl keys new NAME`, or `allow_plain_loopback: true` for tcp without keys, on loopback alone"
        )


def _tcp_host(address: str) -> str:
    parts = urlsplit(address)
    try:
        port = parts.port
    except ValueError:
        port = None
    if not parts.hostname or not port or parts.path or parts.query or parts.fragment or parts.username is not None:
        raise EndpointError(f"{address!r} is no address: use tcp://host:port, with a port from 1 to 65535")
    return parts.hostname

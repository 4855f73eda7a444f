"""Who may bind where.

libzmq takes over a live ipc endpoint without a word and deletes a regular file of that name. So each
daemon has a folder of its own, claimed by a lock file for the life of the process, and binds only there.
tcp is refused unless it is loopback and the caller says that this is meant (CURVE comes with its own issue).
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
            folder.mkdir(mode=FOLDER_MODE & 0o777, exist_ok=True)
            if folder.stat().st_uid != os.geteuid():
                raise EndpointError(f"{folder} belongs to another user: remove it or choose another run_dir")
            set_mode(folder, FOLDER_MODE)
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


def check_bindable(address: str, *, allow_plain_loopback: bool = False) -> None:
    """Refuse addresses that would let strangers in.

    Raises:
        EndpointError: tcp that is not loopback, loopback that was not asked for, or another transport.
    """
    if address.startswith(("ipc:///", "inproc://")):
        return
    if not address.startswith("tcp://"):
        raise EndpointError(f"{address!r} is no address: use ipc:///path or tcp://host:port")
    host = urlsplit(address).hostname or ""
    if host not in _LOOPBACK:
        raise EndpointError(f"{address} is refused: tcp beyond loopback needs CURVE keys, which are not set up")
    if not allow_plain_loopback:
        raise EndpointError(
            f"{address} is refused: say `allow_plain_loopback: true` to use tcp without keys on loopback"
        )

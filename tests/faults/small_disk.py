"""Disks that fill up, and disks that turn read-only, for this process and those it starts alone.

They are mounted in a mount namespace of our own, so that nothing is left of them whatever becomes of us. A full one is
a tmpfs; one that turns read-only is ext4 on an image, and does so as on a real machine: it has met an error. Files that
are open for writing do not prevent that, as they do with a remount.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import itertools
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path

from chain import FaultError

CLONE_NEWNS, MS_REC, MS_PRIVATE = 0x20000, 0x4000, 0x40000
TOOLS = ("mount", "umount", "findmnt", "mkfs.ext4", "e2fsck")


@functools.cache
def lacking() -> str:
    """Why disks cannot be mounted here; "" if they can. From the first call on, this process has its own mounts."""
    if os.geteuid():
        return "disks cannot be mounted: that needs root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"disks cannot be mounted: {', '.join(missing)} is not here"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS) or libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None):
        return f"disks cannot be mounted: {os.strerror(ctypes.get_errno())}"
    return ""


class Disk(ABC):
    """A file system of its own in the place of a folder; what lay there is taken along."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if why := lacking():
            raise FaultError(why)
        folder.mkdir(parents=True, exist_ok=True)
        status = folder.stat()
        self._mount()
        os.chown(folder, status.st_uid, status.st_gid)
        folder.chmod(status.st_mode & 0o7777)

    @abstractmethod
    def _mount(self) -> None:
        """Mount it."""

    @abstractmethod
    def strike(self) -> None:
        """From now on it refuses."""

    @abstractmethod
    def mend(self) -> None:
        """From now on it takes what it is given, with nobody started anew."""

    def close(self) -> None:
        """It goes, whoever uses it, and what it was mounted over."""
        while not subprocess.run(["umount", "-l", self.folder], check=False, capture_output=True).returncode:
            pass


class FullDisk(Disk):
    """A tmpfs that another program fills.

    Args:
        folder: where.
        what: `bytes` or `inodes`: what it runs out of.
    """

    def __init__(self, folder: Path, what: str) -> None:
        self._what = what
        self._filler = folder / "foreign"
        super().__init__(folder)

    def _mount(self) -> None:
        _run("mount", "-t", "tmpfs", "-o", "size=16m,nr_inodes=200", "tmpfs", self.folder)

    def strike(self) -> None:
        self._filler.mkdir(exist_ok=True)
        for number in itertools.count():
            try:
                with (self._filler / str(number)).open("wb", buffering=0) as file:
                    while self._what == "bytes":
                        file.write(bytes(1 << 12))
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return

    def mend(self) -> None:
        shutil.rmtree(self._filler)


class ReadOnlyDisk(Disk):
    """An ext4 that meets an error and turns itself read-only; mended by fsck and mounting again."""

    def __init__(self, folder: Path) -> None:
        self._image = folder.with_name(f"{folder.name}.img")
        super().__init__(folder)

    def _mount(self) -> None:
        with self._image.open("wb") as image:
            image.truncate(64 << 20)
        _run("mkfs.ext4", "-q", "-m", "0", self._image)
        self._mount_image()

    def _mount_image(self) -> None:
        _run("mount", "-o", "loop,errors=remount-ro", self._image, self.folder)

    def strike(self) -> None:
        _run("sync", "-f", self.folder)  # what was written before is not the question
        device = Path(_run("findmnt", "-n", "-o", "SOURCE", self.folder).strip()).name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("as a test wants it")

    def mend(self) -> None:
        """The old one stays what it is until nobody has it open: a mended copy is mounted over it.

        Between an unmounting and a mounting the daemons would find the bare folder, and begin anew there.
        """
        copy = self._image.with_suffix(".mended")
        shutil.copyfile(self._image, copy)
        subprocess.run(["e2fsck", "-f", "-y", copy], check=False, capture_output=True)  # 1: it has mended something
        self._image = copy
        self._mount_image()


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise FaultError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")
    return done.stdout

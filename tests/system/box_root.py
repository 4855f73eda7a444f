"""PID 1 of a box until systemd takes its place: makes the box's own / and executes systemd in it.

    box_root.py JOIN SPEC     enter the box's cgroups, then new namespaces
    box_root.py INSIDE SPEC   in these: build the root, move into it, become systemd

SPEC is JSON: see `Spec`. Standard library only, run by /usr/bin/python3. Everything is mounted in a namespace that ends
with the box, and all that is written to / goes to memory.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

NAMESPACES = ("--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup")
SYSTEMD = "/lib/systemd/systemd"
TARGET = "basic.target"
PR_SET_PDEATHSIG = 1
"""From linux/prctl.h."""
NODES = ("null", "zero", "full", "random", "urandom", "tty")


@dataclass(frozen=True)
class Spec:
    """What a box is made of.

    Attributes:
        scratch: an empty folder of the host on which the box's memory is mounted.
        shown: folders and files of the host by the places where they are seen, read only.
        cgroups: the box's own cgroup by the name of its hierarchy in /sys/fs/cgroup.
        size: of the memory that takes what is written, as tmpfs has it.
    """

    scratch: str
    shown: dict[str, str]
    cgroups: dict[str, str]
    size: str = "3g"


def join(spec: Spec) -> None:
    """Enter the cgroups, which the cgroup namespace then shows as its roots, and the namespaces."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # kept over execve: no box outlives who asked for it
    for folder in spec.cgroups.values():
        Path(folder, "cgroup.procs").write_text(str(os.getpid()))
    inside = [sys.executable, __file__, "INSIDE", sys.argv[2]]
    command = ["unshare", *NAMESPACES, "--fork", "--kill-child", "--propagation", "private", "--", *inside]
    os.execvp(command[0], command)


def become_systemd(spec: Spec) -> None:
    """Build the root and execute systemd in it."""
    os.umask(0o022)
    root = overlay(spec)
    mount_kernel_folders(root)
    mount_devices(root / "dev")
    for place, source in spec.shown.items():
        show(Path(source), root / place.lstrip("/"))
    mount_cgroups(root / "sys/fs/cgroup", spec.cgroups)
    (root / "etc/machine-id").write_text("")
    old = root / ".host"
    old.mkdir()
    os.chdir(root)
    run("pivot_root", ".", ".host")
    run("umount", "--lazy", "/.host")
    os.chdir("/")
    environ = {"container": "visualpath-test", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
    os.execve(SYSTEMD, [SYSTEMD, "--system", f"systemd.unit={TARGET}"], environ)


def overlay(spec: Spec) -> Path:
    """The host's / below, memory on top."""
    memory = Path(spec.scratch)
    mount("tmpfs", memory, "-t", "tmpfs", "-o", f"mode=755,size={spec.size}")
    host, upper, work, root = (memory / name for name in ("host", "upper", "work", "root"))
    for folder in (host, upper, work, root):
        folder.mkdir()
    mount("/", host, "--bind")
    mount("overlay", root, "-t", "overlay", "-o", f"lowerdir={host},upperdir={upper},workdir={work}")
    return root


def mount_kernel_folders(root: Path) -> None:
    """Fresh /proc, /sys, /run and /tmp. The host's kernel settings can be read, and not written."""
    mount("proc", root / "proc", "-t", "proc")
    for place in (root / "proc/sys", root / "proc/sysrq-trigger"):
        if place.exists():
            show(place, place)
    mount("sysfs", root / "sys", "-t", "sysfs", "-o", "ro")
    mount("tmpfs", root / "run", "-t", "tmpfs", "-o", "mode=755")
    mount("tmpfs", root / "tmp", "-t", "tmpfs", "-o", "mode=1777")


def mount_devices(dev: Path) -> None:
    """A /dev with what every program may expect, and no device of the host."""
    mount("tmpfs", dev, "-t", "tmpfs", "-o", "mode=755")
    for name in NODES:
        show(Path("/dev", name), dev / name, writable=True)
    show(Path("/dev/null"), dev / "console", writable=True)
    for name, kind, options in (("shm", "tmpfs", "mode=1777"), ("pts", "devpts", "newinstance,ptmxmode=0666")):
        (dev / name).mkdir()
        mount(kind, dev / name, "-t", kind, "-o", options)
    (dev / "ptmx").symlink_to("pts/ptmx")
    (dev / "fd").symlink_to("/proc/self/fd")


def mount_cgroups(place: Path, cgroups: dict[str, str]) -> None:
    """Each hierarchy with the box's own cgroup as its root, writable: so limits are really enforced."""
    mount("tmpfs", place, "-t", "tmpfs", "-o", "mode=755")
    named = {"systemd": ("cgroup", "-o", "none,name=systemd"), "unified": ("cgroup2",)}
    for name in cgroups:
        (place / name).mkdir()
        mount("cgroup", place / name, "-t", *named.get(name, ("cgroup", "-o", name)))


def show(source: Path, place: Path, *, writable: bool = False) -> None:
    """A file or folder of the host at a place of the box."""
    if source.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    mount(source, place, "--bind")
    if not writable:
        mount("none", place, "-o", "remount,bind,ro")


def mount(source: str | Path, place: Path, *options: str) -> None:
    run("mount", *options, str(source), str(place))


def run(*command: str) -> None:
    """A command that must not fail; its own words say why it did."""
    subprocess.run(command, check=True)


if __name__ == "__main__":
    {"JOIN": join, "INSIDE": become_systemd}[sys.argv[1]](Spec(**json.loads(sys.argv[2])))

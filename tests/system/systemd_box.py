"""A real systemd on this machine's own files, in namespaces: what is installed and broken in it ends with it.

    with Box({"/srv/stage": stage}) as box:
        box.run("systemctl", "start", "visualpath.target")

Needs root and the cgroup v1 controllers of this kernel, which are writable in a cgroup namespace: `why_impossible`.
Memory, task and device limits of units are enforced as they are on a machine of its own.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from box_root import NAMESPACES, SYSTEMD, Spec

PYTHON = "/usr/bin/python3"
CGROUPS = Path("/sys/fs/cgroup")
BOOT_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.1
CONSOLE_LINES = 20


class BoxError(Exception):
    """A box did not boot, or a command in it failed; the message has what was said."""


def why_impossible() -> str:
    """Why no box can be had on this machine; empty if one can."""
    if os.geteuid() != 0:
        return "booting a systemd needs root"
    tools = ("unshare", "nsenter", "mount", "umount", "pivot_root", "systemctl", "journalctl")
    missing = [tool for tool in (*tools, SYSTEMD, PYTHON) if shutil.which(tool) is None]
    if missing:
        return f"{', '.join(missing)} not installed"
    if not (CGROUPS / "memory/cgroup.procs").exists():
        return "this kernel has no cgroup v1 memory controller: limits in a box would not be enforced"
    if not os.access(CGROUPS / "memory", os.W_OK):
        return f"{CGROUPS} is read only"
    attempt = subprocess.run(["unshare", *NAMESPACES, "--fork", "true"], capture_output=True, text=True, check=False)
    return f"no namespaces: {attempt.stderr.strip()}" if attempt.returncode else ""


class Box:
    """One boot of systemd; use it as a context manager.

    Args:
        shown: files and folders of the host, by the places where the box has them, read only.
    """

    def __init__(self, shown: Mapping[str, Path]) -> None:
        self._shown = {place: str(source) for place, source in shown.items()}
        self._leader = 0
        self.boot_s = 0.0
        """How long the boot took."""

    def __enter__(self) -> Box:
        began = time.monotonic()
        self._scratch = Path(tempfile.mkdtemp(prefix="vp-box-", dir="/tmp"))
        self._cgroups = make_cgroups(f"vp-box-{uuid.uuid4().hex[:8]}")
        spec = Spec(str(self._scratch), self._shown, {k: str(v) for k, v in self._cgroups.items()})
        command = [PYTHON, str(Path(__file__).with_name("box_root.py")), "JOIN", json.dumps(asdict(spec))]
        with tempfile.TemporaryFile("w+") as console:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
            try:
                self._await_boot()
            except BaseException as error:
                self._end()
                if not isinstance(error, BoxError):
                    raise
                console.seek(0)
                said = "".join(console.readlines()[-CONSOLE_LINES:])
                raise BoxError(f"{error}; its console:\n{said}") from None
        self.boot_s = time.monotonic() - began
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.run("systemctl", "poweroff", check=False)
        finally:
            self._end()

    def path(self, path: str) -> Path:
        """A file of the box, as this process sees it."""
        return Path(f"/proc/{self._leader}/root{path}")

    def run(self, *command: str, check: bool = True, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
        """One command in the box, as root.

        Raises:
            BoxError: it failed, and `check` is set.
        """
        enter = ["nsenter", "--target", str(self._leader), "--all", "--", *command]
        done = subprocess.run(enter, capture_output=True, text=True, check=False, timeout=timeout_s)
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr}; the journal:\n{self.journal()}"
            raise BoxError(f"{' '.join(command)}: exit status {done.returncode}: {said}")
        return done

    def show(self, unit: str) -> dict[str, str]:
        """All that systemd knows of a unit."""
        lines = self.run("systemctl", "show", unit).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def wait(self, condition: Callable[[], Any], what: str, timeout_s: float) -> Any:
        """What the condition gives, once that is true.

        Raises:
            BoxError: it did not come true in time; the message has the end of the journal.
        """
        deadline = time.monotonic() + timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise BoxError(f"not within {timeout_s:g} s: {what}; the journal:\n{self.journal()}")
            time.sleep(POLL_S)
        return value

    def journal(self, *options: str) -> str:
        """The end of the journal."""
        return self.run("journalctl", "--no-pager", "-n", "60", *options, check=False).stdout

    def _await_boot(self) -> None:
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while True:
            if self._process.poll() is not None:
                raise BoxError(f"systemd ended at once, exit status {self._process.returncode}")
            if time.monotonic() > deadline:
                raise BoxError(f"systemd did not boot in {BOOT_TIMEOUT_S:.0f} s")
            self._leader = self._leader or child_of(self._process.pid)
            if self._leader and self._has_booted():
                return
            time.sleep(POLL_S)

    def _has_booted(self) -> bool:
        # Before systemd has executed, nsenter would enter a box whose / is still the host's.
        try:
            if Path(f"/proc/{self._leader}/comm").read_text().strip() != "systemd":
                return False
        except FileNotFoundError:  # it has ended: the loop sees that next
            return False
        return self.run("systemctl", "is-system-running", check=False).stdout.strip() in ("running", "degraded")

    def _end(self) -> None:
        """Wait for the end of a box that powers off, else kill it (unshare takes all of it along); tidy up."""
        try:
            self._process.wait(STOP_TIMEOUT_S if self.boot_s else 0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        for folder in self._cgroups.values():
            remove_cgroup(folder, deadline)
        self._scratch.rmdir()


def child_of(pid: int) -> int:
    """The only child of a process; 0 if it has none, or is gone."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text() or 0)
    except FileNotFoundError:
        return 0


def make_cgroups(name: str) -> dict[str, Path]:
    """A child of this process's own cgroup in each hierarchy, so that limits on us hold for the box."""
    made = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, hierarchy, ours = line.split(":", 2)
        hierarchy = hierarchy.removeprefix("name=") or "unified"
        parent = CGROUPS / hierarchy / ours.lstrip("/")
        if not parent.is_dir():
            continue
        folder = made[hierarchy] = parent / name
        folder.mkdir()
        if hierarchy == "cpuset":  # a child begins with no CPU at all
            for key in ("cpuset.cpus", "cpuset.mems"):
                (folder / key).write_text((parent / key).read_text())
    return made


def remove_cgroup(folder: Path, deadline: float) -> None:
    """Remove a cgroup and those in it; the kernel takes a moment to let go of processes that have ended."""
    for path, _, _ in os.walk(folder, topdown=False):
        while True:
            try:
                os.rmdir(path)
                break
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(POLL_S)

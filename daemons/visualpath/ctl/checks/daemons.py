"""Whether the daemons run, and nothing stands where their sockets go."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from visualpath.ctl.checks.finding import Examined, Findings, ok, problem, warning
from visualpath.ctl.checks.folders import owner
from visualpath.ctl.supervisor import LocalSupervisor
from visualpath.ctl.supervisors import supervisor_of
from visualpath.runtime.config import Config
from visualpath.runtime.roles import local_roles
from visualpath_protocol.endpoints import IPC_PATH_MAX_BYTES
from visualpath_protocol.sockets import LINKS

SUPERVISOR_SOCKET = "supervisor.sock.4194304"
"""supervisord binds to a name with its process id first; this is the largest."""
ENDS_MANY = 3
"""A daemon that ended so often lately will do so again."""


def check_sockets(examined: Examined) -> Findings:
    """The length of the socket paths, and what lies at each."""
    config = examined.config
    yield from _check_lengths(config)
    clean = True
    one_user = isinstance(supervisor_of(config), LocalSupervisor)
    for role in local_roles(config):
        folder = config.run_dir / role.daemon
        if not folder.exists():
            continue
        if one_user and folder.stat().st_uid != os.geteuid():
            clean = False
            mend = f"vpctl down as that user, then rm -r {folder}; or work as that user"
            yield problem(f"{folder} belongs to another user ({owner(folder)})", mend)
        for link in LINKS:
            path = folder / link.name
            if os.path.lexists(path) and not stat.S_ISSOCK(path.lstat().st_mode):
                clean = False
                yield problem(f"{path} is no socket, and {role.daemon} binds there", f"mv {path} somewhere else")
    if clean:
        yield ok("nothing foreign in the daemons' folders")


def _check_lengths(config: Config) -> Findings:
    paths = [config.run_dir / role.daemon / link.name for role in local_roles(config) for link in LINKS]
    longest = max([*paths, config.run_dir / SUPERVISOR_SOCKET], key=lambda path: len(os.fsencode(path)))
    length = len(os.fsencode(longest))
    if length > IPC_PATH_MAX_BYTES:
        yield problem(f"{longest}: {length} bytes, the kernel allows {IPC_PATH_MAX_BYTES}", "set a shorter run_dir")
    else:
        yield ok(f"socket paths: at most {length} bytes of {IPC_PATH_MAX_BYTES}")


def check_daemons(examined: Examined) -> Findings:
    """Who answers, who does not although it is there, and who does not stay up."""
    config, statuses = examined.config, examined.statuses
    supervisor = supervisor_of(config)
    processes = supervisor.processes()
    down, starting = [], []
    for name in (name for name, status in statuses.items() if status is None):
        pid = lock_holder(config.run_dir / name / "lock")
        if pid is None and name in processes and processes[name].state in ("starting", "up"):
            starting.append(name)
        elif pid is None:
            down.append(name)
        else:
            yield problem(f"{name} (process {pid}) is there, but does not answer", f"kill -9 {pid}; it is started anew")
    if down and len(down) < len(statuses):
        yield problem(f"{len(down)} of {len(statuses)} daemons are down: {', '.join(down)}", "vpctl up")
    elif down:
        yield ok("no daemon runs; vpctl up starts them")
    elif all(status is not None for status in statuses.values()):
        yield ok(f"all {len(statuses)} daemons answer")
    if starting:
        yield warning(f"{supervisor.name} is starting {', '.join(starting)}", "vpctl doctor, in a moment")
    yield from _check_work(examined)
    yield from _check_supervisor(examined)


def _check_work(examined: Examined) -> Findings:
    """Who answers, and yet does not do its work."""
    for name, status in examined.statuses.items():
        if status is None:
            continue
        extractor, stream = status.get("extractor", {}), status.get("stream", {})
        if extractor.get("state") == "hung":
            since_s = extractor["busy_ns"] / 1e9
            yield problem(f"{name}: one inference has run for {since_s:.0f} s", f"kill -9 {status['pid']}")
        elif extractor.get("state") == "failed":
            yield problem(f"{name} has no backend that works: {extractor['backend']['reason']}", f"vpctl logs {name}")
        elif extractor.get("state") == "degraded":
            yield problem(f"{name} has failed on its last frames, three or more", f"vpctl logs {name}")
        elif extractor.get("state") == "ready" and not extractor["registered"]:
            yield problem(f"{name} is not accepted by fusion", f"vpctl logs fusion {name}")
        elif stream.get("state") == "stalled":
            yield problem(f"{name} has no frames: {stream['reason']}", f"vpctl logs {name}")
        if (backend := extractor.get("backend")) and backend["state"] == "fallback":
            yield warning(f"{name} runs on {backend['name']}: {backend['reason']}", "mend what is named; it comes back")


def _check_supervisor(examined: Examined) -> Findings:
    """Who does not stay up, and who was started by somebody else."""
    statuses, supervisor = examined.statuses, supervisor_of(examined.config)
    processes, ends = supervisor.processes(), supervisor.ends()
    failing = [name for name, process in processes.items() if process.state == "failing"]
    for name in failing:
        told = f"; it {ends[name]}" if name in ends else ""
        yield problem(
            f"{name} does not stay up: {processes[name].told or 'it has written nothing'}{told}", f"vpctl logs {name}"
        )
    for name in (name for name in statuses if name in ends and name not in failing):
        say = problem if ends[name].count >= ENDS_MANY else warning
        yield say(f"{name} {ends[name]}", f"vpctl logs {name}")
    for name, status in statuses.items():
        process = processes.get(name)
        if status is not None and processes and (process is None or process.pid != status["pid"]):
            yield warning(
                f"{name} is process {status['pid']}, which this {supervisor.name} has not started",
                f"kill {status['pid']}; {supervisor.name} then starts its own",
            )


def lock_holder(lock: Path) -> int | None:
    """The process that holds a lock file, as the kernel says: nothing is tried, so nobody is disturbed."""
    try:
        inode = lock.stat().st_ino
    except FileNotFoundError:
        return None
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[5].rpartition(":")[2] == str(inode):
            return int(words[4])
    return None

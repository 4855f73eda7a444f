"""What the daemons of bench_streams.py use of the machine, as /proc has it."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from streams_chain import STREAMS, Chain, FaultError

from visualpath_protocol.endpoints import CLIP

TRANSCODER = "clip: H.264"


@dataclass(frozen=True)
class Usage:
    """What one process uses; sizes in bytes.

    Attributes:
        cpu_s: of itself, in user and system.
        children_cpu_s: of its children that have ended.
        private: pages that it alone has written to: what a leak would be. Clean pages of libraries come and go with
            other processes that use them.
    """

    pid: int
    cpu_s: float
    children_cpu_s: float
    threads: int
    fds: int
    rss: int
    pss: int
    private: int


@dataclass(frozen=True)
class Sample:
    """The whole chain at one moment.

    Attributes:
        at_s: monotonic.
        daemons: by name; TRANSCODER is there while a clip becomes H.264.
        ring_bytes: by stream.
        load: of the whole machine, over the last minute.
    """

    at_s: float
    daemons: dict[str, Usage]
    ring_bytes: dict[str, int]
    load: float


def sample(chain: Chain) -> Sample:
    """Look at all processes now.

    Raises:
        FaultError: a daemon is gone.
    """
    daemons = {}
    for role in chain.roles:
        try:
            daemons[role.daemon] = usage(chain.pid(role.daemon))
        except OSError as error:
            raise FaultError(f"{role.daemon} is gone: {error}") from error
    if (transcoder := transcoder_of(daemons[CLIP].pid)) is not None:
        daemons[TRANSCODER] = transcoder
    rings = {name: sum(file.st_size for file in stats(chain.config.ring_dir / name)) for name in STREAMS}
    return Sample(time.monotonic(), daemons, rings, os.getloadavg()[0])


def usage(pid: int) -> Usage:
    """Read /proc/PID."""
    proc = Path("/proc", str(pid))
    fields = (proc / "stat").read_text().rpartition(")")[2].split()  # from the third on, see proc(5)
    own, children = (sum(map(int, fields[first : first + 2])) / os.sysconf("SC_CLK_TCK") for first in (11, 13))
    memory = dict.fromkeys(("Rss", "Pss", "Private_Dirty"), 0)
    for line in (proc / "smaps_rollup").read_text().splitlines()[1:]:
        name, _, size = line.partition(":")
        if name in memory:
            memory[name] = int(size.split()[0]) << 10
    fds = len(os.listdir(proc / "fd"))
    return Usage(pid, own, children, int(fields[17]), fds, *memory.values())


def transcoder_of(clip_pid: int) -> Usage | None:
    """Return what the clip daemon's child uses; None: it has none now."""
    try:
        children = Path(f"/proc/{clip_pid}/task/{clip_pid}/children").read_text().split()
        return usage(int(children[0])) if children else None
    except (OSError, IndexError, KeyError):  # it has just ended
        return None


def stats(folder: Path) -> list[os.stat_result]:
    """Return what is known of each file of a folder, except of those that vanish meanwhile."""
    found = []
    for path in folder.iterdir():
        try:
            found.append(path.stat())
        except FileNotFoundError:
            continue
    return found

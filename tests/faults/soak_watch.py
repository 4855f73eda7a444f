"""Looks at every process of the soak each few seconds: its memory and descriptors, what fusion counts, zombies."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from chain import Chain
from soak_fit import Reading

from visualpath_protocol.clock import mono_ns

EVERY_S = 2.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
STAT = re.compile(r"\((.*)\) (\S) (\d+) ", re.DOTALL)


@dataclass(frozen=True)
class Counted:
    """What fusion said of the messages it lost, by source; it said so between these two moments."""

    asked_ns: int
    answered_ns: int
    lost: dict[str, int]


class Watch(threading.Thread):
    """Samples until it is told to stop.

    Attributes:
        lives: by daemon, the readings of each of its processes, by pid and first sight.
        counted: what fusion said, whichever fusion it was.
        zombies: dead children of ours that nobody had taken leave of at two looks in a row.
        failure: a defect of our own that has ended the thread.
    """

    def __init__(self, chain: Chain) -> None:
        super().__init__(name="watch", daemon=True)
        self.lives: defaultdict[str, dict[int, list[Reading]]] = defaultdict(dict)
        self.counted: list[Counted] = []
        self.zombies: set[str] = set()
        self.failure: BaseException | None = None
        self._chain = chain
        self._daemons = [role.daemon for role in chain.roles] + ["supervisord"]
        self._born_s: dict[int, float] = {}
        self._doubtful: set[str] = set()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End, and wait for that."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Thread body."""
        try:
            while not self._stopping.wait(EVERY_S):
                for daemon in self._daemons:
                    with contextlib.suppress(OSError, ValueError):  # it is being started, or dies while it is looked at
                        self._look(daemon, self._chain.pid(daemon))
                self._ask_fusion()
                self._find_zombies()
        except BaseException as error:  # the soak ends with it
            self.failure = error

    def _look(self, daemon: str, pid: int) -> None:
        here = Path(f"/proc/{pid}")
        if str(self._chain.folder).encode() not in (here / "cmdline").read_bytes():
            return
        rss_bytes = int((here / "statm").read_text().split()[1]) * PAGE_BYTES
        fds = len(os.listdir(here / "fd"))
        now_s = time.monotonic()
        age_s = now_s - self._born_s.setdefault(pid, now_s)
        self.lives[daemon].setdefault(pid, []).append(Reading(age_s, rss_bytes, fds))

    def _ask_fusion(self) -> None:
        asked_ns = mono_ns()
        status = self._chain.status("fusion")
        if status is not None:
            lost = {source: row["lost"] for source, row in status["sources"].items()}
            self.counted.append(Counted(asked_ns, mono_ns(), lost))

    def _find_zombies(self) -> None:
        """Children of ours that have ended; not those of a parent that is stopped, which can take no leave of them."""
        ours = {str(pid) for pid in self._born_s} | {str(os.getpid())}
        states = _states()
        found = {
            f"{pid} ({name}), child of {parent} ({states[parent][0]})"
            for pid, (name, state, parent) in states.items()
            if state == "Z" and parent in ours and parent in states and states[parent][1] not in "Tt"
        }
        self.zombies |= found & self._doubtful
        self._doubtful = found


def remains(watch: Watch) -> list[str]:
    """Processes that were watched, and still are there in whatever state."""
    states = _states()
    pids = {str(pid) for lives in watch.lives.values() for pid in lives}
    return [f"{pid} ({states[pid][0]}) {states[pid][1]}" for pid in sorted(pids & set(states))]


def _states() -> dict[str, tuple[str, str, str]]:
    """Of every process, by its number: its name, its state and its parent's number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            told = STAT.search(path.read_text())
            if told:
                found[path.parent.name] = (told[1], told[2], told[3])
    return found

"""What belongs to the whole process, which a plug-in shares with its host: it must leave that as it was."""

from __future__ import annotations

import locale
import os
import signal
import sys
from typing import Any

import numpy as np

SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGCHLD", "SIGALRM", "SIGPIPE", "SIGUSR1", "SIGUSR2")


def process_state() -> dict[str, Any]:
    """By what it is called in a reason."""
    return {
        **{f"the handler of {name}": signal.getsignal(getattr(signal, name)) for name in SIGNALS},
        "numpy's error state": np.geterr(),
        "the locale": locale.setlocale(locale.LC_ALL),
        "the working directory": os.getcwd(),
        "the mask of new files": _umask(),
        "the limit of recursion": sys.getrecursionlimit(),
    }


def held_by_process() -> dict[str, int]:
    """How many threads, children and open files this process has."""
    children = 0
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/children") as file:
                children += len(file.read().split())
        except FileNotFoundError:  # that thread has just ended
            continue
    return {
        "thread": len(os.listdir("/proc/self/task")),
        "child process": children,
        "open file": len(os.listdir("/proc/self/fd")) - 1,  # without the one that lists them
    }


def rss_bytes(pid: int | str = "self") -> int:
    """Memory of a process that lies in RAM."""
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

"""What the machine offers: processor, limits."""

from __future__ import annotations

import os
import platform
import resource
from pathlib import Path

from visualpath.ctl.checks.finding import Examined, Findings, ok, problem, warning

FILES_MIN, FILES_GOOD = 256, 1024
"""Open files: a daemon holds some 60, and one more for each peer and ring segment."""


def check_machine(_examined: Examined | None = None) -> Findings:
    """Processor features and the limit of open files; needs no configuration."""
    yield from check_cpu(Path("/proc/cpuinfo").read_text())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    text = f"open files: at most {soft}"
    if soft < FILES_GOOD:
        say = problem if soft < FILES_MIN else warning
        mend = f"ulimit -n {min(FILES_GOOD, hard)}" if hard >= FILES_GOOD else "raise nofile in limits.conf"
        yield say(text, f"{mend}, before vpctl up; systemd: LimitNOFILE=")
    else:
        yield ok(text)


def check_cpu(cpuinfo: str) -> Findings:
    """Features that models are built for, from the text of /proc/cpuinfo."""
    cores = f"{len(os.sched_getaffinity(0))} CPUs, {platform.machine()}"
    flags = next((line.partition(":")[2].split() for line in cpuinfo.splitlines() if line.startswith("flags")), None)
    if flags is None:
        yield ok(cores)
    elif "avx2" in flags:
        yield ok(f"{cores} with avx2{' and avx512f' if 'avx512f' in flags else ''}")
    else:
        yield warning(
            f"{cores} without avx2: models are slow here, and some libraries end with 'Illegal instruction'",
            "a virtual machine: give it the host's CPU model; else use another machine for heavy extractors",
        )

"""What a check of `vpctl doctor` gets, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from visualpath.runtime.config import Config

Level = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One thing that is as it should be, or is not.

    Attributes:
        what: what was found, with names and figures.
        mend: the command or edit that mends it; "" if there is nothing to do.
    """

    level: Level
    what: str
    mend: str = ""


@dataclass(frozen=True)
class Examined:
    """The installation under examination: its configuration, and each daemon's status (None: it does not answer)."""

    config: Config
    statuses: dict[str, dict[str, Any] | None] = field(default_factory=dict)


Findings = Iterator[Finding]


def ok(what: str) -> Finding:
    """Nothing to do."""
    return Finding("ok", what)


def warning(what: str, mend: str = "") -> Finding:
    """It works, but not as well as it could, or not for long."""
    return Finding("warning", what, mend)


def problem(what: str, mend: str) -> Finding:
    """Something does not work before this is mended."""
    return Finding("problem", what, mend)


def mebibytes(size_bytes: int) -> str:
    """A number of bytes as people read it."""
    return f"{size_bytes / (1 << 30):.1f} GiB" if size_bytes >= 1 << 30 else f"{size_bytes >> 20} MiB"

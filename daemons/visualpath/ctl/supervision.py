"""Who starts the daemons and keeps them up, whichever it is: what all commands of vpctl need of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from visualpath.core.errors import VisualpathError
from visualpath.ctl.ends import Ends
from visualpath.runtime.logs import plain

LAST_LINES = 5
"""Of the log of a daemon that does not stay up."""


class SupervisorFailed(VisualpathError):
    """The supervisor does not do what it was asked for."""


@dataclass(frozen=True)
class Process:
    """One daemon as its supervisor sees it.

    Attributes:
        state: failing: it has ended by itself, whether it is started again or not.
        pid: None while it does not run.
        told: what `state` does not say: how it ended, since when, and what to type; "" if there is nothing to say.
    """

    state: Literal["up", "starting", "stopping", "failing", "stopped"]
    pid: int | None = None
    told: str = ""


class Supervisor(Protocol):
    """systemd, or a supervisord of this configuration alone. Each method may raise SupervisorFailed."""

    name: str
    logs_at: str
    """Where the logs are, for people."""

    def processes(self) -> dict[str, Process]:
        """Every daemon that it keeps, by name: also such as the configuration names no more."""

    def start(self) -> bool:
        """Keep what the configuration names, now and after a restart of the machine, and nothing else.

        What runs already goes on as it is. Does not wait until the daemons serve.

        Returns:
            False if some daemons ran before.

        Raises:
            ConfigError: a daemon of the configuration cannot be started here at all.
        """

    def stop(self) -> bool:
        """Stop all daemons, producers first, and wait for their end; False if none ran."""

    def restart(self, daemons: Sequence[str]) -> None:
        """Stop these daemons, wait for their end, and start them; does not wait until they serve."""

    def ends(self, since: datetime | None = None) -> dict[str, Ends]:
        """Who ended by itself since then (default: lately), and how."""

    def log_lines(self, daemon: str, count: int) -> list[str]:
        """The last lines that a daemon wrote."""

    def follow(self, daemons: Sequence[str]) -> Iterator[str]:
        """What these daemons write from now on, without end."""


def last_words(supervisor: Supervisor, daemon: str) -> str:
    """What to show of a daemon that does not stay up."""
    lines = "\n".join(map(readable, supervisor.log_lines(daemon, LAST_LINES)))
    told = f"its last lines:\n{lines}" if lines else "it has written nothing"
    return f"{daemon} does not stay up; {told}"


def readable(line: str) -> str:
    """A line of `log.format: json` as `text` has it; nothing in it is a command to the terminal."""
    try:
        parts = json.loads(line)
        line = f"{parts['time']} {parts['level']} {parts['daemon']}: {parts['message']}"
    except (ValueError, TypeError, KeyError):
        pass
    return "\n  ".join(map(plain, line.split("\n")))

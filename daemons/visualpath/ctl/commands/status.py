"""`vpctl status`: each daemon of the configuration and how it is."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import click
from rich.table import Table

from visualpath.core.errors import CommandError, Unreachable
from visualpath.ctl.console import EXIT_ALL_DOWN, EXIT_SOME_DOWN, Vpctl, clock, pass_vpctl
from visualpath.ctl.ends import recent_ends
from visualpath.ctl.supervisor import LocalSupervisor
from visualpath.runtime.control import ControlClient
from visualpath.runtime.roles import roles
from visualpath.runtime.summary import summary
from visualpath_protocol.endpoints import Endpoints

ANSWER_MS = 500


Statuses = dict[str, dict[str, Any] | None]


def collect(
    vpctl: Vpctl, daemons: Sequence[str] = (), command: str = "status", args: dict[str, Any] | None = None
) -> Statuses:
    """What each of the daemons (default: all) answers to a command, by name; None for one that does not answer."""
    daemons = daemons or [role.daemon for role in roles(vpctl.config)]
    with ThreadPoolExecutor(max_workers=len(daemons)) as pool:  # those that are down are waited for together
        ask = partial(_ask, vpctl.config.endpoints(), command=command, args=args)
        return dict(zip(daemons, pool.map(ask, daemons), strict=True))


def _ask(endpoints: Endpoints, daemon: str, command: str, args: dict[str, Any] | None) -> dict[str, Any] | None:
    client = ControlClient(endpoints)
    try:
        answer: dict[str, Any] = client.ask(daemon, command, args, timeout_ms=ANSWER_MS)
    except (Unreachable, CommandError):
        return None
    finally:
        client.close()
    return answer


@click.command("status")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Show each daemon and how it is."""
    statuses = collect(vpctl)
    table = Table("daemon", "pid", "up for", "memory", "state", box=None, pad_edge=False)
    supervisor = LocalSupervisor(vpctl.config)
    broken, ends = supervisor.broken(), recent_ends(supervisor.folder)
    for daemon, status in statuses.items():
        ended = f"; {ends[daemon]}" if daemon in ends else ""
        if status is None:
            last_words = broken.get(daemon, "").rpartition("\n")[2]
            state = f"down; its last words: {last_words}" if last_words else "down"
            table.add_row(daemon, "-", "-", "-", state + ended)
            continue
        memory = f"{status['rss_bytes'] >> 20} MiB"
        table.add_row(daemon, str(status["pid"]), clock(status["uptime_ns"]), memory, summary(status) + ended)
    vpctl.show(statuses, table)
    report_down(vpctl, statuses)


def report_down(vpctl: Vpctl, statuses: Statuses) -> None:
    """End the call with its exit code if daemons are down."""
    down = sum(status is None for status in statuses.values())
    if down == len(statuses):
        vpctl.fail("nothing runs; `vpctl up` (or `make up`) starts it", EXIT_ALL_DOWN)
    if down:
        vpctl.fail(f"{down} of {len(statuses)} daemons are down", EXIT_SOME_DOWN)

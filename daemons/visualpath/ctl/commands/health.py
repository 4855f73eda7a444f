"""`vpctl health`: whether each daemon does its part."""

from __future__ import annotations

import dataclasses

import click
from rich.table import Table

from visualpath.core.health import worst
from visualpath.ctl.commands.status import collect, known_here
from visualpath.ctl.console import EXIT_DEGRADED, EXIT_UNHEALTHY, Vpctl, pass_vpctl
from visualpath.ctl.health import health_of
from visualpath.runtime.roles import machine_of
from visualpath_protocol.clock import rfc3339

EXIT_CODES = {"healthy": 0, "degraded": EXIT_DEGRADED, "failed": EXIT_UNHEALTHY}


@click.command("health")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Show whether each daemon does its part: healthy, degraded or failed, why, and since when.

    Exit codes: 0 all healthy, 5 degraded, 6 failed.
    """
    statuses = collect(vpctl)
    parts = health_of(vpctl.supervisor, known_here(vpctl, statuses))
    away = {daemon: machine for daemon in statuses if (machine := machine_of(vpctl.config, daemon))}
    state = worst(parts)
    table = Table("daemon", "health", "since", "reason", box=None, pad_edge=False)
    for daemon, health in parts.items():
        since = "-" if health.since_wall_ns is None else rfc3339(health.since_wall_ns)[:19] + "Z"
        at = f"on {away[daemon]}" if daemon in away else ""
        table.add_row(daemon, health.state, since, "; ".join(filter(None, [at, health.reason])))
    for daemon in (daemon for daemon in away if daemon not in parts):
        table.add_row(daemon, "-", "-", f"on {away[daemon]}")
    daemons = {daemon: dataclasses.asdict(each) for daemon, each in parts.items()}
    vpctl.show({"state": state, "daemons": daemons, "elsewhere": away}, table)
    if EXIT_CODES[state]:
        raise click.exceptions.Exit(EXIT_CODES[state])

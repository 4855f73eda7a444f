"""`vpctl status`: each daemon of the configuration and how it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from rich.table import Table

from visualpath.core.health import Health, worst
from visualpath.ctl.console import EXIT_ALL_DOWN, EXIT_SOME_DOWN, Vpctl, clock, pass_vpctl
from visualpath.ctl.health import health_of
from visualpath.ctl.supervision import SupervisorFailed
from visualpath.runtime.control import ControlClient, ask_all
from visualpath.runtime.roles import machine_of, roles
from visualpath.runtime.summary import summary
from visualpath_protocol.sockets import CONTROL

ANSWER_MS = 500


Statuses = dict[str, dict[str, Any] | None]


def collect(
    vpctl: Vpctl,
    daemons: Sequence[str] | None = None,
    command: str = "status",
    args: dict[str, Any] | None = None,
    *,
    timeout_ms: int = ANSWER_MS,
) -> Statuses:
    """What each of the daemons (default: all) answers to a command, by name; None for one that does not answer."""
    client = ControlClient(vpctl.config.endpoints())
    try:
        asked = [role.daemon for role in roles(vpctl.config)] if daemons is None else daemons
        return ask_all(client, asked, command, args, timeout_ms=timeout_ms)
    finally:
        client.close()


@click.command("status")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Show each daemon and how it is."""
    statuses = collect(vpctl)
    table = Table("daemon", "pid", "up for", "memory", "state", box=None, pad_edge=False)
    told = _told(vpctl)
    for daemon, status in statuses.items():
        machine = machine_of(vpctl.config, daemon)
        at = [f"on {machine}"] if machine else []
        if status is None:
            table.add_row(daemon, "-", "-", "-", "; ".join([*(at or ["down"]), *told.get(daemon, [])]))
            continue
        memory = f"{status['rss_bytes'] >> 20} MiB"
        state = "; ".join([*at, summary(status), *told.get(daemon, [])])
        table.add_row(daemon, str(status["pid"]), clock(status["uptime_ns"]), memory, state)
    words = {
        name: {**(status or {"down": True}), "told": told.get(name, []), **({"machine": machine} if machine else {})}
        for name, status in statuses.items()
        for machine in [machine_of(vpctl.config, name)]
    }
    vpctl.show(words, table)
    if not vpctl.as_json and any(statuses.values()):
        click.echo(_health_line(health_of(vpctl.supervisor, known_here(vpctl, statuses))))
    report_down(vpctl, known_here(vpctl, statuses))


def _told(vpctl: Vpctl) -> dict[str, list[str]]:
    """What the supervisor says of each daemon that does not simply run."""
    try:
        processes, ends = vpctl.supervisor.processes(), vpctl.supervisor.ends()
    except SupervisorFailed as error:  # what the daemons say is worth showing without it
        click.echo(f"vpctl: {error}", err=True)
        return {}
    told = {daemon: [process.told] for daemon, process in processes.items() if process.told}
    for daemon, end in ends.items():
        told[daemon] = [*told.get(daemon, []), str(end)]
    return {daemon: list(map(vpctl.hide, each)) for daemon, each in told.items()}


def _health_line(parts: dict[str, Health]) -> str:
    ill = [daemon for daemon, health in parts.items() if health.state != "healthy"]
    more = f" ({', '.join(ill)}); `vpctl health` says why" if ill else ""
    return f"\nhealth: {worst(parts)}{more}"


def is_loading(status: dict[str, Any] | None) -> bool:
    """Whether a daemon is an extractor that still loads its models."""
    return status is not None and status.get("extractor", {}).get("state") == "starting"


def known_here(vpctl: Vpctl, statuses: Statuses) -> Statuses:
    """Without those that another machine runs and that do not answer: whether they run cannot be told from here."""
    config = vpctl.config
    return {name: status for name, status in statuses.items() if status is not None or not machine_of(config, name)}


def report_down(vpctl: Vpctl, statuses: Statuses) -> None:
    """End the call with its exit code if daemons are down.

    Raises:
        KeyFileError: one could not be asked, for want of a key.
    """
    silent = [daemon for daemon, status in statuses.items() if status is None]
    for daemon in silent:
        vpctl.config.endpoints().client_keys(daemon, CONTROL.name, "vpctl")  # which may be why it could not be asked
    down = len(silent)
    if down == len(statuses):
        vpctl.fail("nothing runs; `vpctl up` (or `make up`) starts it", EXIT_ALL_DOWN)
    if down:
        vpctl.fail(f"{down} of {len(statuses)} daemons are down", EXIT_SOME_DOWN)

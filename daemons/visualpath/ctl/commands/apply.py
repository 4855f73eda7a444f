"""`vpctl apply`: have the machine run what visualpath.yaml says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import click

from visualpath.core.errors import ConfigError
from visualpath.ctl.commands.status import Statuses, collect
from visualpath.ctl.commands.up import still_loading, wait_until_at_work
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.supervision import Process
from visualpath.runtime.config import Config
from visualpath.runtime.roles import fingerprint, local_roles

ANSWER_MS = 5_000
"""Patience with a daemon that runs: one that says nothing is restarted."""


@dataclass(frozen=True)
class Plan:
    """What is to be done to which daemons."""

    start: list[str]
    stop: list[str]
    restart: list[str]


@click.command("apply")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--restart", "restart_all", is_flag=True, help="Restart also those whose configuration is the same.")
@pass_vpctl
def command(vpctl: Vpctl, dry_run: bool, restart_all: bool) -> None:
    """Start, restart and stop daemons so that what runs is what visualpath.yaml says.

    Those whose part of it is as it was when they started go on. Under systemd, what it names is enabled, too.
    """
    if vpctl.variables.withheld is not None:
        vpctl.fail(f"{vpctl.variables.withheld} may not be read, and what changed in it counts: as root", EXIT_REFUSED)
    supervisor = vpctl.supervisor
    processes = supervisor.processes()
    running = running_of(vpctl.config, processes)
    statuses = collect(vpctl, running, timeout_ms=ANSWER_MS) if running else {}
    plan = make_plan(vpctl.config, processes, statuses, restart_all)
    try:
        if not dry_run:
            supervisor.start()
            if plan.restart:
                supervisor.restart(plan.restart)
    except ConfigError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    loading: list[str] = []
    if not dry_run:
        loading = wait_until_at_work(vpctl, [role.daemon for role in local_roles(vpctl.config)])
    told = {"supervisor": supervisor.name, "dry_run": dry_run, **asdict(plan), "loading": loading}
    vpctl.show(told, _text(plan, dry_run) + still_loading(loading))


def make_plan(config: Config, processes: Mapping[str, Process], statuses: Statuses, restart_all: bool = False) -> Plan:
    """What must be done.

    Args:
        processes: what the supervisor keeps.
        statuses: what each daemon of the configuration that runs answers.
    """
    wanted = [role.daemon for role in local_roles(config)]
    running = running_of(config, processes)
    stale = [name for name in running if restart_all or is_stale(config, name, statuses.get(name))]
    return Plan(
        start=[name for name in wanted if name not in running],
        stop=[name for name in processes if name not in wanted],
        restart=stale,
    )


def running_of(config: Config, processes: Mapping[str, Process]) -> list[str]:
    """The daemons of the configuration that run, or are about to."""
    up = {name for name, process in processes.items() if process.state in ("up", "starting")}
    return [role.daemon for role in local_roles(config) if role.daemon in up]


def is_stale(config: Config, daemon: str, status: Mapping[str, object] | None) -> bool:
    """Whether a daemon works by another configuration than this; one that does not answer may well do."""
    return status is None or status.get("config") != fingerprint(config, daemon)


def _text(plan: Plan, dry_run: bool) -> str:
    would = "would " if dry_run else ""
    steps: list[tuple[str, Sequence[str]]] = [
        ("stop" if dry_run else "stopped", plan.stop),
        ("start" if dry_run else "started", plan.start),
        ("restart" if dry_run else "restarted", plan.restart),
    ]
    return "\n".join(f"{would}{verb} {', '.join(names)}" for verb, names in steps if names) or "nothing to do"

"""`vpctl apply`: have the machine run what visualpath.yaml says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import click

from visualpath.core.errors import VisualpathError
from visualpath.ctl.commands.restart import restart, still_loading
from visualpath.ctl.commands.status import Statuses, collect
from visualpath.ctl.commands.up import wait_until_up
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.supervision import Process
from visualpath.runtime.config import Config
from visualpath.runtime.roles import fingerprint, roles


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
    try:
        plan = make_plan(vpctl.config, supervisor.processes(), collect(vpctl), restart_all)
        if not dry_run:
            supervisor.start()
    except VisualpathError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    loading: list[str] = []
    if not dry_run:
        loading = restart(vpctl, plan.restart) if plan.restart else []
        wait_until_up(vpctl)
    told = {"supervisor": supervisor.name, "dry_run": dry_run, **asdict(plan), "loading": loading}
    vpctl.show(told, _text(plan, dry_run) + still_loading(loading))


def make_plan(config: Config, processes: Mapping[str, Process], statuses: Statuses, restart_all: bool = False) -> Plan:
    """What must be done.

    Args:
        processes: what the supervisor keeps.
        statuses: what each daemon of the configuration answers.
    """
    wanted = [role.daemon for role in roles(config)]
    running = [name for name in wanted if name in processes and processes[name].state in ("up", "starting")]
    stale = [name for name in running if restart_all or is_stale(config, name, statuses.get(name))]
    return Plan(
        start=[name for name in wanted if name not in running],
        stop=[name for name in processes if name not in wanted],
        restart=stale,
    )


def is_stale(config: Config, daemon: str, status: Mapping[str, object] | None) -> bool:
    """Whether a daemon works by another configuration than this; False for one that does not answer."""
    return status is not None and status.get("config") != fingerprint(config, daemon)


def _text(plan: Plan, dry_run: bool) -> str:
    would = "would " if dry_run else ""
    steps: list[tuple[str, Sequence[str]]] = [
        ("stop" if dry_run else "stopped", plan.stop),
        ("start" if dry_run else "started", plan.start),
        ("restart" if dry_run else "restarted", plan.restart),
    ]
    return "\n".join(f"{would}{verb} {', '.join(names)}" for verb, names in steps if names) or "nothing to do"

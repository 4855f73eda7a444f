"""`vpctl up`: start every daemon of the configuration under supervisord."""

from __future__ import annotations

import time

import click

from visualpath.core.errors import VisualpathError
from visualpath.ctl.commands.status import collect
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.supervisor import LocalSupervisor

READY_TIMEOUT_S = 60.0
POLL_S = 0.2


@click.command("up")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Start all daemons on this machine and wait until they answer; those that run already go on."""
    supervisor = LocalSupervisor(vpctl.config)
    try:
        started = supervisor.start()
    except VisualpathError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    wait_until_up(vpctl, supervisor)
    text = f"{'started' if started else 'all up'}; `vpctl status` shows how it is, `vpctl logs` what they say"
    vpctl.show({"up": True, "started": started}, text)


def wait_until_up(vpctl: Vpctl, supervisor: LocalSupervisor) -> None:
    """Wait until every daemon answers; ends the call with the log lines of one that does not stay up."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        silent = [daemon for daemon, status in collect(vpctl).items() if status is None]
        if not silent:
            return
        broken = supervisor.broken()
        if broken:
            told = "\n".join(f"{daemon} does not stay up; its last lines:\n{lines}" for daemon, lines in broken.items())
            vpctl.fail(told, EXIT_REFUSED)
        if time.monotonic() > deadline:
            vpctl.fail(f"{', '.join(silent)} did not answer in {READY_TIMEOUT_S:.0f} s; see `vpctl logs`", EXIT_REFUSED)
        time.sleep(POLL_S)

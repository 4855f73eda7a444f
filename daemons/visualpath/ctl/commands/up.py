"""`vpctl up`: start every daemon of the configuration under supervisord."""

from __future__ import annotations

import click

from visualpath.core.errors import VisualpathError
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.supervisor import LocalSupervisor


@click.command("up")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Start all daemons on this machine; does nothing if they run."""
    supervisor = LocalSupervisor(vpctl.config)
    try:
        started = supervisor.start()
    except VisualpathError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    message = "started" if started else "runs already"
    vpctl.show(
        {"up": True, "started": started}, f"{message}; `vpctl status` shows how it is, logs in {supervisor.folder}"
    )

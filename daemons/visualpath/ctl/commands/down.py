"""`vpctl down`: stop every daemon that `vpctl up` started."""

from __future__ import annotations

import click

from visualpath.core.errors import VisualpathError
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.supervisor import LocalSupervisor


@click.command("down")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Stop all daemons on this machine; does nothing if none run."""
    try:
        stopped = LocalSupervisor(vpctl.config).stop()
    except VisualpathError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    vpctl.show({"down": True, "stopped": stopped}, "stopped" if stopped else "nothing ran")

"""`vpctl down`: stop every daemon on this machine."""

from __future__ import annotations

import click

from visualpath.core.errors import VisualpathError
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl


@click.command("down")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Stop all daemons on this machine; does nothing if none run."""
    try:
        stopped = vpctl.supervisor.stop()
    except VisualpathError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    vpctl.show({"down": True, "stopped": stopped}, "stopped" if stopped else "nothing ran")

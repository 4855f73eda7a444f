"""`vpctl down`: stop every daemon that `vpctl up` started."""

from __future__ import annotations

import click

from visualpath.ctl.console import Vpctl, pass_vpctl
from visualpath.ctl.supervisor import LocalSupervisor


@click.command("down")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Stop all daemons on this machine; does nothing if none run."""
    stopped = LocalSupervisor(vpctl.config).stop()
    vpctl.show({"down": True, "stopped": stopped}, "stopped" if stopped else "nothing ran")

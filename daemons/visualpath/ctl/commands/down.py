"""`vpctl down`: stop every daemon on this machine."""

from __future__ import annotations

import click

from visualpath.ctl.console import Vpctl, pass_vpctl


@click.command("down")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Stop all daemons on this machine; does nothing if none run."""
    stopped = vpctl.supervisor.stop()
    vpctl.show({"down": True, "stopped": stopped}, "stopped" if stopped else "nothing ran")

"""`vpctl validate`: whether the configuration can be used."""

from __future__ import annotations

import click

from visualpath.ctl.console import Vpctl, pass_vpctl
from visualpath.runtime.roles import roles


@click.command("validate")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Check visualpath.yaml; errors name file, line and key."""
    config = vpctl.config
    daemons = [role.daemon for role in roles(config)]
    vpctl.show(
        {"valid": True, "config": str(config.path), "daemons": daemons},
        f"{config.path} is valid: {len(daemons)} daemons",
    )

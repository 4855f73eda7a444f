"""`vpctl validate`: whether the configuration can be used."""

from __future__ import annotations

import click

from visualpath.core.errors import ConfigError, PluginError
from visualpath.ctl.console import EXIT_CONFIG, Vpctl, pass_vpctl
from visualpath.process.decision import check_fusion
from visualpath.runtime.roles import roles


@click.command("validate")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Check visualpath.yaml; errors name file, line and key."""
    config = vpctl.config
    try:
        check_fusion(config)
    except (ConfigError, PluginError) as error:
        vpctl.fail(str(error), EXIT_CONFIG)
    daemons = [role.daemon for role in roles(config)]
    vpctl.show(
        {"valid": True, "config": str(config.path), "daemons": daemons},
        f"{config.path} is valid: {len(daemons)} daemons",
    )

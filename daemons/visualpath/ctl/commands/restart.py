"""`vpctl restart [DAEMON]...`: stop and start daemons, so that they read the configuration again."""

from __future__ import annotations

import click

from visualpath.core.errors import VisualpathError
from visualpath.ctl.commands.up import wait_until_up
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.names import complete_daemon
from visualpath.ctl.supervisor import LocalSupervisor


@click.command("restart")
@click.argument("daemons", nargs=-1, metavar="[DAEMON]...", shell_complete=complete_daemon)
@pass_vpctl
def command(vpctl: Vpctl, daemons: tuple[str, ...]) -> None:
    """Restart DAEMONs (default: all) and wait until they answer."""
    supervisor = LocalSupervisor(vpctl.config)
    chosen = vpctl.daemons(daemons)
    try:
        for daemon in chosen:
            supervisor.restart(daemon)
    except VisualpathError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    wait_until_up(vpctl, supervisor)
    vpctl.show({"restarted": chosen}, f"restarted {', '.join(chosen)}")

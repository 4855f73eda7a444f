"""`vpctl restart [DAEMON]...`: stop and start daemons, so that they read the configuration again."""

from __future__ import annotations

import click

from visualpath.core.errors import VisualpathError
from visualpath.ctl.commands.up import wait_until_up
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.supervisor import LocalSupervisor
from visualpath.runtime.roles import roles


@click.command("restart")
@click.argument("daemons", nargs=-1, metavar="[DAEMON]...")
@pass_vpctl
def command(vpctl: Vpctl, daemons: tuple[str, ...]) -> None:
    """Restart DAEMONs (default: all) and wait until they answer."""
    known = [role.daemon for role in roles(vpctl.config)]
    for daemon in daemons:
        if daemon not in known:
            vpctl.fail(f"no daemon {daemon!r}; there are {', '.join(known)}", EXIT_REFUSED)
    supervisor = LocalSupervisor(vpctl.config)
    chosen = list(daemons) or known
    try:
        for daemon in chosen:
            supervisor.restart(daemon)
    except VisualpathError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    wait_until_up(vpctl, supervisor)
    vpctl.show({"restarted": chosen}, f"restarted {', '.join(chosen)}")

"""`vpctl restart [DAEMON]...`: stop and start daemons, so that they read the configuration again."""

from __future__ import annotations

import click

from visualpath.ctl.commands.up import still_loading, wait_until_at_work
from visualpath.ctl.console import Vpctl, pass_vpctl
from visualpath.ctl.names import complete_daemon


@click.command("restart")
@click.argument("daemons", nargs=-1, metavar="[DAEMON]...", shell_complete=complete_daemon)
@pass_vpctl
def command(vpctl: Vpctl, daemons: tuple[str, ...]) -> None:
    """Restart DAEMONs (default: all) and wait until they are at work."""
    chosen = vpctl.local_daemons(daemons)
    vpctl.supervisor.restart(chosen)
    loading = wait_until_at_work(vpctl, chosen)
    vpctl.show({"restarted": chosen, "loading": loading}, f"restarted {', '.join(chosen)}{still_loading(loading)}")

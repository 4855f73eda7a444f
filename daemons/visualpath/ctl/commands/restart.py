"""`vpctl restart [DAEMON]...`: stop and start daemons, so that they read the configuration again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from visualpath.ctl.commands.up import wait_until_at_work
from visualpath.ctl.console import Vpctl, pass_vpctl
from visualpath.ctl.names import complete_daemon


@click.command("restart")
@click.argument("daemons", nargs=-1, metavar="[DAEMON]...", shell_complete=complete_daemon)
@pass_vpctl
def command(vpctl: Vpctl, daemons: tuple[str, ...]) -> None:
    """Restart DAEMONs (default: all) and wait until they are at work."""
    chosen = vpctl.daemons(daemons)
    loading = restart(vpctl, chosen)
    vpctl.show({"restarted": chosen, "loading": loading}, f"restarted {', '.join(chosen)}{still_loading(loading)}")


def restart(vpctl: Vpctl, daemons: Sequence[str]) -> list[str]:
    """Restart them; ends the call if one does not stay up. Returns the extractors that still load their models."""
    since = datetime.now()
    vpctl.supervisor.restart(daemons)
    return wait_until_at_work(vpctl, daemons, since)


def still_loading(extractors: Sequence[str]) -> str:
    """The end of a line that says what was started."""
    return f"; {', '.join(extractors)} still loads: `vpctl status` shows how it goes on" if extractors else ""

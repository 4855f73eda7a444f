"""`vpctl logs [DAEMON]...`: what the daemons wrote."""

from __future__ import annotations

import click

from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.names import complete_daemon
from visualpath.ctl.supervision import readable


@click.command("logs")
@click.argument("daemons", nargs=-1, metavar="[DAEMON]...", shell_complete=complete_daemon)
@click.option("-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="Lines of each, at most.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what they write; Ctrl-C ends it.")
@pass_vpctl
def command(vpctl: Vpctl, daemons: tuple[str, ...], lines: int, follow: bool) -> None:
    """Show the last lines of DAEMONs (default: all)."""
    supervisor, chosen = vpctl.supervisor, vpctl.local_daemons(daemons)
    coming = supervisor.follow(chosen) if follow else iter(())
    found = {daemon: supervisor.log_lines(daemon, lines) for daemon in chosen}
    if not any(found.values()) and not follow:
        vpctl.fail(f"no logs in {supervisor.logs_at}", EXIT_REFUSED)
    vpctl.show(found, "\n".join(readable(line) for daemon in chosen for line in found[daemon]))
    for line in coming:
        click.echo(vpctl.hide(line if vpctl.as_json else readable(line)))

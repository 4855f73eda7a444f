"""`vpctl logs [DAEMON]...`: what the daemons wrote."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import click

from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.names import complete_daemon
from visualpath.ctl.supervisor import LocalSupervisor

POLL_S = 0.3


@click.command("logs")
@click.argument("daemons", nargs=-1, metavar="[DAEMON]...", shell_complete=complete_daemon)
@click.option("-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="Lines of each, at most.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what they write; Ctrl-C ends it.")
@pass_vpctl
def command(vpctl: Vpctl, daemons: tuple[str, ...], lines: int, follow: bool) -> None:
    """Show the last lines of DAEMONs (default: all) that `vpctl up` started."""
    supervisor = LocalSupervisor(vpctl.config)
    chosen = vpctl.daemons(daemons)
    followers = [_Follower(supervisor.log(daemon)) for daemon in chosen] if follow else []
    found = {daemon: supervisor.log_lines(daemon, lines) for daemon in chosen}
    if not any(found.values()) and not follow:
        vpctl.fail(f"no logs in {supervisor.folder}; under systemd: journalctl -u 'visualpath-*'", EXIT_REFUSED)
    vpctl.show(found, "\n".join(line for daemon in chosen for line in found[daemon]))
    while followers:
        for follower in followers:
            for line in follower.fresh():
                click.echo(line)
        time.sleep(POLL_S)


class _Follower:
    """Reads what is appended to a log file from now on, also when it begins anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = path.stat().st_size if path.exists() else 0

    def fresh(self) -> Iterator[str]:
        if not self._path.exists():
            return
        size = self._path.stat().st_size
        if size < self._offset:  # the log was rotated
            self._offset = 0
        with self._path.open("rb") as file:
            file.seek(self._offset)
            while (line := file.readline()).endswith(b"\n"):
                self._offset += len(line)
                yield line.decode(errors="replace").rstrip("\n")

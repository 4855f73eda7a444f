"""`vpctl restart [DAEMON]...`: stop and start daemons, so that they read the configuration again."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

import click

from visualpath.core.errors import VisualpathError
from visualpath.ctl.commands.status import collect
from visualpath.ctl.commands.up import POLL_S, READY_TIMEOUT_S
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.ends import recent_ends
from visualpath.ctl.names import complete_daemon
from visualpath.ctl.supervisor import LAST_LINES, LocalSupervisor


@click.command("restart")
@click.argument("daemons", nargs=-1, metavar="[DAEMON]...", shell_complete=complete_daemon)
@pass_vpctl
def command(vpctl: Vpctl, daemons: tuple[str, ...]) -> None:
    """Restart DAEMONs (default: all) and wait until they are at work."""
    supervisor = LocalSupervisor(vpctl.config)
    chosen = vpctl.daemons(daemons)
    since = datetime.now()
    try:
        for daemon in chosen:
            supervisor.restart(daemon)
    except VisualpathError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    loading = _wait_until_at_work(vpctl, supervisor, chosen, since)
    more = f"; {', '.join(loading)} still loads: `vpctl status` shows how it goes on" if loading else ""
    vpctl.show({"restarted": chosen, "loading": loading}, f"restarted {', '.join(chosen)}{more}")


def _wait_until_at_work(vpctl: Vpctl, supervisor: LocalSupervisor, chosen: list[str], since: datetime) -> list[str]:
    """Wait as long as may be; ends the call if one of them does not stay up.

    Returns:
        The extractors that still load their models; they answer before, and may yet end of it.
    """
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        statuses = collect(vpctl, chosen)
        ends = recent_ends(supervisor.folder, since)
        if ended := [daemon for daemon in chosen if daemon in ends]:
            vpctl.fail("\n".join(_last_words(supervisor, daemon) for daemon in ended), EXIT_REFUSED)
        silent = [daemon for daemon, status in statuses.items() if status is None]
        loading = [daemon for daemon, status in statuses.items() if _loads(status)]
        is_late = time.monotonic() > deadline
        if not silent and (is_late or not loading):
            return loading
        if is_late:
            vpctl.fail(f"{', '.join(silent)} did not answer in {READY_TIMEOUT_S:.0f} s; see `vpctl logs`", EXIT_REFUSED)
        time.sleep(POLL_S)


def _last_words(supervisor: LocalSupervisor, daemon: str) -> str:
    lines = "\n".join(supervisor.log_lines(daemon, LAST_LINES))
    return f"{daemon} does not stay up; its last lines:\n{lines}"


def _loads(status: dict[str, Any] | None) -> bool:
    return status is not None and status.get("extractor", {}).get("state") == "starting"

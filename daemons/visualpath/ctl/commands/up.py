"""`vpctl up`: start every daemon of the configuration, under systemd or supervisord."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime

import click

from visualpath.core.errors import ConfigError
from visualpath.ctl.commands.status import collect, is_loading
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.supervision import last_words
from visualpath.runtime.roles import local_roles

READY_TIMEOUT_S = 60.0
POLL_S = 0.2


@click.command("up")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Start all daemons of this machine and wait until they are at work; those that run already go on."""
    try:
        started = vpctl.supervisor.start()
    except ConfigError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    loading = wait_until_at_work(vpctl, [role.daemon for role in local_roles(vpctl.config)])
    more = still_loading(loading) or "; `vpctl status` shows how it is, `vpctl logs` what they say"
    vpctl.show({"up": True, "started": started, "loading": loading}, f"{'started' if started else 'all up'}{more}")


def wait_until_at_work(vpctl: Vpctl, chosen: Sequence[str]) -> list[str]:
    """Wait as long as may be for what was told to start; ends the call if one of them does not stay up.

    Only an end after this counts: one before may have been what the start has mended. Whoever ended just before and is
    not mended ends again, or its supervisor has given it up.

    Returns:
        The extractors that still load their models; they answer before, and may yet end of it.
    """
    since = datetime.now()
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        statuses = collect(vpctl, chosen)
        silent = [daemon for daemon, status in statuses.items() if status is None]
        ends = vpctl.supervisor.ends(since)
        processes = vpctl.supervisor.processes() if silent else {}
        failing = [daemon for daemon in silent if daemon in processes and processes[daemon].state == "failing"]
        if ended := [daemon for daemon in chosen if daemon in ends or daemon in failing]:
            vpctl.fail("\n".join(last_words(vpctl.supervisor, daemon) for daemon in ended), EXIT_REFUSED)
        loading = [daemon for daemon, status in statuses.items() if is_loading(status)]
        is_late = time.monotonic() > deadline
        if not silent and (is_late or not loading):
            return loading
        if is_late:
            vpctl.fail(f"{', '.join(silent)} did not answer in {READY_TIMEOUT_S:.0f} s; see `vpctl logs`", EXIT_REFUSED)
        time.sleep(POLL_S)


def still_loading(extractors: Sequence[str]) -> str:
    """The end of a line that says what was started."""
    return f"; {', '.join(extractors)} still loads: `vpctl status` shows how it goes on" if extractors else ""

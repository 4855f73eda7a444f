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

READY_TIMEOUT_S = 60.0
POLL_S = 0.2


@click.command("up")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Start all daemons on this machine and wait until they answer; those that run already go on."""
    try:
        started = vpctl.supervisor.start()
    except ConfigError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    wait_until_up(vpctl)
    text = f"{'started' if started else 'all up'}; `vpctl status` shows how it is, `vpctl logs` what they say"
    vpctl.show({"up": True, "started": started}, text)


def wait_until_up(vpctl: Vpctl) -> None:
    """Wait until every daemon answers; ends the call with the log lines of one that does not stay up."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        silent = [daemon for daemon, status in collect(vpctl).items() if status is None]
        if not silent:
            return
        processes = vpctl.supervisor.processes()
        failing = [daemon for daemon in silent if daemon in processes and processes[daemon].state == "failing"]
        if failing:
            vpctl.fail("\n".join(last_words(vpctl.supervisor, daemon) for daemon in failing), EXIT_REFUSED)
        if time.monotonic() > deadline:
            vpctl.fail(f"{', '.join(silent)} did not answer in {READY_TIMEOUT_S:.0f} s; see `vpctl logs`", EXIT_REFUSED)
        time.sleep(POLL_S)


def wait_until_at_work(vpctl: Vpctl, chosen: Sequence[str], since: datetime) -> list[str]:
    """Wait as long as may be; ends the call if one of them does not stay up.

    Args:
        since: when they were told to start, of this machine's clock and zone.

    Returns:
        The extractors that still load their models; they answer before, and may yet end of it.
    """
    deadline = time.monotonic() + READY_TIMEOUT_S
    while True:
        statuses = collect(vpctl, chosen)
        ends = vpctl.supervisor.ends(since)
        if ended := [daemon for daemon in chosen if daemon in ends]:
            vpctl.fail("\n".join(last_words(vpctl.supervisor, daemon) for daemon in ended), EXIT_REFUSED)
        silent = [daemon for daemon, status in statuses.items() if status is None]
        loading = [daemon for daemon, status in statuses.items() if is_loading(status)]
        is_late = time.monotonic() > deadline
        if not silent and (is_late or not loading):
            return loading
        if is_late:
            vpctl.fail(f"{', '.join(silent)} did not answer in {READY_TIMEOUT_S:.0f} s; see `vpctl logs`", EXIT_REFUSED)
        time.sleep(POLL_S)

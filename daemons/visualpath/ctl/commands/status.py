"""`vpctl status`: each daemon of the configuration and how it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import click
from rich.table import Table

from visualpath.core.errors import CommandError, Unreachable
from visualpath.ctl.console import EXIT_ALL_DOWN, EXIT_SOME_DOWN, Vpctl, clock, pass_vpctl
from visualpath.runtime.control import ControlClient
from visualpath.runtime.roles import roles
from visualpath_protocol.endpoints import Endpoints

ANSWER_MS = 500


def collect(vpctl: Vpctl) -> dict[str, dict[str, Any] | None]:
    """The status of each daemon by name, None for one that does not answer."""
    daemons = [role.daemon for role in roles(vpctl.config)]
    with ThreadPoolExecutor(max_workers=len(daemons)) as pool:  # those that are down are waited for together
        return dict(zip(daemons, pool.map(partial(_status, vpctl.config.endpoints()), daemons), strict=True))


def _status(endpoints: Endpoints, daemon: str) -> dict[str, Any] | None:
    client = ControlClient(endpoints)
    try:
        status: dict[str, Any] = client.ask(daemon, "status", timeout_ms=ANSWER_MS)
    except (Unreachable, CommandError):
        return None
    finally:
        client.close()
    return status


def summary(status: dict[str, Any]) -> str:
    """What matters most about one daemon, in one line."""
    counters = status["counters"]
    if "stream" in status:
        stream = status["stream"]
        reason = f" ({stream['reason']})" if stream["reason"] else ""
        return f"{stream['state']}{reason}, epoch {stream['epoch']}, {counters.get('frames', 0)} frames"
    if "extractor" in status:
        skipped = sum(n for name, n in counters.items() if name.startswith("skipped."))
        return f"{status['extractor']['state']}, {counters.get('sent.obs', 0)} observed, {skipped} skipped"
    if "outbox" in status:
        sources = ", ".join(f"{name} {source['state']}" for name, source in status["sources"].items()) or "no sources"
        sets, triggers = counters.get("sets", 0), counters.get("triggers", 0)
        return f"{sets} sets, {triggers} triggers, {status['outbox']} to deliver; {sources}"
    saved, failed = counters.get("clips.saved", 0), counters.get("clips.failed", 0)
    recording = sum(stream["recording"] for stream in status["streams"].values())
    return f"{saved} saved, {recording} recording, {failed} failed"


@click.command("status")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Show each daemon and how it is."""
    statuses = collect(vpctl)
    table = Table("daemon", "pid", "up for", "memory", "state", box=None, pad_edge=False)
    for daemon, status in statuses.items():
        if status is None:
            table.add_row(daemon, "-", "-", "-", "down")
            continue
        memory = f"{status['rss_bytes'] >> 20} MiB"
        table.add_row(daemon, str(status["pid"]), clock(status["uptime_ns"]), memory, summary(status))
    vpctl.show(statuses, table)
    down = sum(status is None for status in statuses.values())
    if down == len(statuses):
        vpctl.fail("nothing runs; `vpctl up` (or `make up`) starts it", EXIT_ALL_DOWN)
    if down:
        vpctl.fail(f"{down} of {len(statuses)} daemons are down", EXIT_SOME_DOWN)

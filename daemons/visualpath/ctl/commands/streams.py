"""`vpctl streams`: each stream and how it is."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from visualpath.ctl.commands.status import collect, report_down
from visualpath.ctl.console import Vpctl, pass_vpctl
from visualpath_protocol.endpoints import frame_daemon

HEADERS = (
    "stream", "state", "epoch", "fps", "frames", "last frame", "ring", "it holds", "subscribers of\nheaders/states/jpeg"
)  # fmt: skip


@click.command("streams")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Show each stream: its state, the rate measured over 5 s and the nominal one, its ring and who listens."""
    names = {frame_daemon(stream): stream for stream in vpctl.config.streams}
    statuses = collect(vpctl, list(names))
    table = Table(box=None, pad_edge=False)
    for header in HEADERS:
        table.add_column(header, overflow="fold")
    for daemon, status in statuses.items():
        table.add_row(names[daemon], *(_cells(status) if status is not None else ["down"]))
    vpctl.show({names[daemon]: status and _facts(status) for daemon, status in statuses.items()}, table)
    report_down(vpctl, statuses)


def _facts(status: dict[str, Any]) -> dict[str, Any]:
    """What programs get."""
    stream = {key: value for key, value in status["stream"].items() if key not in ("t", "v", "stream")}
    facts = {**stream, "frames": status["counters"].get("frames", 0)}
    facts |= {key: status[key] for key in ("measured", "ring", "subscribers")}
    facts["dropped"] = {name: n for name, n in status["counters"].items() if name.startswith("dropped.")}
    return facts


def _cells(status: dict[str, Any]) -> list[str]:
    """What people get, in the order of HEADERS."""
    stream, measured, ring, subscribers = (status[key] for key in ("stream", "measured", "ring", "subscribers"))
    age_ns = measured["last_frame_age_ns"]
    return [
        f"{stream['state']}: {stream['reason']}" if stream["reason"] else stream["state"],
        str(stream["epoch"]),
        f"{measured['fps']:.1f} of {stream['fps']:.3g}",
        str(status["counters"].get("frames", 0)),
        _age(age_ns) if age_ns is not None else "-",
        f"{ring['bytes'] / (1 << 20):.1f}/{ring['max_bytes'] >> 20} MiB",
        f"{ring['held_ns'] / 1e9:.1f} s",
        f"{subscribers['headers']}/{subscribers['states']}/{subscribers['frames']}",
    ]


def _age(age_ns: int) -> str:
    """How long ago: what is fresh in ms, what is not in s."""
    return f"{age_ns // 1_000_000} ms" if age_ns < 10_000_000_000 else f"{age_ns // 1_000_000_000} s"

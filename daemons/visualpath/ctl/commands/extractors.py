"""`vpctl extractors`: each extractor and how it keeps up."""

from __future__ import annotations

from typing import Any

import click
from rich.table import Table

from visualpath.ctl.commands.status import collect, report_down
from visualpath.ctl.console import Vpctl, pass_vpctl
from visualpath.runtime.config import Config
from visualpath_protocol.endpoints import extractor_daemon

HEADERS = ("extractor", "plug-in", "venv", "state", "OBS/s", "p50 ms", "p95 ms", "lost, by reason", "streams")
LOSSES = ("skipped.", "dropped.", "refused.")


@click.command("extractors")
@pass_vpctl
def command(vpctl: Vpctl) -> None:
    """Show each extractor: where it runs, its rate, its latency and what it did not look at.

    The rate, and the time in ms from a frame's capture until its observations are sent, are of the last 5 s.
    """
    config = vpctl.config
    if not config.extractors:
        vpctl.show({}, f"no extractors in {config.path}")
        return
    names = {extractor_daemon(name): name for name in config.extractors}
    statuses = collect(vpctl, list(names))
    facts = {name: _facts(config, name, statuses[daemon]) for daemon, name in names.items()}
    table = Table(box=None, pad_edge=False)
    for header in HEADERS:
        table.add_column(header, overflow="fold")
    for name, each in facts.items():
        table.add_row(name, *_cells(each))
    vpctl.show(facts, table)
    report_down(vpctl, statuses)


def _facts(config: Config, name: str, status: dict[str, Any] | None) -> dict[str, Any]:
    """What programs get; the keys are the same for one that is down."""
    extractor = config.extractors[name]
    told = status["extractor"] if status is not None else {"state": "down"}
    counters = status["counters"] if status is not None else {}
    return {
        "group": extractor.group,
        "plugin": extractor.plugin,
        "version": told.get("version", ""),
        "venv": extractor.venv,
        "streams": config.streams_of(name),
        "drop": extractor.drop,
        "stride": extractor.stride,
        "phase": extractor.phase,
        "depends": extractor.depends,
        "state": told["state"],
        "backend": told.get("backend"),
        "registered": told.get("registered", False),
        "busy_ns": told.get("busy_ns", 0),
        "obs_per_s": told.get("obs_per_s", 0.0),
        "latency_ms": told.get("latency_ms", {"p50": None, "p95": None}),
        "observed": counters.get("sent.obs", 0),
        "lost": {reason: n for reason, n in sorted(counters.items()) if reason.startswith(LOSSES)},
    }


def _cells(facts: dict[str, Any]) -> list[str]:
    """What people get, in the order of HEADERS."""
    state = facts["state"]
    if state == "hung":
        state += f" for {facts['busy_ns'] / 1e9:.0f} s"
    elif state in ("ready", "busy", "degraded") and not facts["registered"]:
        state += ", not accepted by fusion"
    if facts["backend"] and facts["backend"]["name"]:
        state += f" on {facts['backend']['name']}"
    down = facts["state"] == "down"
    return [
        f"{facts['plugin']} {facts['version']}".rstrip(),
        facts["venv"],
        state,
        "-" if down else f"{facts['obs_per_s']:.1f}",
        *("-" if ms is None else f"{ms:.0f}" for ms in (facts["latency_ms"]["p50"], facts["latency_ms"]["p95"])),
        _losses(facts["lost"]),
        ", ".join(facts["streams"]) + (f" (1 of {facts['stride']} frames)" if facts["stride"] > 1 else ""),
    ]


def _losses(lost: dict[str, int]) -> str:
    """E.g. `backpressure 12, gap 3`: a skip goes by its reason alone."""
    return ", ".join(f"{reason.removeprefix('skipped.')} {n}" for reason, n in lost.items() if n) or "-"

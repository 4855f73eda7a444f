"""`vpctl doctor`: what is missing or wrong on this machine, and what mends it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from visualpath.core.errors import ConfigError
from visualpath.ctl.checks import CHECKS
from visualpath.ctl.checks.finding import Examined, Finding, problem
from visualpath.ctl.commands.status import collect
from visualpath.ctl.console import EXIT_CONFIG, EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.runtime.config import load_config
from visualpath.runtime.roles import local_roles

STYLES = {"ok": "green", "warning": "yellow", "problem": "bold red"}
RANKS = {"ok": 0, "warning": 1, "problem": 2}


Report = list[tuple[str, Finding]]
"""Findings with the name of the check that made them."""


@click.command("doctor")
@click.option("-q", "--quiet", is_flag=True, help="Leave out what is as it should be.")
@pass_vpctl
def command(vpctl: Vpctl, quiet: bool) -> None:
    """Say what is missing or wrong on this machine, and what mends it; the worst comes last."""
    report, code = _examine(vpctl)
    report.sort(key=lambda found: RANKS[found[1].level])
    shown = [(check, finding) for check, finding in report if not quiet or finding.level != "ok"]
    vpctl.show([{"check": check, **asdict(finding)} for check, finding in shown], _table(shown))
    problems, warnings = (sum(finding.level == level for _, finding in report) for level in ("problem", "warning"))
    summary = f"{_count(problems, 'problem')}, {_count(warnings, 'warning')}"
    if problems:
        vpctl.fail(summary, code)
    if not vpctl.as_json:
        click.echo(summary if warnings else "all is well")


def _examine(vpctl: Vpctl) -> tuple[Report, int]:
    """All findings, and the exit code should there be a problem among them."""
    try:
        config = load_config(vpctl.config_path, vpctl.variables)
    except ConfigError as error:
        bad = problem(str(error), "mend it there; `vpctl validate` shows what comes next")
        return [("configuration", bad), *_run("machine", None)], EXIT_CONFIG
    examined = Examined(config, collect(vpctl, [role.daemon for role in local_roles(config)]))
    with ThreadPoolExecutor(len(CHECKS)) as pool:
        found = pool.map(lambda check: _run(check, examined), CHECKS)
        return [finding for findings in found for finding in findings], EXIT_REFUSED


def _run(check: str, examined: Any) -> Report:
    """One check; what it may not even look at is a finding too."""
    try:
        return [(check, finding) for finding in CHECKS[check](examined)]
    except OSError as error:
        return [(check, problem(f"cannot be examined: {error}", "run vpctl as the user who runs the daemons"))]


def _table(report: Report) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check, finding in report:
        mend = f"\n-> {finding.mend}" if finding.mend else ""
        table.add_row(Text(finding.level, STYLES[finding.level]), check, finding.what + mend)
    return table


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

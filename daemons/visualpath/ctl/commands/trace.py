"""`vpctl trace`: how much is traced, what was traced, and what it says in numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table

from visualpath.ctl.commands.status import collect, report_down
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.names import complete_daemon
from visualpath.ctl.trace_files import TraceReader, open_files, trace_files
from visualpath.ctl.trace_summary import TraceSummary
from visualpath.observability.lines import decode_line
from visualpath.observability.records import TraceRecord
from visualpath.runtime.tracing import LEVELS

POLL_S = 0.2
TYPES = sorted(str(kind.__struct_config__.tag) for kind in TraceRecord.__subclasses__())

of_daemons = click.option(
    "--daemon", "daemons", multiple=True, shell_complete=complete_daemon, help="Only these; default: all."
)


@click.group("trace")
def command() -> None:
    """Trace what happens to each frame: switch it, follow it, add it up."""


@command.command("level")
@click.argument("level", required=False, type=click.Choice(list(LEVELS)))
@of_daemons
@pass_vpctl
def level_command(vpctl: Vpctl, level: str | None, daemons: tuple[str, ...]) -> None:
    """Show how much each daemon traces, or set it to LEVEL until the daemon's end.

    minimal: triggers; normal: also a summary of each frame, drops, delays and changes of state; verbose: also all
    signals and timings. `trace.level` of the YAML holds from the next start on.
    """
    args = {} if level is None else {"level": level}
    answers = collect(vpctl, vpctl.daemons(daemons), "trace", args)
    table = Table("daemon", "level", "lines written", "file", box=None, pad_edge=False)
    for daemon, answer in answers.items():
        row = (answer["level"], str(answer["written"]), answer["file"]) if answer is not None else ("down", "-", "-")
        table.add_row(daemon, *row)
    vpctl.show(answers, table)
    report_down(vpctl, answers)


@command.command("tail")
@of_daemons
@click.option("--type", "types", multiple=True, type=click.Choice(TYPES), help="Only these records; default: all.")
@click.option("-n", "--lines", type=click.IntRange(0), default=20, show_default=True, help="Last records, at most.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is traced; Ctrl-C ends it.")
@pass_vpctl
def tail_command(vpctl: Vpctl, daemons: tuple[str, ...], types: tuple[str, ...], lines: int, follow: bool) -> None:
    """Show the last records of the trace files; with --json the lines as they are."""
    chosen = vpctl.daemons(daemons)
    folder = vpctl.config.trace_dir
    with ExitStack() as stack, suppress(KeyboardInterrupt):
        readers = [TraceReader(folder, daemon, lambda line: _is_wanted(line, types)) for daemon in chosen]
        for reader in readers:
            stack.callback(reader.close)
        found = sorted((line for reader in readers for line in reader.last(lines)), key=_wall_ns)
        if not found and not follow:
            vpctl.fail(f"no such record in {folder}; `vpctl trace level normal` begins a trace", EXIT_REFUSED)
        _echo(vpctl, found[len(found) - min(lines, len(found)) :])
        while follow:
            time.sleep(POLL_S)
            gaps = {reader: reader.gaps for reader in readers}
            _echo(vpctl, sorted((line for reader in readers for line in reader.added()), key=_wall_ns))
            for reader in readers:
                if reader.gaps > gaps[reader]:
                    click.echo(f"vpctl: {reader.daemon}: lines are missing: a file went unread", err=True)


def _is_wanted(line: bytes, types: tuple[str, ...]) -> bool:
    if not types:
        return True
    try:
        return decode_line(line).record.record_type in types
    except msgspec.MsgspecError:
        return False


def _wall_ns(line: bytes) -> int:
    """When a line was emitted; what cannot be read comes first."""
    try:
        return decode_line(line).wall_ns
    except msgspec.MsgspecError:
        return 0


def _echo(vpctl: Vpctl, lines: list[bytes]) -> None:
    for line in lines:
        text = line.decode(errors="replace").rstrip("\n")
        if not vpctl.as_json:
            with suppress(msgspec.MsgspecError):  # of another version: shown as it is
                text = str(decode_line(line))
        click.echo(text)


@command.command("summary")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@pass_vpctl
def summary_command(vpctl: Vpctl, files: tuple[Path, ...]) -> None:
    """Add up trace FILES (default: all of the trace folder).

    For each component how long it took, how long frames were held for the whole window and for whom, what was left out
    and why, and the triggers.
    """
    summary = TraceSummary()
    for path in files:
        with path.open("rb") as lines:
            summary.add(lines)
    if not files:
        _add_all(vpctl, summary)
    facts = summary.facts()
    if vpctl.as_json:
        vpctl.show(facts, "")
        return
    click.echo(_head(facts))
    for table in _tables(facts):
        vpctl.console.print()
        vpctl.console.print(table)


def _add_all(vpctl: Vpctl, summary: TraceSummary) -> None:
    folder, daemons = vpctl.config.trace_dir, vpctl.daemons(())
    if not any(trace_files(folder, daemon) for daemon in daemons):
        vpctl.fail(f"no trace in {folder}; `vpctl trace level normal` begins one", EXIT_REFUSED)
    for daemon in daemons:
        for lines in open_files(folder, daemon):
            summary.add(lines)


def _head(facts: dict[str, Any]) -> str:
    text = f"{facts['records']} records"
    if facts["from"] is not None:
        text += f" from {facts['from']} to {facts['to']}"
    if facts["missing"]:
        text += f"; {facts['missing']} are missing: the disk was slower than the trace"
    if facts["unreadable"]:
        text += f"; {facts['unreadable']} lines cannot be read"
    return text


def _tables(facts: dict[str, Any]) -> Iterator[Table]:
    """A table for each part that has something to say."""
    if facts["timings"]:
        table = _table("component", "frames", "avg ms", "p50", "p95", "max")
        for component, times in facts["timings"].items():
            table.add_row(component, *_numbers(times))
        yield table
    delays = facts["sync_delays"]
    if delays["count"]:
        table = _table("sync delays", "count", "avg ms", "p50", "p95", "max")
        table.add_row("held to the end of the window", *_numbers(delays))
        yield table
        yield _counts("waited for", "times", delays["waiting_for"])
    if facts["drops"]:
        table = _table("left out by", "reason", "frames")
        for component, reasons in facts["drops"].items():
            for reason, count in reasons.items():
                table.add_row(component or "-", reason, str(count))
        yield table
    for key, name, unit in (
        ("sets", "fused", "frames"),
        ("late", "late from", "OBS"),
        ("triggers", "triggers", "count"),
    ):
        if facts[key]:
            yield _counts(name, unit, facts[key])


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for index, header in enumerate(headers):
        table.add_column(header, justify="right" if index else "left", overflow="fold")
    return table


def _counts(name: str, unit: str, counts: dict[str, int]) -> Table:
    table = _table(name, unit)
    for key, count in counts.items():
        table.add_row(key, str(count))
    return table


def _numbers(times: dict[str, Any]) -> list[str]:
    return [str(times["count"]), *(f"{times[key]:.1f}" for key in ("avg_ms", "p50_ms", "p95_ms", "max_ms"))]

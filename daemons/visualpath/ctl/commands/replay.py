"""`vpctl replay`: decide once more what was recorded, the same way or another."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from rich.table import Table

from visualpath.core.errors import ConfigError, PluginError, RecordError
from visualpath.ctl.console import EXIT_CONFIG, EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.process.record import files_at
from visualpath.process.replay import Difference, Replay, compare
from visualpath.runtime.config import load_config
from visualpath.runtime.variables import Variables
from visualpath_protocol.messages import Trig, seconds


def _speed(_context: click.Context, _parameter: click.Parameter, value: str) -> float | None:
    """How many times as fast as it was; None for `max`."""
    if value == "max":
        return None
    try:
        speed = float(value)
    except ValueError:
        speed = 0
    if not 0 < speed < float("inf"):
        raise click.BadParameter(f"{value!r} is no speed: write max, or a number above 0")
    return speed


@click.command("replay")
@click.argument("path", required=False, type=click.Path(path_type=Path), metavar="[FILE|DIR]")
@click.option(
    "--config", "other", type=click.Path(path_type=Path), help="Decide as this YAML's section fusion says instead."
)
@click.option(
    "--speed", callback=_speed, default="max", show_default=True, metavar="N|max", help="Times as fast as it was."
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the TRIGs there, as JSON lines.")
@pass_vpctl
def command(vpctl: Vpctl, path: Path | None, other: Path | None, speed: float | None, out: Path | None) -> None:
    """Feed a record (default: the latest run of this configuration's) to fusion once more.

    Without --config it ends with 0 if the TRIGs are those of the record, to the byte; else with 1. With it the
    difference is what you asked for, and no failure. It ends with 1 where the record is damaged or inputs are missing.
    """
    replay = make_replay(vpctl, path, other)
    try:
        _run(replay, speed)
    except RecordError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    except (ConfigError, PluginError) as error:
        vpctl.fail(str(error), EXIT_CONFIG)
    if out is not None:
        _write(vpctl, out, replay)
    difference = compare(replay.recorded, replay.decided)
    _show(vpctl, replay, difference, tried=str(other) if other is not None else "")
    if other is None and not difference.none:
        vpctl.fail("the replay decides otherwise than the record", EXIT_REFUSED)
    if not replay.whole:
        vpctl.fail("the record is not whole: the notes say what is missing", EXIT_REFUSED)


def make_replay(vpctl: Vpctl, path: Path | None, other: Path | None = None) -> Replay:
    """The replay of a file, of a folder's latest run, or (None) of the latest run of the configuration's record."""
    try:
        fusion = load_config(other, Variables(other)).fusion if other is not None else None
        return Replay(files_at(path if path is not None else vpctl.config.record_dir), fusion)
    except RecordError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    except ConfigError as error:
        vpctl.fail(str(error), EXIT_CONFIG)


def _run(replay: Replay, speed: float | None) -> None:
    started_s, first_ns = time.monotonic(), None
    shown = 0
    for step in replay.steps():
        if speed is None:
            continue
        first_ns = step.now_ns if first_ns is None else first_ns
        time.sleep(max(0.0, started_s + (step.now_ns - first_ns) / 1e9 / speed - time.monotonic()))
        for decided in replay.decided[shown:]:
            click.echo(str(decided.trig), err=True)
        shown = len(replay.decided)


def _write(vpctl: Vpctl, out: Path, replay: Replay) -> None:
    lines = [msgspec.json.encode(each.trig, enc_hook=plain) + b"\n" for each in replay.decided]
    try:
        out.write_bytes(b"".join(lines))
    except OSError as error:
        vpctl.fail(f"{out}: {error.strerror}", EXIT_REFUSED)


def _show(vpctl: Vpctl, replay: Replay, difference: Difference, tried: str) -> None:
    kinds = {kind: getattr(difference, kind) for kind in ("same", "gone", "added", "changed")}
    verdict = _verdict(len(replay.decided), difference, tried)
    verdict += "" if replay.whole else ", of what could be read"
    facts = {"verdict": verdict, "identical": difference.none, "whole": replay.whole, "notes": replay.notes}
    facts |= {kind: msgspec.to_builtins(trigs, enc_hook=plain) for kind, trigs in kinds.items()}
    table = Table("", "trigger", "stream", "label", "from", "to", "score", "reason", box=None, pad_edge=False)
    rows = [(kind, trig) for kind, trigs in kinds.items() for trig in trigs]
    for kind, trig in sorted(rows, key=lambda row: (row[1].stream, row[1].epoch, row[1].t_end_ns)):
        table.add_row(kind, *_cells(trig))
    if rows and not vpctl.as_json:
        vpctl.console.print(table)
    vpctl.show(facts, "\n".join([*(f"note: {note}" for note in replay.notes), verdict]))


def _cells(trig: Trig) -> tuple[str, ...]:
    span = seconds(trig.t_start_ns), seconds(trig.t_end_ns)
    return trig.trig_id, f"{trig.stream}/{trig.epoch}", trig.label, *span, f"{trig.score:.2f}", trig.reason


def plain(value: Any) -> Any:
    """What a plug-in may have put into a TRIG."""
    return value.tolist() if isinstance(value, np.ndarray) else str(value)


def _verdict(count: int, difference: Difference, tried: str) -> str:
    decided = f"{count} trigger{'' if count == 1 else 's'}"
    if difference.none:
        return f"{decided}, byte-identical to the record"
    counts = ", ".join(
        f"{len(trigs)} {kind}" for kind in ("same", "gone", "added", "changed") if (trigs := getattr(difference, kind))
    )
    return f"{decided} with {tried}; against the record: {counts}" if tried else f"{decided}; differs: {counts}"

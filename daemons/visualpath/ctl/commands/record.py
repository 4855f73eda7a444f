"""`vpctl record`: what is kept of fusion's inputs; `vpctl record save FILE`: a copy that stays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
from rich.table import Table

from visualpath.core.errors import RecordError
from visualpath.core.units import Duration
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, clock, pass_vpctl
from visualpath.process.record import files_at, joined, runs_in
from visualpath.process.survey import Survey, survey
from visualpath_protocol.clock import rfc3339
from visualpath_protocol.messages import seconds


def _duration(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    try:
        return None if value is None else Duration.parse(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.group("record", invoke_without_command=True)
@click.option(
    "--record", "path", type=click.Path(path_type=Path), help="A file or folder; default: the configuration's."
)
@click.pass_context
def command(context: click.Context, path: Path | None) -> None:
    """Show what is kept of fusion's inputs, for replay and explain; `record save` keeps a copy."""
    vpctl = context.find_object(Vpctl)
    assert vpctl is not None
    context.meta["path"] = path
    if context.invoked_subcommand is None:
        _show(vpctl, path if path is not None else vpctl.config.record_dir)


@command.command("save")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--last", "last_ns", callback=_duration, help="At least so much of its end, e.g. 10m; default: all.")
@pass_vpctl
@click.pass_context
def save(context: click.Context, vpctl: Vpctl, file: Path, last_ns: int | None) -> None:
    """Write the latest run into FILE, which replay and explain take as they take the folder.

    Whole files of the record are taken, so that it may be somewhat more than --last.
    """
    path = context.meta["path"]
    try:
        files = files_at(path if path is not None else vpctl.config.record_dir)
        chosen = files if last_ns is None else _reaching_back(files, last_ns)
        record = _save(chosen, file)
    except RecordError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    except FileExistsError:
        vpctl.fail(f"{file} is there already", EXIT_REFUSED)
    except OSError as error:
        vpctl.fail(f"{error.filename or file}: {error.strerror}", EXIT_REFUSED)
    vpctl.show({"file": str(file), **_facts(record)}, f"{file}: {_span(record)}, {_size(file.stat().st_size)}")


def _save(files: list[Path], file: Path) -> Survey:
    """Either all of it is in the file, or there is no file."""
    if file.exists():
        raise FileExistsError
    part = file.with_name(f"{file.name}.part")
    try:
        with part.open("wb") as out:
            out.writelines(joined(files))
        record = survey([part])
        part.rename(file)
    finally:
        part.unlink(missing_ok=True)
    return record


def _reaching_back(files: list[Path], last_ns: int) -> list[Path]:
    """The newest files that hold the last `last_ns` before the end."""
    end_ns = survey(files[-1:]).last_ns
    for n in range(len(files) - 1, 0, -1):
        if survey(files[n : n + 1]).first_ns <= end_ns - last_ns:
            return files[n:]
    return files


def _show(vpctl: Vpctl, path: Path) -> None:
    try:
        files = files_at(path)
        record = survey(files)
    except RecordError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    older = [file for run in list(runs_in(path).values())[:-1] for file in run] if path.is_dir() else []
    facts = {"path": str(path), "files": len(files), "bytes": _bytes(files), **_facts(record)}
    facts |= {"older_files": len(older), "older_bytes": _bytes(older)}
    table = Table("stream", "inputs", "frames", "triggers", "epochs", box=None, pad_edge=False)
    for name, stream in record.streams.items():
        epochs = [f"{epoch}: {seconds(a)} to {seconds(b)}" for epoch, (a, b) in stream.spans().items()]
        table.add_row(name, str(stream.inputs), str(len(stream.seen)), str(stream.trigs), ", ".join(epochs) or "-")
    lines = [f"{path}: the latest run, {len(files)} files, {_size(_bytes(files))}: {_span(record)}"]
    lines += [f"{len(older)} files of earlier runs, {_size(_bytes(older))}"] if older else []
    lines += [f"at {record.missing} places inputs are missing"] if record.missing else []
    lines += record.damage
    if not vpctl.as_json:
        vpctl.console.print(table)
    vpctl.show(facts, "\n".join(lines))


def _facts(record: Survey) -> dict[str, Any]:
    streams = {
        name: {"inputs": each.inputs, "frames": len(each.seen), "triggers": each.trigs, "epochs": each.spans()}
        for name, each in record.streams.items()
    }
    return {
        "from": rfc3339(record.wall_ns(record.first_ns)),
        "to": rfc3339(record.wall_ns(record.last_ns)),
        "span_ns": record.last_ns - record.first_ns,
        "lost": sum(head.lost for head in record.heads[1:]),
        "missing": record.missing,
        "damage": record.damage,
        "streams": msgspec.to_builtins(streams, str_keys=True),
    }


def _span(record: Survey) -> str:
    first, last = (rfc3339(record.wall_ns(ns)) for ns in (record.first_ns, record.last_ns))
    return f"{first} to {last}, {clock(record.last_ns - record.first_ns)}"


def _bytes(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"

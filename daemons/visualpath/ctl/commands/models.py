"""`vpctl models`: the weights that extractors need: which are there, whether they are right, and how they come."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from visualpath.core.errors import ModelError
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.model_choice import catalogue_of, recognised, store_of
from visualpath.models.fetch import Watch
from visualpath.models.install import install
from visualpath.models.manifest import Catalogue, Model
from visualpath.models.pull import Pulled, pull
from visualpath.models.store import USABLE, Checked, ModelStore

HEADERS = ("model", "needed by", "licence", "size", "state", "what to do")


@click.group("models", invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """List the models that extractors may need; verify, add and pull them. They lie in models_dir."""
    os.umask(0o022)  # daemons of other users read what lies there
    if context.invoked_subcommand is None:
        context.invoke(list_command)


@command.command("list")
@pass_vpctl
def list_command(vpctl: Vpctl) -> None:
    """List every model that an installed plug-in knows, with its licence and whether it is there."""
    store, catalogue = store_of(vpctl), _catalogue(vpctl)
    table = Table(*HEADERS, box=None, pad_edge=False)
    facts = []
    for model in catalogue.models.values():
        checked = store.check(model)
        facts.append(_facts(store, model, checked))
        mend = checked.why if checked.state not in (*USABLE, "missing") else ""
        mend = mend or ("" if checked.state in USABLE else model.command)
        size = _mebibytes(model.size_bytes)
        table.add_row(model.name, ", ".join(model.needed_by), model.licence, size, checked.state, mend)
    vpctl.show(facts, table if facts else "no plug-in that is installed here brings a manifest of models")


@command.command("verify")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@pass_vpctl
def verify_command(vpctl: Vpctl, names: tuple[str, ...]) -> None:
    """Read models again and compare them with their checksums; exit code 1 if one is damaged, or named and missing.

    Default: all that are there.
    """
    store, catalogue = store_of(vpctl), _catalogue(vpctl)
    table = Table("model", "state", "what is wrong", box=None, pad_edge=False)
    facts = []
    for model in _chosen(vpctl, catalogue, names or tuple(catalogue.models)):
        checked = store.check(model, thorough=True)
        if names or checked.state != "missing":
            facts.append(_facts(store, model, checked))
            table.add_row(model.name, checked.state, checked.why or "-")
    vpctl.show(facts, table if facts else f"no models in {store.folder}")
    bad = [fact["name"] for fact in facts if fact["state"] not in USABLE]
    if bad:
        vpctl.fail(f"not as they must be: {', '.join(bad)}", EXIT_REFUSED)


@command.command("add")
@click.argument("file", type=click.Path(path_type=Path, exists=True))
@click.argument("name", required=False)
@pass_vpctl
def add_command(vpctl: Vpctl, file: Path, name: str | None) -> None:
    """Copy FILE into models_dir: a model's file, its archive, or the folder of an unpacked pack.

    Which model it is, its checksum or its name tells; else NAME does. A file of which no checksum is known is taken
    as it is and pinned.
    """
    store, catalogue = store_of(vpctl), _catalogue(vpctl)
    try:
        model = recognised(catalogue, file, name)
        with store.lock(model):
            pins = install(store, model, file, str(file.resolve()))
    except (ModelError, OSError) as error:
        said = _said(store, error)
        vpctl.fail(said if str(file) in said else f"{file}: {said}", EXIT_REFUSED)
    _show(vpctl, [_placed(store, model, Pulled(True, pins))])


@command.command("pull")
@click.argument("names", metavar="NAME...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that are to be had and checked.")
@click.option("--trust", is_flag=True, help="Take a file of which no checksum is known, and pin that of this one.")
@pass_vpctl
def pull_command(vpctl: Vpctl, names: tuple[str, ...], everything: bool, trust: bool) -> None:
    """Download models into models_dir; one that was interrupted goes on where it stopped.

    Nothing gets its place before its size and checksum are right. $https_proxy, $no_proxy and $SSL_CERT_FILE are
    obeyed.
    """
    if bool(names) == everything:
        raise click.UsageError("name models, or give --all")
    store, catalogue = store_of(vpctl), _catalogue(vpctl)
    every = tuple(model.name for model in catalogue.models.values() if model.urls and (trust or model.checksummed))
    placed, failed = [], 0
    for model in _chosen(vpctl, catalogue, names or every):
        try:
            with _watched(vpctl, model) as watch:
                placed.append(_placed(store, model, pull(store, model, watch, trust=trust)))
        except (ModelError, OSError) as error:
            _note(_said(store, error))
            failed += 1
        except KeyboardInterrupt:
            vpctl.fail(f"interrupted; `vpctl models pull {model.name}` goes on where it stopped", EXIT_REFUSED)
    _show(vpctl, placed)
    if failed:
        raise click.exceptions.Exit(EXIT_REFUSED)


def _catalogue(vpctl: Vpctl) -> Catalogue:
    """The models that are known; what is wrong with manifests goes to stderr, and hides no other."""
    catalogue = catalogue_of(vpctl)
    for each in catalogue.problems:
        _note(each)
    return catalogue


def _chosen(vpctl: Vpctl, catalogue: Catalogue, names: tuple[str, ...]) -> list[Model]:
    try:
        return [catalogue.find(name) for name in dict.fromkeys(names)]
    except ModelError as error:
        vpctl.fail(str(error), EXIT_REFUSED)


@contextmanager
def _watched(vpctl: Vpctl, model: Model) -> Iterator[Watch]:
    """Show how a download goes on, to who watches; what went wrong is said to all."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(binary_units=True), TransferSpeedColumn())
    if not vpctl.as_json:
        _note(f"{model.name}: licence of the weights: {model.licence} ({model.licence_url})")
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(model.name, total=model.size)
        yield Watch(
            lambda there, whole: progress.update(task, completed=there, total=whole),
            lambda text: _note(f"{model.name}: {text}"),
        )


def _placed(store: ModelStore, model: Model, pulled: Pulled) -> dict[str, Any]:
    facts = {"name": model.name, "fetched": pulled.fetched, "path": str(store.path(model)), "pinned": pulled.pins}
    return {**facts, "licence": model.licence}


def _show(vpctl: Vpctl, placed: list[dict[str, Any]]) -> None:
    lines = []
    for each in placed:
        lines.append(f"{each['name']}: {'' if each['fetched'] else 'was there already: '}{each['path']}")
        for name, sha256 in each["pinned"].items():
            lines.append(f"  {name}: no manifest says what it must be; pinned is sha256 {sha256}")
    if placed or vpctl.as_json:
        vpctl.show(placed, "\n".join(lines))


def _facts(store: ModelStore, model: Model, checked: Checked) -> dict[str, Any]:
    """What programs get."""
    return {
        "name": model.name,
        "state": checked.state,
        "why": checked.why,
        "path": str(store.path(model)),
        "needed_by": model.needed_by,
        "licence": model.licence,
        "licence_url": model.licence_url,
        "origin": model.origin,
        "urls": model.urls,
        "size_bytes": model.size_bytes,
        "files": {name: {"size_bytes": each.size_bytes, "sha256": each.sha256} for name, each in model.files.items()},
        "came_from": store.record(model).origin,
        "pinned": store.record(model).pins,
        "command": model.command,
        "how": model.how,
    }


def _mebibytes(size_bytes: int | None) -> str:
    return "?" if size_bytes is None else f"{size_bytes / (1 << 20):.1f} MiB"


def _said(store: ModelStore, error: ModelError | OSError) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or store.folder}: {error.strerror or error}"
    return str(error)


def _note(text: str) -> None:
    click.echo(f"vpctl: {text}", err=True)

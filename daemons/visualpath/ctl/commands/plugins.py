"""`vpctl plugins`: the plug-ins of every venv; a new project for one; whether one keeps the contract."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import click
from rich.table import Table

from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.plugin_project import BadProject, create, install_steps
from visualpath.ctl.plugin_venvs import listed, registered, venvs
from visualpath.plugin.discovery import OLD_NAMES
from visualpath.plugin.models import use_models_dir
from visualpath.runtime.config import Config
from visualpath.runtime.roles import CORE_VENV
from visualpath.testing.conformance.checks import BY_KIND
from visualpath.testing.conformance.runner import try_plugin
from visualpath.testing.conformance.verdict import Busy, Kind, Limits, Verdict

HEADERS = ("plug-in", "kind", "venv", "version", "distribution", "depends", "pictures", "import")
AT_ONCE = 2
MARKS = {"ok": "ok", "warning": "warning", "failed": "FAILED", "untried": "-"}


@click.group("plugins")
def command() -> None:
    """List plug-ins, begin a new one, check one: docs/plugins.md."""


@command.command("list")
@pass_vpctl
def show(vpctl: Vpctl) -> None:
    """Show what each venv has, asked in that venv; of one that cannot be imported, why."""
    places = venvs(_config(vpctl))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = dict(zip(places, pool.map(listed, places.values()), strict=True))
    found = [{"venv": venv, **facts} for venv, plugins in answers.items() for facts in plugins]
    found.sort(key=lambda facts: (facts["kind"], facts["name"], facts["venv"]))
    table = Table(box=None, pad_edge=False)
    for header in HEADERS:
        table.add_column(header, overflow="fold")
    for facts in _alike(found):
        table.add_row(*_cells(facts))
    vpctl.show(found, table if found else "no plug-ins: `make venvs` builds the venvs of those that come along")


def _alike(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that differ in their venv alone, as one that names all these."""
    by_facts: dict[str, dict[str, Any]] = {}
    for facts in found:
        key = json.dumps({**facts, "venv": ""}, sort_keys=True)
        named = by_facts.setdefault(key, {**facts, "venv": ""})
        named["venv"] += f", {facts['venv']}" if named["venv"] else facts["venv"]
    return list(by_facts.values())


def _cells(facts: Mapping[str, Any]) -> list[str]:
    """What people get, in the order of HEADERS."""
    width = facts.get("input_width")
    pictures = f"{facts['pixel_format']}, {width or 'full'}" if facts.get("pixel_format") else ""
    state = facts.get("error") or "ok"
    if facts.get("group") in OLD_NAMES.values():
        state += f"; registered under an old name, {facts['group']}"
    return [
        facts["name"],
        facts["kind"],
        facts["venv"],
        str(facts.get("version") or ""),
        f"{facts.get('distribution', '')} {facts.get('distribution_version', '')}".strip(),
        ", ".join(map(str, facts.get("depends") or ())),
        pictures,
        state,
    ]


@command.command("new")
@click.argument("name")
@click.argument("folder", required=False, type=click.Path(path_type=Path))
@click.option("--fusion", is_flag=True, help="What decides, in place of what looks.")
@click.option("--depends", metavar="EXTRACTOR", help="One that looks at what EXTRACTOR (say, face) has found.")
@pass_vpctl
def new(vpctl: Vpctl, name: str, folder: Path | None, fusion: bool, depends: str | None) -> None:
    """Write a small plug-in NAME that works, with its test, into FOLDER (default: ./visualpath-NAME)."""
    if fusion and depends is not None:
        raise click.UsageError("--depends is for an extractor; what a fusion reads, its configuration says")
    folder = (folder or Path(f"visualpath-{name}")).resolve()
    try:
        files = create(name, folder, fusion=fusion, depends=depends)
    except BadProject as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    here = Path()  # after the cd, as docs/plugins.md has them
    steps = [f"cd {shlex.quote(str(folder))}", *install_steps(here, fusion=fusion)]
    steps += [] if fusion else [".venv/bin/pytest ."]
    steps.append(f"vpctl plugins check .{' --tape tests/tape.py' if fusion or depends else ''}")
    lines = [f"{folder}: {', '.join(files)}", "Next:", *(f"  {step}" for step in steps)]
    lines.append(f"Then change it; {folder / 'README.md'} says how it gets into visualpath.yaml.")
    vpctl.show({"folder": str(folder), "files": files, "next": steps}, "\n".join(lines))


@dataclass(frozen=True)
class _Found:
    """A plug-in to check, and where it is."""

    kind: Kind
    name: str
    venv: Path
    config: Mapping[str, Any]


@command.command("check")
@click.argument("target", metavar="PATH-or-NAME")
@click.option("--venv", metavar="VENV", help="A venv's name or folder; default: the one that has it.")
@click.option("--plugin-config", "config_text", metavar="JSON", help="Its config; default: as in visualpath.yaml.")
@click.option("--tape", type=click.Path(path_type=Path, exists=True), help="A Python file with tape(): what it is fed.")
@click.option("--frames", default=Limits().frames, type=click.IntRange(50), show_default=True, help="Of the long run.")
@pass_vpctl
def check(vpctl: Vpctl, target: str, venv: str | None, config_text: str | None, tape: Path | None, frames: int) -> None:
    """Run the conformance kit on a plug-in, or on all of a project's folder, in its own venv.

    Exit codes: 0: it conforms, perhaps with warnings; 1: it is refused, or not found; 2: wrong usage; 78: bad
    visualpath.yaml. It loads the models some 15 times and shows some 200 frames beside --frames, for which it takes two
    minutes at most. After 10 s it says what it is at.
    """
    report: list[dict[str, Any]] = []
    refused: list[str] = []
    for found in _find(vpctl, target, venv):
        if found.name == "rules" and found.kind == "fusion":
            vpctl.fail("rules are checked by `vpctl validate`", EXIT_REFUSED)
        config = _parsed(config_text) if config_text is not None else found.config
        if not vpctl.as_json:
            click.echo(f"{found.kind} {found.name} in {found.venv}")
        tell = (lambda _told: None) if vpctl.as_json else _print
        python = found.venv / "bin" / "python"
        verdicts = try_plugin(python, found.name, found.kind, config, tape or "", Limits(frames=frames), tell)
        untried = [check for check in BY_KIND[found.kind] if check not in {verdict.check for verdict in verdicts}]
        if untried and not vpctl.as_json:
            click.echo(f"  not tried: {', '.join(untried)}")
        refused += [found.name] if any(verdict.level == "failed" for verdict in verdicts) else []
        built = [{name: getattr(v, name) for name in ("check", "level", "text", "where")} for v in verdicts]
        report.append({"kind": found.kind, "name": found.name, "venv": str(found.venv), "checks": built})
    if vpctl.as_json:
        vpctl.show(report, "")
    if refused:
        vpctl.fail(f"refused: {', '.join(refused)}", EXIT_REFUSED)
    if not vpctl.as_json:
        click.echo(f"{', '.join(each['name'] for each in report)}: conforms")


def _print(verdict: Verdict | Busy) -> None:
    if isinstance(verdict, Busy):
        click.echo(f"  {'...':<8} {verdict.check:<13} {verdict.for_s:.0f} s so far, at {verdict.doing}", err=True)
        return
    click.echo(f"  {MARKS[verdict.level]:<8} {verdict.check:<13} {verdict.text}")
    if verdict.where:
        click.echo(f"  {'':<22} at {verdict.where}")


def _parsed(text: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--plugin-config") from error
    if not isinstance(parsed, dict):
        raise click.BadParameter("give a mapping, such as '{\"threshold\": 3}'", param_hint="--plugin-config")
    return parsed


def _find(vpctl: Vpctl, target: str, venv: str | None) -> list[_Found]:
    """The plug-ins meant; ends the call if there are none."""
    config = _config(vpctl)
    places = venvs(config)
    if venv is not None:
        folder = places.get(venv, Path(venv).resolve())
        if not (folder / "bin" / "python").exists():
            vpctl.fail(f"no venv {venv!r}; there are {', '.join(places)}, or give its folder", EXIT_REFUSED)
        places = {venv: folder}
    if "/" in target or Path(target).is_dir():
        return _of_folder(vpctl, Path(target).resolve(), places)
    if config is not None and venv is None:
        section = config.extractors.get(target) or next(
            (each for each in config.extractors.values() if each.group == target), None
        )
        if section is not None:
            return [_Found("extractor", section.plugin, config.venvs_dir / section.venv, section.config)]
        if config.fusion.plugin == target:
            return [_Found("fusion", target, config.venvs_dir / CORE_VENV, config.fusion.config)]
    return [_of_name(vpctl, target, places)]


def _of_name(vpctl: Vpctl, name: str, places: Mapping[str, Path]) -> _Found:
    """In the one venv that has it, else in that of its own name; a fusion in core, where it runs."""
    having = {venv: each for venv, folder in places.items() for each in registered(folder) if each.name == name}
    for venv, each in having.items():
        if len(having) == 1 or venv == (name if each.kind == "extractor" else CORE_VENV):
            return _Found(cast(Kind, each.kind), name, places[venv], {})
    if having:
        vpctl.fail(f"{name!r} is in {', '.join(having)}: say which with --venv", EXIT_REFUSED)
    return vpctl.fail(f"no plug-in {name!r} in any venv; `vpctl plugins list` shows what there is", EXIT_REFUSED)


def _of_folder(vpctl: Vpctl, project: Path, places: Mapping[str, Path]) -> list[_Found]:
    """Those that were installed from a project's folder."""
    own = project / ".venv"
    for venv in (own, *places.values()):
        found = [each for each in registered(venv) if each.folder == project]
        if found:
            return [_Found(cast(Kind, each.kind), each.name, venv, {}) for each in found]
    if not (project / "pyproject.toml").is_file():
        vpctl.fail(f"{project} is no project: it has no pyproject.toml", EXIT_REFUSED)
    steps = " && ".join(install_steps(project, fusion=False))
    return vpctl.fail(f"{project} is installed in no venv, or registers no plug-in: {steps}", EXIT_REFUSED)


def _config(vpctl: Vpctl) -> Config | None:
    """None where no visualpath.yaml is: a plug-in is written before there is one."""
    if not vpctl.config_path.exists():
        return None
    use_models_dir(vpctl.config.models_dir)
    return vpctl.config

"""`vpctl explain`: why there was, or was not, a trigger at a moment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click
import msgspec
from rich.table import Table

from visualpath.core.errors import ConfigError, PluginError, RecordError
from visualpath.core.fusion import Reading, RuleState
from visualpath.ctl.commands.replay import plain
from visualpath.ctl.console import EXIT_CONFIG, EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.names import complete_stream
from visualpath.process.explain import Answer, Verdict, explain
from visualpath.process.record import files_at
from visualpath.process.survey import find, survey
from visualpath_protocol.clock import NS_PER_MS, rfc3339
from visualpath_protocol.messages import seconds

TRUTH = {True: "true", False: "false", None: "unknown"}


@click.command("explain")
@click.option("--stream", required=True, shell_complete=complete_stream, help="Its name.")
@click.option("--at", required=True, help="Event time (12.5s), time before the end (-5s), or UTC (14:03:05, RFC 3339).")
@click.option("--epoch", type=click.IntRange(0), help="Default: the last one, or that of the UTC time.")
@click.option("--record", "path", type=click.Path(path_type=Path), help="A file or folder; default: the latest run.")
@click.option("--rule", "label", help="Only this rule; default: all.")
@pass_vpctl
def command(vpctl: Vpctl, stream: str, at: str, epoch: int | None, path: Path | None, label: str | None) -> None:
    """Say why there was, or was not, a trigger at a moment, from the record of what fusion was told."""
    try:
        files = files_at(path if path is not None else vpctl.config.record_dir)
        record = survey(files)
        answer = explain(files, stream, find(record, stream, at, epoch))
    except RecordError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    except (ConfigError, PluginError) as error:
        vpctl.fail(str(error), EXIT_CONFIG)
    rules = [rule for rule in answer.rules if label in (None, rule.label)]
    if label is not None and not rules:
        known = ", ".join(rule.label for rule in answer.rules) or "none that explains itself"
        vpctl.fail(f"no rule {label!r}; there are {known}", EXIT_REFUSED)
    captured = rfc3339(record.wall_ns(answer.mono_ns))
    if vpctl.as_json:
        facts = msgspec.to_builtins({**asdict(answer), "rules": rules, "captured": captured}, enc_hook=plain)
        vpctl.show(facts, "")
    else:
        _print(vpctl, answer, rules, captured)


def _print(vpctl: Vpctl, answer: Answer, rules: list[Verdict], captured: str) -> None:
    click.echo(_headline(answer, captured))
    for note in answer.notes:
        click.echo(f"note: {note}")
    if answer.failed:
        click.echo(f"the fusion plug-in failed on this frame: {vpctl.hide(answer.failed)}")
    vpctl.console.print(_sources(answer))
    labels = {rule.label for rule in rules}
    waiting = [each for each in answer.waiting if labels.intersection(each.labels)]
    for each in waiting:
        click.echo(f"\n{', '.join(each.labels)} waited for {each.what}{''.join(f'; {why}' for why in each.reasons)}")
        if each.readings:
            vpctl.console.print(_readings(each.readings))
    for rule in rules:
        together = [each for each in waiting if rule.label in each.labels]
        told = [reading for each in together for reading in each.readings]
        click.echo(f"\nrule {rule.label}: {rule.answer}")
        click.echo(f"  {_settings(rule.state, answer.frame_t_ns)}{'' if together else _waits(rule.state)}")
        vpctl.console.print(_readings(reading for reading in rule.state.readings if reading not in told))
    if not answer.rules:
        click.echo("\nthe fusion plug-in does not explain itself")
    own = {rule.fired for rule in rules}
    near = [f"{trig}: {trig.reason}" for trig in answer.triggers if trig.trig_id not in own]
    if near:
        click.echo("\n".join(["\ntriggers near that moment:", *near]))


def _headline(answer: Answer, captured: str) -> str:
    away_ns = answer.frame_t_ns - answer.t_ns
    away = f", {abs(away_ns) / 1e9:.3f} s {'after' if away_ns > 0 else 'before'} it" if away_ns else ""
    return (
        f"{answer.stream}/{answer.epoch} ({answer.stream_state}) {seconds(answer.t_ns)}: frame #{answer.frame_id} "
        f"{seconds(answer.frame_t_ns)}{away}, captured {captured}; "
        f"its set left after {answer.hold_ns / NS_PER_MS:.1f} ms: {answer.left}"
    )


def _sources(answer: Answer) -> Table:
    table = Table("source", "", "said", box=None, pad_edge=False)
    for source in answer.sources:
        said = " | ".join(" ".join(f"{k}={v:.4g}" for k, v in each.items()) or "no signals" for each in source.signals)
        table.add_row(source.source, source.state, source.why or said or "nothing found")
    return table


def _settings(rule: RuleState, t_ns: int) -> str:
    hold = "no hold" if rule.hold_from_ns is None else f"holds since {seconds(rule.hold_from_ns)}"
    cooldown = f", cooldown until {seconds(rule.cooldown_until_ns)}" if rule.cooldown_until_ns > t_ns else ""
    long = f", for {rule.for_ns / 1e9:g} s" if rule.for_ns else ""
    return f"{rule.condition} is {TRUTH[rule.holds]}{long}: {hold}{cooldown}"


def _waits(rule: RuleState) -> str:
    return f", waiting for {rule.waits_for}" if rule.waits_for else ""


def _readings(readings: Iterable[Reading]) -> Table:
    table = Table("  comparison", "is", "last value", "seen on", "stands until", box=None, pad_edge=False)
    for reading in readings:
        table.add_row(f"  {reading.comparison}", TRUTH[reading.holds], *_last(reading))
    return table


def _last(reading: Reading) -> tuple[str, ...]:
    if reading.value is None or reading.t_ns is None or reading.stands_until_ns is None:
        return "not seen", "-", "-"
    return (
        reading.shown or f"{reading.value:g}",
        f"#{reading.frame_id} {seconds(reading.t_ns)}",
        seconds(reading.stands_until_ns),
    )

"""`vpctl process`: a video through extractors and decision, without loss, into a folder."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from visualbase.errors import MediaError, SourceError
from visualbase.sources import local_path
from visualpath.core.errors import ConfigError, PluginError
from visualpath.core.fusion import BaseFusion, RuleState
from visualpath.ctl.console import EXIT_CONFIG, EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.offline_output import CLIPS, OfflineOutput, write_clips
from visualpath.ctl.offline_venvs import close_all, start_workers
from visualpath.ctl.rule_signals import never_gave, reads, signals_of
from visualpath.process.decision import make_fusion
from visualpath.process.worker import BaseWorker
from visualpath.runtime.config import Config
from visualpath.runtime.sections import ClipConfig, FusionConfig
from visualpath.video import VideoResult, watch

VENVS = Path(".venvs")
Signals = defaultdict[str, set[str]]


@click.command("process")
@click.argument("video")
@click.option(
    "-e", "--extractors", required=True, multiple=True, metavar="NAME[,NAME]...", help="What looks at it; repeatable."
)
@click.option("--fusion", metavar="NAME", help="What decides; default: as visualpath.yaml says, if there is one.")
@click.option("-o", "--out", "folder", required=True, type=click.Path(path_type=Path), help="A folder, empty or new.")
@click.option("--overlay", is_flag=True, help="Also write a video that shows what was seen and decided.")
@pass_vpctl
def command(
    vpctl: Vpctl, video: str, extractors: tuple[str, ...], fusion: str | None, folder: Path, overlay: bool
) -> None:
    """Look at every frame of VIDEO with every extractor, decide, and cut the clips.

    It is as exact as it is slow: nothing is dropped, and the same video gives the same files again. Extractors, rules
    and clip lengths are those of visualpath.yaml where it is there and names them, else their defaults; no daemon
    need run. Into the folder go obs.jsonl (an observation a line), triggers.jsonl, clips/ and, with --overlay,
    overlay.mp4.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        vpctl.fail(f"{folder} is not empty: give another folder, or empty it", EXIT_REFUSED)
    config = vpctl.config if vpctl.config_path.exists() or _config_is_named() else None
    names = list(dict.fromkeys(name.strip() for name in ",".join(extractors).split(",") if name.strip()))
    if not names:
        raise click.UsageError("name an extractor, as in: -e face,gesture")
    try:
        wanted = _wanted(config, fusion)
        decision = _fusion(wanted, names)
        workers = start_workers(names, config, config.venvs_dir if config is not None else VENVS)
    except ConfigError as error:
        vpctl.fail(str(error), EXIT_CONFIG)
    except PluginError as error:
        vpctl.fail(_first_line(error), EXIT_REFUSED)
    started = time.monotonic()
    try:
        result, observations, seen = _watch(video, workers, decision, folder, overlay=overlay)
        result.doubts += _lacking(wanted, names, seen)
        clip_config = config.clip if config is not None else ClipConfig()
        clips = write_clips(video, result.triggers, clip_config, folder / CLIPS) if _is_file(video) else []
    except (MediaError, PluginError) as error:
        vpctl.fail(_first_line(error), EXIT_REFUSED)
    except OSError as error:
        vpctl.fail(f"{error.filename or folder}: {error.strerror or error}", EXIT_REFUSED)
    finally:
        close_all(workers)
    facts = {
        "frames": result.frames,
        "observations": observations,
        "triggers": len(result.triggers),
        "clips": [str(path) for path in clips],
        "failed": dict(result.errors),
        "first_errors": result.first_errors,
        "dropped": dict(result.dropped),
        "doubts": result.doubts,
        "seconds": round(time.monotonic() - started, 1),
        "folder": str(folder),
    }
    _show(vpctl, result, facts)


def _config_is_named() -> bool:
    source = click.get_current_context().find_root().get_parameter_source("config_path")
    return source is not ParameterSource.DEFAULT


def _is_file(video: str) -> bool:
    """Whether clips can be cut out of it; they cannot out of single pictures."""
    try:
        return Path(local_path(video)).is_file()
    except SourceError:
        return False


def _wanted(config: Config | None, name: str | None) -> FusionConfig | None:
    """The decision asked for, with the configuration that visualpath.yaml has for it; None: nothing decides."""
    wanted = config.fusion if config is not None else None
    return FusionConfig(plugin=name) if name is not None and (wanted is None or wanted.plugin != name) else wanted


def _fusion(wanted: FusionConfig | None, extractors: list[str]) -> BaseFusion | None:
    if wanted is None:
        return None
    fusion = make_fusion(wanted)
    if lacking := [each for each in fusion.depends if each not in extractors]:
        raise PluginError(f"fusion {wanted.plugin!r} needs {', '.join(lacking)}: give it too, by -e")
    return fusion


def _lacking(wanted: FusionConfig | None, extractors: list[str], seen: Signals) -> list[str]:
    """Why nothing was decided, or not by a rule, where that is no matter of what the video shows."""
    if wanted is None:
        return ["nothing decides: there is no visualpath.yaml here, and no --fusion"]
    lines = []
    for rule in wanted.rules if wanted.plugin == "rules" else ():
        for source, signal in signals_of(rule):
            if source not in extractors:
                lines.append(f"{reads(rule, (source, signal))}: give {source} too, by -e")
            elif signal not in seen[source]:
                lines.append(never_gave(rule, (source, signal), seen[source]))
    return lines


def _first_line(error: Exception) -> str:
    """Without a child's traceback: its first line says what went wrong."""
    return str(error).partition("\n")[0]


def _watch(
    video: str, workers: list[BaseWorker], fusion: BaseFusion | None, folder: Path, *, overlay: bool
) -> tuple[VideoResult, int, Signals]:
    """What came of it, how many observations have been written, and which signals each extractor gave."""
    steps = watch(video, workers, fusion)
    first = next(steps)  # what is wrong with the video or the extractors is told before there is a folder
    result, observations = VideoResult(), 0
    seen: Signals = defaultdict(set)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[seen]}"), TimeElapsedColumn())
    with (
        closing(OfflineOutput(folder, overlay=overlay)) as output,
        Progress(*columns, console=Console(stderr=True), transient=True) as progress,
    ):
        task = progress.add_task(Path(video).name, total=None, seen="")
        for step in chain([first], steps):
            result.add(step)
            observations += len(step.observations)
            for observation in step.observations:
                seen[observation.source].update(observation.signals)
            output.add(step, _notes(fusion))
            if step.looked is not None:
                at_s = step.looked.frame.t_ns / 1e9
                progress.update(task, seen=f"{at_s:.1f} s, {result.frames} frames, {len(result.triggers)} triggers")
        output.finish()
    return result, observations, seen


def _notes(fusion: BaseFusion | None) -> list[str]:
    """How the decision stands, for the overlay."""
    states = fusion.explain() if fusion is not None else []
    words = {True: "yes", False: "no", None: "unknown"}
    lines = [f"moment {state.label}: {words[state.holds]}" for state in states]
    waiting = [state for state in states if state.waits_for]
    for what in dict.fromkeys(state.waits_for for state in waiting):
        those = [state for state in waiting if state.waits_for == what]
        blamed = [{each for each in state.readings if each.wanted is not None} for state in those]
        common = sorted(each.comparison for each in set.intersection(*blamed)) if len(those) > 1 else []
        who = "every moment waits" if len(those) == len(states) > 1 else _moments(those)
        lines.append(f"{who} for {what}{': ' if common else ''}{', '.join(common)}")
    return lines


def _moments(those: list[RuleState]) -> str:
    labels = ", ".join(state.label for state in those)
    return f"moments {labels} wait" if len(those) > 1 else f"moment {labels} waits"


def _show(vpctl: Vpctl, result: VideoResult, facts: dict[str, Any]) -> None:
    table = Table("from", "to", "label", "score", "reason", box=None, pad_edge=False)
    for trig in result.triggers:
        span = f"{trig.t_start_ns / 1e9:.3f}", f"{trig.t_end_ns / 1e9:.3f}"
        table.add_row(*span, trig.label, f"{trig.score:.2f}", trig.reason)
    if result.triggers and not vpctl.as_json:
        vpctl.console.print(table)
    lines = [
        "{frames} frames, {observations} observations, {triggers} triggers, {clips} clips in {seconds} s".format(
            **{**facts, "clips": len(facts["clips"])}
        ),
        f"{facts['folder']}: {', '.join(sorted(each.name for each in Path(facts['folder']).iterdir()))}",
        *result.doubts,
        *(f"of the video could not be read: {count} x {reason}" for reason, count in result.dropped.items()),
        *(f"{name} failed on {n} frames; first on {result.first_errors[name]}" for name, n in result.errors.items()),
    ]
    if result.triggers and not facts["clips"]:
        lines.append("no clips: they can be cut only out of a video file")
    vpctl.show(facts, "\n".join(lines))
    if result.errors:
        vpctl.fail(f"not every frame could be looked at: {', '.join(result.errors)} failed", EXIT_REFUSED)

"""`vpctl process`: a video through extractors and decision, without loss, into a folder."""

from __future__ import annotations

import time
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from visualbase.errors import MediaError
from visualpath.core.errors import ConfigError, PluginError
from visualpath.core.fusion import BaseFusion
from visualpath.ctl.console import EXIT_CONFIG, EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath.ctl.offline_output import CLIPS, OBSERVATIONS, OVERLAY, TRIGGERS, OfflineOutput, write_clips
from visualpath.ctl.offline_venvs import close_all, start_workers
from visualpath.process.decision import make_fusion
from visualpath.process.worker import BaseWorker
from visualpath.runtime.config import ClipConfig, Config, FusionConfig
from visualpath.video import VideoResult, watch

VENVS = Path(".venvs")


@click.command("process")
@click.argument("video")
@click.option("-e", "--extractors", required=True, metavar="NAME[,NAME]...", help="What looks at it.")
@click.option("--fusion", metavar="NAME", help="What decides; default: as visualpath.yaml says, if there is one.")
@click.option("-o", "--out", "folder", required=True, type=click.Path(path_type=Path), help="A folder, empty or new.")
@click.option("--overlay", is_flag=True, help="Also write a video that shows what was seen and decided.")
@pass_vpctl
def command(vpctl: Vpctl, video: str, extractors: str, fusion: str | None, folder: Path, overlay: bool) -> None:
    """Look at every frame of VIDEO with every extractor, decide, and cut the clips.

    It is as exact as it is slow: nothing is dropped, and the same video gives the same files again. Extractors, rules
    and clip lengths are those of visualpath.yaml where it is there and names them, else their defaults; no daemon
    need run. Into the folder go obs.jsonl (an observation a line), triggers.jsonl, clips/ and, with --overlay,
    overlay.mp4.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        vpctl.fail(f"{folder} is not empty: give another folder, or empty it", EXIT_REFUSED)
    config = vpctl.config if vpctl.config_path.exists() else None
    names = list(dict.fromkeys(name.strip() for name in extractors.split(",") if name.strip()))
    try:
        decision = _fusion(config, fusion)
        workers = start_workers(names, config, config.venvs_dir if config is not None else VENVS)
    except ConfigError as error:
        vpctl.fail(str(error), EXIT_CONFIG)
    except PluginError as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    started = time.monotonic()
    try:
        result = _watch(video, workers, decision, OfflineOutput(folder, overlay=overlay))
        clip_config = config.clip if config is not None else ClipConfig()
        clips = write_clips(video, result.triggers, clip_config, folder / CLIPS)
    except (MediaError, PluginError) as error:
        vpctl.fail(str(error), EXIT_REFUSED)
    except OSError as error:
        vpctl.fail(f"{error.filename or folder}: {error.strerror}", EXIT_REFUSED)
    finally:
        close_all(workers)
    _show(vpctl, result, clips, folder, time.monotonic() - started, overlay=overlay)


def _fusion(config: Config | None, name: str | None) -> BaseFusion | None:
    """The decision asked for, with the configuration that visualpath.yaml has for it; None: nothing decides."""
    configured = config.fusion if config is not None else None
    if name is None:
        return make_fusion(configured) if configured is not None else None
    if configured is not None and configured.plugin == name:
        return make_fusion(configured)
    return make_fusion(FusionConfig(plugin=name))


def _watch(video: str, workers: list[BaseWorker], fusion: BaseFusion | None, output: OfflineOutput) -> VideoResult:
    result = VideoResult()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[seen]}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(Path(video).name, total=None, seen="")
        try:
            for step in watch(video, workers, fusion):
                result.add(step)
                output.add(step, _notes(fusion))
                if step.looked is not None:
                    at_s = step.looked.frame.t_ns / 1e9
                    progress.update(task, seen=f"{at_s:.1f} s, {result.frames} frames, {len(result.triggers)} triggers")
        finally:
            output.close()
    return result


def _notes(fusion: BaseFusion | None) -> list[str]:
    """How the decision stands, for the overlay."""
    states = fusion.explain() if fusion is not None else []
    words = {True: "yes", False: "no", None: "unknown"}
    return [f"{state.label}: {words[state.holds]}" for state in states]


def _show(vpctl: Vpctl, result: VideoResult, clips: list[Path], folder: Path, took_s: float, *, overlay: bool) -> None:
    failed = {source: count for source, count in result.errors.items() if count}
    facts = {
        "frames": result.frames,
        "observations": len(result.observations),
        "triggers": len(result.triggers),
        "clips": [str(path) for path in clips],
        "failed": failed,
        "seconds": round(took_s, 1),
        "folder": str(folder),
    }
    table = Table("from", "to", "label", "score", "reason", box=None, pad_edge=False)
    for trig in result.triggers:
        span = f"{trig.t_start_ns / 1e9:.3f}", f"{trig.t_end_ns / 1e9:.3f}"
        table.add_row(*span, trig.label, f"{trig.score:.2f}", trig.reason)
    if result.triggers and not vpctl.as_json:
        vpctl.console.print(table)
    files = [OBSERVATIONS, TRIGGERS, *([CLIPS] if clips else []), *([OVERLAY] if overlay else [])]
    lines = [
        f"{result.frames} frames, {len(result.observations)} observations, {len(result.triggers)} triggers, "
        f"{len(clips)} clips in {took_s:.1f} s",
        *(f"{source} failed on {count} frames" for source, count in failed.items()),
        f"{folder}: {', '.join(files)}",
    ]
    vpctl.show(facts, "\n".join(lines))
    if failed:
        vpctl.fail("not every frame could be looked at: the table says how many", EXIT_REFUSED)

"""`vpctl clips`: what was kept, why something was not, and whether it is still what was saved."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from visualbase.verify import verify_clip
from visualpath.ctl.console import EXIT_REFUSED, Vpctl, pass_vpctl
from visualpath_protocol.endpoints import CLIP

MAX_FOUND = 20

limited = click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="How many, at most.")


@click.group("clips", invoke_without_command=True)
@limited
@click.pass_context
def command(context: click.Context, limit: int) -> None:
    """List the newest clips, the newest last; show, export and verify them. ID is the beginning of a clip's id, or of
    the id of one of its triggers."""
    if context.invoked_subcommand is None:
        context.invoke(list_command, limit=limit)


@command.command("list")
@limited
@pass_vpctl
def list_command(vpctl: Vpctl, limit: int) -> None:
    """List the newest clips, the newest last."""
    answer = vpctl.ask(CLIP, "clips", {"limit": limit})
    columns = ("clip", "stream", "label", "state", "triggers", "frames", "seconds", "gaps", "file or reason")
    table = Table(*columns, box=None)
    for clip in answer["clips"]:
        sidecar = clip["sidecar"]
        delivered = sidecar.get("delivered")
        table.add_row(
            clip["clip_id"],
            clip["stream"],
            clip["label"],
            clip["state"],
            str(len(clip["trig_ids"])),
            str(sidecar.get("frames", "-")),
            f"{(delivered[1] - delivered[0]) / 1e9:.2f}" if delivered else "-",
            ", ".join(gap["reason"] for gap in sidecar.get("gaps", [])) or "-",
            clip["why"] or clip["path"],
        )
    vpctl.show(answer, table if answer["clips"] else "no clips yet")


@command.command("show")
@click.argument("wanted", metavar="ID")
@pass_vpctl
def show_command(vpctl: Vpctl, wanted: str) -> None:
    """Show all that is known of one clip: its triggers and what it lacks."""
    clip, folder = _one(vpctl, wanted)
    sidecar = clip["sidecar"]
    lines = {
        "clip": clip["clip_id"],
        "state": ": ".join(filter(None, (clip["state"], clip["why"]))),
        "stream": f"{clip['stream']}, epoch {clip['epoch']}",
        "asked": _span(clip["asked"]),
    }
    if sidecar:
        lines["delivered"] = f"{_span(sidecar['delivered'])}, {sidecar['frames']} frames"
        lines["first frame"] = sidecar["first_frame_utc"]
        if clip["state"] == "saved":
            lines["file"] = str(folder / clip["path"])
        lines["codec"] = f"{sidecar['codec']}, {sidecar['width']}x{sidecar['height']}, {sidecar['size_bytes']} bytes"
        if clip["h264"].startswith("failed"):
            lines["H.264"] = clip["h264"]
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, value in lines.items():
        table.add_row(name, value)
    for trig in sidecar.get("triggers", ()):
        moment = _span((trig["t_start_ns"], trig["t_end_ns"]))
        reason = f": {trig['reason']}" if trig["reason"] else ""
        table.add_row("trigger", f"{trig['trig_id']} {trig['label']} {moment} score {trig['score']:.2f}{reason}")
    if not sidecar:
        for trig_id in clip["trig_ids"]:
            table.add_row("trigger", trig_id)
    for gap in sidecar.get("gaps", ()):
        table.add_row("lacks", f"{_span((gap['from'], gap['to']))}: {gap['reason']}")
    vpctl.show({**clip, "dir": str(folder)}, table)


@command.command("export")
@click.argument("wanted", metavar="ID")
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
@pass_vpctl
def export_command(vpctl: Vpctl, wanted: str, target: Path) -> None:
    """Copy a clip, its sidecar and its poster into DIR, which is made if need be; files of the same names there are
    replaced."""
    clip, folder = _one(vpctl, wanted)
    _refuse_unsaved(vpctl, clip)
    source = folder / clip["path"]
    if target.resolve() == source.parent.resolve():
        vpctl.fail(f"{target}: the clip lies there already", EXIT_REFUSED)
    copied = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for path in (source, source.with_suffix(".json"), source.with_suffix(".jpg")):
            _copy(path, target / path.name)
            copied.append(str(target / path.name))
    except OSError as error:
        vpctl.fail(f"{error.filename2 or error.filename}: {error.strerror}", EXIT_REFUSED)
    wrong = verify_clip(target / source.name)  # it may have become H.264 in between
    if wrong:
        vpctl.fail(f"{target / source.name}: {wrong[0]}", EXIT_REFUSED)
    vpctl.show(copied, "\n".join(copied))


@command.command("verify")
@click.argument("wanted", metavar="[ID]...", nargs=-1)
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="How many, at most.")
@pass_vpctl
def verify_command(vpctl: Vpctl, wanted: tuple[str, ...], limit: int) -> None:
    """Read clips again, decode all pictures, and compare with the sidecars, and these with the ledger; exit code 1 if
    anything is wrong.

    Default: those on disk among the newest.
    """
    table = Table("clip", "file", "what is wrong", box=None)
    found = {}
    for clip_id in _ids(vpctl, wanted, limit):
        clip, wrong = _verify(vpctl, clip_id)
        if clip["state"] == "saved":  # else it has been deleted meanwhile, as its time had come
            table.add_row(clip_id, clip["path"], "\n".join(wrong) or "-")
            found[clip_id] = wrong
    vpctl.show({"clips": len(found), "wrong": {key: wrong for key, wrong in found.items() if wrong}}, table)
    if any(found.values()):
        raise click.exceptions.Exit(EXIT_REFUSED)


def _ids(vpctl: Vpctl, wanted: tuple[str, ...], limit: int) -> list[str]:
    """The clips on disk that are wanted."""
    if not wanted:
        answer = vpctl.ask(CLIP, "clips", {"limit": limit, "brief": True})
        return [clip["clip_id"] for clip in answer["clips"] if clip["state"] == "saved"]
    clips = [_one(vpctl, each)[0] for each in wanted]
    for clip in clips:
        _refuse_unsaved(vpctl, clip)
    return [clip["clip_id"] for clip in clips]


def _verify(vpctl: Vpctl, clip_id: str) -> tuple[dict[str, Any], list[str]]:
    """A clip's row, and what is wrong with it; looked at again if the clip daemon was at work on it meanwhile."""
    clip, folder = _one(vpctl, clip_id)
    while True:
        known = None if clip["h264"] == "wanted" else clip["sidecar"]  # then the ledger is behind for a moment
        wrong = verify_clip(folder / clip["path"], known)
        before, (clip, _) = clip, _one(vpctl, clip_id)
        if not wrong or clip == before:
            return clip, wrong
        if clip["state"] != "saved":
            return clip, []


def _refuse_unsaved(vpctl: Vpctl, clip: dict[str, Any]) -> None:
    if clip["state"] != "saved":
        vpctl.fail(f"clip {clip['clip_id']} is not on disk: {clip['state']} {clip['why']}".rstrip(), EXIT_REFUSED)


def _copy(source: Path, target: Path) -> None:
    """All or nothing.

    Raises:
        OSError: the disk refuses.
    """
    part = target.with_name(f".{target.name}.tmp")
    try:
        shutil.copy2(source, part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _one(vpctl: Vpctl, wanted: str) -> tuple[dict[str, Any], Path]:
    """The only clip of this id, and the clips folder; ends the call if there is none, or several."""
    answer = vpctl.ask(CLIP, "clips", {"limit": MAX_FOUND, "id": wanted})
    clips = [clip for clip in answer["clips"] if clip["clip_id"] == wanted] or answer["clips"]
    if not clips:
        vpctl.fail(f"no clip {wanted!r}; `vpctl clips` lists them", EXIT_REFUSED)
    if len(clips) > 1:
        ids = ", ".join(clip["clip_id"] for clip in clips[:5])
        vpctl.fail(f"{wanted!r} may be any of {len(clips)} clips: {ids}", EXIT_REFUSED)
    return clips[0], Path(answer["dir"])


def _span(span: tuple[int, int] | list[int]) -> str:
    return f"{span[0] / 1e9:.3f} to {span[1] / 1e9:.3f} s"

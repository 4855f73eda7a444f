"""The tables of `make eval`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from scoring import Presence, Row

TITLES = {
    "faces": "faces, by face",
    "hands": "hands, by gesture (of people in full view only while they raise one; the truth may count two as one)",
    "persons": "persons, by pose (it knows one person: only whether there is any)",
}


def print_all(rows: Sequence[Row], outcome: Mapping[str, Any]) -> None:
    """Everything a person needs to judge."""
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 160)
    for kind, title in TITLES.items():
        console.print(title)
        console.print(presence_table([row for row in rows if row.kind == kind], kind != "persons"))
    for name, gestures in outcome["gestures"].items():
        console.print(f"gestures in {name}, frames: rows are shown, columns were seen")
        console.print(confusion_table(gestures["confusion"]))
    console.print("gestures where the truth does not name one, frames: whether they are right, a person has to judge")
    console.print(confusion_table(outcome["unjudged_gestures"]))
    console.print("\nwrong, in seconds of the file's own time; look at them:")
    for row in rows:
        for span in row.false:
            console.print(
                f"  {row.file:55} {row.kind:8} {span.start_s:7.2f} to {span.end_s:7.2f} ({span.frames} frames): "
                f"{span.there} there, {span.seen} seen"
            )
    for gestures in outcome["gestures"].values():
        for file, spans in gestures["false"].items():
            for span in spans:
                console.print(
                    f"  {file:55} gesture  {span['start_s']:7.2f} to {span['end_s']:7.2f} ({span['frames']} frames): "
                    f"{span['there']} shown, {span['seen']} seen"
                )
    costs = ", ".join(f"{name} {ms:.1f} ms" for name, ms in outcome["median_ms"].items())
    console.print(
        f"\n{outcome['frames']} frames in {outcome['seconds']:.0f} s; at most {outcome['most_fps']:g} a second of a "
        f"file, for {outcome['most_s']:g} s; median of a frame, all three at once: {costs}"
    )
    for error in outcome["errors"]:
        console.print(f"FAILED: {error}")


def presence_table(rows: Sequence[Row], counted: bool) -> Table:
    """Frames of each file on which any was seen, and was there."""
    table = Table()
    table.add_column("file")
    for column in ("frames", "hits", "false", "missed", "right none", "precision", "recall", "count error"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(row.file, *cells(row.presence, counted))
    every = [row.presence for row in rows]
    sums = {name: sum(getattr(each, name) for each in every) for name in ("hits", "false", "missed", "right_none")}
    frames = sum(sums.values())
    error = sum(each.count_error * frames_of(each) for each in every) / max(frames, 1)
    table.add_section()
    table.add_row("all", *cells(Presence(**sums, count_error=error), counted))
    return table


def cells(presence: Presence, counted: bool) -> list[str]:
    """One row, from the frames on."""
    shares = [f"{share:.3f}" if share is not None else "" for share in (presence.precision, presence.recall)]
    numbers = [presence.hits, presence.false, presence.missed, presence.right_none]
    return [str(frames_of(presence)), *map(str, numbers), *shares, f"{presence.count_error:.2f}" if counted else ""]


def frames_of(presence: Presence) -> int:
    """How many frames were judged."""
    return presence.hits + presence.false + presence.missed + presence.right_none


def confusion_table(pairs: Mapping[str, Mapping[str, int]]) -> Table:
    """Frames by what was shown and what was seen."""
    columns = sorted({seen for row in pairs.values() for seen in row})
    table = Table()
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for shown in sorted(pairs):
        table.add_row(shown, *(str(pairs[shown].get(column, "")) for column in columns))
    return table

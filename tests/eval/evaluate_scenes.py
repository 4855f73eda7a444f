"""`make eval-scene`: the cuts that scene finds in ../shared/media, beside those that a person saw there.

    evaluate_scenes.py [--media ../shared/media] [--out var/eval] [--every 1 3] [FILE...]

Looks at every frame of a minute of each file, in the extractor's own venv, through the host of the live chain; then
at every third alone, as it does in a chain that is too slow. Prints a table of each and what to look at; writes
OUT/scenes.json.
Exit code 0: everything could be read and looked at; how well is for the reader to judge.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from cut_scoring import CutScore, f1, score
from rich.console import Console
from rich.table import Table
from sampled import MOST_S, Looker, looker, parser, truths

TOLERANCE = 2
"""Frames, of those that are looked at."""

SEEN_BY_EYE = {"adx_bbb_800x640_768kbps_30fps_avc_2b_firstpts_10_sec.mp4": [10.2]}
"""Cuts that are there and that the truth leaves out: from the brook to the bird."""


def evaluated(look: Looker, known: Mapping[Path, Mapping[str, Any]], every: int) -> dict[str, CutScore]:
    """The score by file, of those whose cuts are known."""
    scores = {}
    for path, truth in known.items():
        if "hard_cuts" in truth:
            looked = [(frame, seen.signals["cut"]) for frame, seen in look.look(path, every)]
            numbers = {frame.frame_id: place for place, (frame, _) in enumerate(looked)}
            scores[path.name] = score(
                times_s=[frame.t_ns / 1e9 for frame, _ in looked],
                reports=[numbers[frame.frame_id] for frame, cut in looked if cut],
                cuts_s=[*truth["hard_cuts"], *SEEN_BY_EYE.get(path.name, ())],
                gradual_s=[(each["start"], each["end"]) for each in truth.get("gradual", ())],
                tolerance=TOLERANCE,
            )
    return scores


def table(scores: Mapping[str, CutScore]) -> Table:
    """A row for each file in which there is, or was seen, anything."""
    made = Table()
    made.add_column("file")
    for column in ("hits", "missed", "false", "F1", "frames late", "in gradual ones"):
        made.add_column(column, justify="right")
    for name, each in scores.items():
        if any((each.hits, each.missed, each.false, each.gradual)):
            made.add_row(name, *cells([each]))
    made.add_section()
    made.add_row(f"all {len(scores)}", *cells(list(scores.values())))
    return made


def cells(scores: Sequence[CutScore]) -> list[str]:
    """One row, from the hits on."""
    hits, missed, false = (sum(len(getattr(each, kind)) for each in scores) for kind in ("hits", "missed", "false"))
    late = [str(frames) for each in scores for frames in each.hits]
    share, gradual = f1(hits, missed, false), sum(len(each.gradual) for each in scores)
    told = (
        " ".join(late) if len(scores) == 1 else f"{min(map(int, late), default=0)} to {max(map(int, late), default=0)}"
    )
    return [str(hits), str(missed), str(false), f"{share:.3f}" if share is not None else "", told, str(gradual or "")]


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--every", type=int, nargs="+", default=[1, 3], help="look at every Nth frame")
    args = arguments.parse_args()
    known = truths(args.media, args.file)
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 160)
    outcome: dict[str, Any] = {"tolerance_frames": TOLERANCE, "most_s": MOST_S, "every": {}}
    with looker("scene") as look:
        for every in args.every:
            scores = evaluated(look, known, every)
            outcome["every"][every] = {name: asdict(each) for name, each in scores.items()}
            console.print(f"\ncuts found within {TOLERANCE} of the frames looked at, which were one of {every}")
            console.print(table(scores))
            for name, each in scores.items():
                for kind in ("missed", "false", "gradual"):
                    for t_s in getattr(each, kind):
                        console.print(f"  {kind:8} {name:60} {t_s:8.3f} s")
    outcome |= {"frames": len(look.times_ms), "median_ms": round(median(look.times_ms), 2), "errors": look.errors}
    console.print(f"\n{outcome['frames']} frames, median {outcome['median_ms']} ms")
    for error in look.errors:
        console.print(f"FAILED: {error}")
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "scenes.json"
    path.write_text(json.dumps(outcome, indent=1) + "\n")
    console.print(f"written: {path}")
    return int(bool(look.errors))


if __name__ == "__main__":
    sys.exit(main())

"""`make eval-ocr`: what ocr reads in ../shared/media, beside what a person reads there.

    evaluate_text.py [--media ../shared/media] [--out var/eval] [--config JSON] [FILE...]

Reads a frame every half second of a minute of each file, in the extractor's own venv, through the host of the live
chain. Prints how many characters are right, what is wrong, and all that was read where nothing is known to be written,
for a person to look; writes OUT/text.json.
Exit code 0: everything could be read and looked at; how well is for the reader to judge.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table
from sampled import MOST_S, Looker, looker, parser, truths
from text_scoring import TextScore, score
from written import WRITTEN

INTERVAL_S = 0.5


@dataclass
class Reading:
    """What was read.

    Attributes:
        scores: by file, where it is known what is written.
        elsewhere: in other files, by file: text, how often, and the best confidence.
        frames: how many were looked at there, by file.
    """

    scores: dict[str, TextScore] = field(default_factory=dict)
    elsewhere: dict[str, dict[str, tuple[int, float]]] = field(default_factory=dict)
    frames: Counter[str] = field(default_factory=Counter)

    def add(self, look: Looker, path: Path) -> None:
        """Read one file."""
        written = WRITTEN.get(path.name)
        known = []
        for frame, seen in look.look(path, interval_s=INTERVAL_S):
            t_s = frame.t_ns / 1e9
            truth = written.at(t_s) if written else None
            if truth is not None:
                known.append((t_s, truth, " ".join(each["text"] for each in seen.data)))
            elif written is None:
                self._note(path.name, seen.data)
        if written is not None:
            self.scores[path.name] = score(known, written.whole)

    def _note(self, name: str, lines: list[dict[str, Any]]) -> None:
        self.frames[name] += 1
        texts = self.elsewhere.setdefault(name, {})
        for each in lines:
            times, confidence = texts.get(each["text"], (0, 0.0))
            texts[each["text"]] = times + 1, max(confidence, each["confidence"])


def print_all(console: Console, reading: Reading, outcome: Mapping[str, Any]) -> None:
    """The tables."""
    table = Table("file", title="characters that are right")
    for column in ("pictures", "without spaces", "with spaces"):
        table.add_column(column, justify="right")
    for name, each in reading.scores.items():
        table.add_row(name, str(each.pictures), f"{each.characters:.4f}", f"{each.spaced:.4f}")
    console.print(table)
    for name, each in reading.scores.items():
        if each.worst is not None:
            t_s, truth, read = each.worst
            console.print(
                f"  worst of {name}, at {t_s:.2f} s:\n    there: {' '.join(truth.split())}\n    read:  {read}"
            )
    console.print("\nread where nothing is known to be written; look at it:")
    for name, texts in reading.elsewhere.items():
        for text, (times, confidence) in texts.items():
            console.print(f"  {name:60} {times:3} of {reading.frames[name]:3} frames, {confidence:.2f}: {text!r}")
    nothing = sum(1 for texts in reading.elsewhere.values() if not texts)
    console.print(f"nothing in {nothing} other files of {len(reading.elsewhere)}")
    console.print(f"\n{outcome['frames']} frames, median {outcome['median_ms']} ms, longest {outcome['longest_ms']} ms")
    for error in outcome["errors"]:
        console.print(f"FAILED: {error}")


def main() -> int:
    arguments = parser(__doc__.splitlines()[0])
    arguments.add_argument("--config", type=json.loads, default={}, help="of the extractor, as JSON")
    args = arguments.parse_args()
    known = truths(args.media, args.file)
    reading = Reading()
    with looker("ocr", args.config) as look:
        for path in known:
            reading.add(look, path)
    outcome = {
        "interval_s": INTERVAL_S,
        "most_s": MOST_S,
        "frames": len(look.times_ms),
        "median_ms": round(median(look.times_ms), 1),
        "longest_ms": round(max(look.times_ms), 1),
        "scores": {name: asdict(each) for name, each in reading.scores.items()},
        "elsewhere": reading.elsewhere,
        "errors": look.errors,
    }
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 160)
    print_all(console, reading, outcome)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "text.json"
    path.write_text(json.dumps(outcome, indent=1) + "\n")
    console.print(f"written: {path}")
    return int(bool(look.errors))


if __name__ == "__main__":
    sys.exit(main())

"""`make eval`: what face, gesture and pose see in every file of ../shared/media, beside what a person saw there.

    evaluate.py [--media ../shared/media] [--out var/eval] [FILE...]

Every extractor looks at every sampled frame (10 a second, of a minute, at most), in a process of its own as in the live
chain, and starts anew with each file. Prints tables, and when each file was seen wrongly, for a person to look; writes
OUT/eval.json.
Exit code 0: everything could be read and looked at; how well is for the reader to judge.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from media import MOST_FPS, MOST_S, Media, load
from report import print_all
from scoring import FalseSpan, Presence, Row, confusion, false_spans, presence_is_false

from visualbase.errors import SourceError
from visualpath.process.offline import Looked, Pipeline
from visualpath.process.subprocess_worker import VenvWorker
from visualpath.process.view import JpegFrame

ROOT = Path(__file__).parents[2]
MEDIA = ROOT.parent / "shared/media"
SIGNALS = {"faces": ("face", "count"), "hands": ("gesture", "hands"), "persons": ("pose", "persons")}
EXTRACTORS = ("face", "gesture", "pose")
NOTHING = NO_HAND, NO_GESTURE = "no hand", "none"
STREAM = "eval"


@dataclass
class Seen:
    """What was seen in one file, frame by frame: seconds, how many, and the clearest gesture."""

    counts: dict[str, list[tuple[float, int]]] = field(default_factory=lambda: {kind: [] for kind in SIGNALS})
    gestures: list[tuple[float, str]] = field(default_factory=list)

    def add(self, looked: Looked) -> None:
        """Take one frame; what an extractor failed on is missing here and told in `Run.errors`."""
        t_s = looked.frame.t_ns / 1e9
        signals = {name: each.observation.signals for name, each in looked.results.items() if each.observation}
        for kind, (source, signal) in SIGNALS.items():
            if source in signals:
                self.counts[kind].append((t_s, round(signals[source][signal])))
        if "gesture" in signals:
            self.gestures.append((t_s, clearest(signals["gesture"])))


def clearest(signals: dict[str, float]) -> str:
    """The gesture with the best score; `NO_GESTURE`: hands that show nothing."""
    if not signals["hands"]:
        return NO_HAND
    best = max((name for name in signals if name != "hands"), key=lambda name: signals[name])
    return best if signals[best] else NO_GESTURE


class Run:
    """All files through all extractors.

    Attributes:
        seen: by place of the file.
        errors: what could not be read or looked at.
        times_ms: of each extractor, per frame.
    """

    def __init__(self, files: Sequence[Media]) -> None:
        self.files = files
        self.seen = [Seen() for _ in files]
        self.errors: list[str] = []
        self.times_ms: dict[str, list[float]] = {name: [] for name in EXTRACTORS}

    def work(self) -> None:
        """Look at everything."""
        with ExitStack() as stack:
            workers = [stack.enter_context(VenvWorker(name, ROOT / ".venvs/face")) for name in EXTRACTORS]
            for looked in Pipeline(workers).look(self._frames()):
                self.seen[looked.frame.epoch].add(looked)
                for name, result in looked.results.items():
                    self.times_ms[name].append(result.timing_ms)
                    if result.error is not None:
                        file = self.files[looked.frame.epoch].path.name
                        self.errors.append(f"{file}: {name} at {looked.frame.t_ns / 1e9:.2f} s: {result.error}")

    def _frames(self) -> Iterator[JpegFrame]:
        """Of all files in turn, each an epoch of its own, which makes extractors forget the one before."""
        for place, media in enumerate(self.files):
            print(
                f"\r{place + 1:3} of {len(self.files)}  {media.path.name[:60]:60}", end="", file=sys.stderr, flush=True
            )
            try:
                yield from media.frames(place, STREAM)
            except SourceError as error:
                self.errors.append(f"{media.path.name}: {error}")
        print(file=sys.stderr)

    def rows(self) -> list[Row]:
        """Per file and kind, where the truth is known."""
        rows = []
        for media, seen in zip(self.files, self.seen, strict=True):
            for kind, truth in media.truths.items():
                verdicts = truth.judged(seen.counts[kind])
                if verdicts:
                    spans = false_spans(verdicts, presence_is_false)
                    rows.append(Row(media.path.name, kind, Presence.of(verdicts), spans))
        return rows

    def gestures(self, of_images: bool) -> tuple[dict[str, dict[str, int]], dict[str, list[FalseSpan]]]:
        """What was shown and what was seen in pictures, or in videos; and, by file, when it was something else."""
        pairs: list[tuple[str, str]] = []
        false: dict[str, list[FalseSpan]] = {}
        for media, seen in zip(self.files, self.seen, strict=True):
            if media.is_image != of_images:
                continue
            shown = [(t_s, media.gesture_at(t_s), got) for t_s, got in seen.gestures]
            verdicts = [(t_s, there, got) for t_s, there, got in shown if there is not None]
            pairs += [(there, got) for _, there, got in verdicts]
            if spans := false_spans(verdicts, lambda there, got: there != got):
                false[media.path.name] = spans
        return confusion(pairs), false

    def unjudged(self) -> dict[str, dict[str, int]]:
        """By file: how often each gesture was seen where it is not known what hands show."""
        return confusion(
            (media.path.name, got)
            for media, seen in zip(self.files, self.seen, strict=True)
            for t_s, got in seen.gestures
            if got not in NOTHING and media.gesture_at(t_s) is None
        )


def as_json(run: Run, seconds: float) -> dict[str, Any]:
    """All of it, for programs."""
    gestures = {}
    for name, of_images in (("images", True), ("videos", False)):
        table, false = run.gestures(of_images)
        gestures[name] = {
            "confusion": table,
            "false": {file: [asdict(each) for each in spans] for file, spans in false.items()},
        }
    return {
        "frames": len(run.times_ms[EXTRACTORS[0]]),
        "seconds": round(seconds, 1),
        "most_fps": MOST_FPS,
        "most_s": MOST_S,
        "median_ms": {name: round(median(times), 2) for name, times in run.times_ms.items() if times},
        "presence": [asdict(row) for row in run.rows()],
        "gestures": gestures,
        "unjudged_gestures": run.unjudged(),
        "errors": run.errors,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--media", type=Path, default=MEDIA)
    parser.add_argument("--out", type=Path, default=ROOT / "var/eval")
    parser.add_argument("file", nargs="*", help="names of files; default: all")
    args = parser.parse_args()
    if not args.media.is_dir():
        print(f"{args.media} is absent: nothing to look at")
        return 1
    files = [media for media in load(args.media) if not args.file or media.path.name in args.file]
    if unknown := set(args.file) - {media.path.name for media in files}:
        print(f"nothing is known of {', '.join(sorted(unknown))}")
        return 1
    began = time.monotonic()
    run = Run(files)
    run.work()
    outcome = as_json(run, time.monotonic() - began)
    print_all(run.rows(), outcome)
    args.out.mkdir(parents=True, exist_ok=True)
    path = args.out / "eval.json"
    path.write_text(json.dumps(outcome, indent=1) + "\n")
    print(f"\nwritten: {path}")
    return int(bool(run.errors))


if __name__ == "__main__":
    sys.exit(main())

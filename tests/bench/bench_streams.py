"""Four cameras at once for ten minutes: what each daemon uses, what is lost, and whether memory stays flat.

    bench_streams.py [--seconds 600] [--every 10] [--scripted] [--video FILE]

Four streams of 1280x720 at 10 fps (or FILE, four times over, looped), extractor `quality` (and one that takes 10 ms),
rules that fire 3.3 times a minute for each stream, clips that merge and become H.264; all daemons under supervisord.
Exit code 0: memory and file descriptors are flat, no frame is lost, and every trigger has its whole clip; 1: not.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path

from rich.console import Console
from streams_chain import (
    NEEDED,
    Chain,
    FaultError,
    bare_picture_s,
    configuration,
    finish,
    start,
    told,
)
from streams_figures import MIN_SAMPLES, lacking
from streams_measured import Measured
from streams_report import report
from streams_usage import sample

from visualbase.verify import verify_clip


def measure(chain: Chain, seconds: float, every_s: float, picture_s: float | None) -> Measured:
    """Watch the running chain for so long, then let it finish its clips and look at them."""
    before, samples = told(chain), [sample(chain)]
    for n in range(1, round(seconds / every_s) + 1):
        time.sleep(max(0.0, samples[0].at_s + n * every_s - time.monotonic()))
        samples.append(sample(chain))
    after = told(chain)
    kept = finish(chain)
    wrong: dict[str, list[str]] = {}
    for clip in kept.clips:
        found = look_at(chain.config.clips_dir, clip)
        for trig_id in clip["trig_ids"]:
            wrong.setdefault(trig_id, []).extend(found)
    return Measured(samples, before, after, picture_s, kept.triggers, wrong, len(kept.clips))


def look_at(folder: Path, clip: dict[str, str]) -> list[str]:
    """Return what is wrong with a clip of the ledger; all its pictures are decoded."""
    if clip["state"] != "saved" or clip["h264"] != "done":
        return [f"clip {clip['clip_id']} is {clip['state']} {clip['why']}, H.264 {clip['h264']}"]
    path = folder / clip["path"]
    return [*verify_clip(path), *lacking(json.loads(path.with_suffix(".json").read_bytes()))]


def play(args: argparse.Namespace, console: Console) -> bool:
    """Start the chain, watch it, and print what came of it; return whether all targets are met."""
    picture_s = None if args.video else bare_picture_s()
    with Chain(configuration(args.video, scripted=args.scripted), NEEDED) as chain:
        start(chain)
        console.print(f"{len(chain.roles)} daemons run; watched for {args.seconds:g} s ...")
        run = measure(chain, args.seconds, args.every, picture_s)
    return report(run, console)


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="four cameras at once: CPU, memory, losses, clips")
    parser.add_argument("--seconds", type=float, default=600.0, help="default 600; below 300 filling caches count too")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between two samples; default 10")
    parser.add_argument("--scripted", action="store_true", help="a second extractor, which takes 10 ms")
    parser.add_argument("--video", type=Path, help="a file, looped, in each of the four streams; default synthetic://")
    args = parser.parse_args()
    if args.seconds < (shortest_s := 3 * MIN_SAMPLES * args.every):
        parser.error(f"--seconds must be {shortest_s:g} or more for a sample every {args.every:g} s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: everything is taken down first
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
    try:
        met = play(args, console)
    except FaultError as error:
        console.print(f"MISSED: {error}")
        met = False
    except KeyboardInterrupt:
        return 130
    console.print("\nall targets are met" if met else "\nnot all targets are met")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

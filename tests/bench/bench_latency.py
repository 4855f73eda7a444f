"""Fused latency of a real chain, beside the documents' fixed-window loop fed with the same arrivals; and six faults.

    bench_latency.py [--seconds 60] [--rows latency,killed,...]

Four scripted extractors look at 640x480 at 30 fps and drop while busy; all daemons are processes, over ipc. Latency is
from the frame daemon's `mono_ns` to the `mono_ns` of fusion's `set` event. The loop is fed, in the same order and at
the same times, what fusion received (its `obs` events). The ratio of the two decides, and the longest wait under each
fault; the milliseconds are for orientation. Exit code 0: all targets are met; 1: not.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from latency_chain import BUSY, WINDOW_MS, FaultError, cpu_s, running, write_video
from latency_faults import DRAIN_S, FAULTS, WARM_UP_S, Row, counted, moved, play
from latency_figures import Latency, sets_of_loop, share_in_sets
from latency_watch import Watch
from rich.console import Console
from rich.table import Table

from visualpath_protocol.clock import NS_PER_S, mono_ns

RATIO_TARGET = 0.45
ORIENTATION_MS = (55, 95, 111)
HOLD_TARGET_MS = WINDOW_MS + 15
LATENCY = "latency"
ROWS = (LATENCY, *FAULTS)


@dataclass(frozen=True)
class Measured:
    """What the run without faults gave; shares are of the OBS, CPU is of one core by daemon, 0 to 1."""

    engine: Latency
    loop: Latency
    engine_share: float | None
    loop_share: float | None
    frames: int
    counters: list[str]
    cpu: dict[str, float]
    load: float

    @property
    def ratio(self) -> float:
        return self.engine.p50 / self.loop.p50


def measure(video: Path, seconds: float) -> Measured:
    """Run the chain so long, without faults."""
    with running(video, BUSY) as (chain, _), closing(Watch(chain.config.endpoints())) as watch:
        watch.run(WARM_UP_S)
        before, cpu_before, began_ns = counted(chain), cpu_s(chain), mono_ns()
        watch.run(seconds)
        ended_ns, cpu_after, after = mono_ns(), cpu_s(chain), counted(chain)
        watch.run(DRAIN_S)
    elapsed_s = (ended_ns - began_ns) / NS_PER_S
    captured = {key: at_ns for key, at_ns in watch.captured.items() if began_ns <= at_ns < ended_ns}
    loop = sets_of_loop(watch.arrivals)
    return Measured(
        engine=Latency.of(captured, watch.sets),
        loop=Latency.of(captured, loop),
        engine_share=share_in_sets(captured, watch.arrivals, watch.sets),
        loop_share=share_in_sets(captured, watch.arrivals, loop),
        frames=len(captured),
        counters=moved(before, after),
        cpu={daemon: (cpu_after[daemon] - cpu_before[daemon]) / elapsed_s for daemon in cpu_after},
        load=os.getloadavg()[0],
    )


def show_latency(measured: Measured, seconds: float, console: Console) -> bool:
    """Print the run without faults and its verdict; return whether the target is met."""
    console.print(f"latency: {measured.frames} frames in {seconds:g} s, from capture to set, ms")
    table = Table("", "p50", "p95", "p99", "max", "sets", "OBS in sets", box=None, pad_edge=False)
    rows = ("engine", measured.engine, measured.engine_share), ("fixed-window loop", measured.loop, measured.loop_share)
    for name, latency, share in rows:
        times = (f"{ms:.1f}" for ms in (latency.p50, latency.p95, latency.p99, latency.longest))
        table.add_row(name, *times, str(latency.frames), percent(share))
    console.print(table)
    met = measured.ratio <= RATIO_TARGET
    console.print(f"{verdict(met)}: p50 / p50 = {measured.ratio:.3f}, target {RATIO_TARGET}; this decides")
    figures = zip(ORIENTATION_MS, (measured.engine.p50, measured.engine.p95, measured.engine.p99), strict=True)
    inside = ", ".join(f"{found:.1f} of {wanted}" for wanted, found in figures)
    console.print(f"for orientation, ms: p50, p95, p99 {inside} on two cores; ", end="")
    console.print(f"here {os.cpu_count()} cores, load {measured.load:.2f} at the end")
    used = ", ".join(f"{daemon} {share:.1%}" for daemon, share in measured.cpu.items())
    console.print(f"CPU, of one core: {used}; fusion's is with `obs` and `set` tapped, which costs it something")
    console.print(
        f"counters beside the normal ones (late, lost, dropped, ...): {', '.join(measured.counters) or 'none'}"
    )
    return met


def fault_table() -> Table:
    """Return the head of the table of faults."""
    sets = "whole sets", "OBS in sets", "frames, no set"
    columns = "fault", "what", "longest wait", "capture to set, max", *sets, "counters moved"
    return Table(*columns, box=None, pad_edge=False)


def add_row(table: Table, name: str, row: Row) -> bool:
    """Add one fault and its verdict; return whether the target is met."""
    met = row.hold_ms <= HOLD_TARGET_MS
    whole = f"{percent(row.whole_before)} -> {percent(row.whole_after)}"
    table.add_row(
        name, FAULTS[name].what, f"{row.hold_ms:.1f} ms {verdict(met)}", f"{row.longest_ms:.1f} ms", whole,
        percent(row.in_sets), f"{row.frames}, {row.unfused}", "\n".join(row.counters) or "none",
    )  # fmt: skip
    return met


def percent(share: float | None) -> str:
    """Return a share for people."""
    return "-" if share is None else f"{share:.2%}"


def verdict(met: bool) -> str:
    """Return the word for it."""
    return "ok" if met else "MISSED"


def run(rows: list[str], seconds: float, console: Console) -> bool:
    """Play the rows and print what came of each; return whether all targets are met."""
    met = True
    table = fault_table()
    with tempfile.TemporaryDirectory(prefix="vp-bench-") as folder:
        video = Path(folder) / "moving.mp4"
        write_video(video)
        for name in rows:
            console.print(f"playing {name} ...")
            try:
                if name == LATENCY:
                    met &= show_latency(measure(video, seconds), seconds, console)
                else:
                    met &= add_row(table, name, play(FAULTS[name], video))
            except FaultError as error:  # the other rows tell nevertheless
                console.print(f"{verdict(False)}: {name}: {error}")
                met = False
    if table.row_count:
        console.print(f"\nfaults: the longest wait of any frame, target {HOLD_TARGET_MS} ms (the window and 15 ms)")
        console.print(table)
        console.print("whole sets: no source is missing, before -> from the fault on; OBS in sets: from the fault on")
        console.print("counters: of fusion, without the normal ones, and drops of extractors")
    return met


def chosen_rows(text: str) -> list[str]:
    """Read --rows."""
    rows = text.split(",")
    if unknown := [row for row in rows if row not in ROWS]:
        raise argparse.ArgumentTypeError(f"no row {', '.join(unknown)}; there are {', '.join(ROWS)}")
    return rows


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="fused latency of a real chain, and six faults")
    parser.add_argument("--seconds", type=float, default=60.0, help="of the row `latency`; default 60")
    parser.add_argument("--rows", type=chosen_rows, default=list(ROWS), metavar="NAME,...", help=", ".join(ROWS))
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: everything is taken down first
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
    try:
        met = run(args.rows, args.seconds, console)
    except KeyboardInterrupt:
        return 130
    console.print("\nall targets are met" if met else "\nnot all targets are met")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())

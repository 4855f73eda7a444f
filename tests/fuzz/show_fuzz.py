"""`make fuzz SECONDS=n`: all targets in turn, then a table of executions and of what was found.

The exit code is 1 if anything was found, or a target was not executed once.

show_fuzz.py [--seconds N] [--seed N] [--only PART-OF-NAME]... [--found DIR]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import in_process
import links
import over_links
import targets
from reports import Report
from rich.console import Console
from rich.table import Table
from worlds import World


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Fuzz everything that takes input from outside.")
    parser.add_argument("--seconds", type=float, default=600, help="for all targets together")
    parser.add_argument("--seed", type=int, default=time.time_ns() & 0xFFFF)
    parser.add_argument("--only", action="append", default=[], help="targets whose names contain this")
    parser.add_argument("--found", type=Path, default=Path("var/fuzz"), help="where inputs go that did harm")
    args = parser.parse_args()
    local = [target for target in targets.TARGETS if _wanted(target.name, args.only)]
    linked = [target for target in links.TARGETS if _wanted(target.name, args.only)]
    if not local and not linked:
        parser.error(f"no target's name contains {' or '.join(args.only)}")
    share_s = args.seconds / max(1, len(local) + len(linked))
    reports = [in_process.fuzz(target, share_s, args.seed, args.found) for target in local]
    worlds: dict[str, World] = {}
    try:
        for target in linked:
            if target.daemon not in worlds:
                worlds[target.daemon] = World(target.daemon)
            reports.append(over_links.fuzz(target, worlds[target.daemon], share_s, args.seed, args.found))
    finally:
        for world in worlds.values():
            world.close()
    return _show(reports, args.seed)


def _wanted(name: str, parts: list[str]) -> bool:
    return not parts or any(part in name for part in parts)


def _show(reports: list[Report], seed: int) -> int:
    table = Table("target", "executions", "per second", "grown KiB", "found", box=None)
    for report in reports:
        rate = f"{report.executions / max(report.seconds, 1e-9):,.0f}"
        found = str(len(report.defects))
        table.add_row(report.name, f"{report.executions:,}", rate, f"{report.grown_bytes >> 10:,}", found)
    console = Console(highlight=False, markup=False)
    console.print(table)
    for report in reports:
        for place, what in report.defects.items():
            console.print(f"\n{report.name}: {place}\n{what}")
    idle = [report.name for report in reports if not report.executions]
    for name in idle:
        console.print(f"\n{name}: not executed once")
    total = sum(report.executions for report in reports)
    defects = sum(len(report.defects) for report in reports)
    console.print(f"\n{total:,} executions with seed {seed}: {defects} found")
    return 1 if defects or idle else 0


if __name__ == "__main__":
    sys.exit(main())

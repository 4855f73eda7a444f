"""Every fault scenario on a chain of its own, and a table of what was observed.

`messages lost` and `unreported` (frames x sources that nothing was said of) are seen in the record = counted.

    show_faults.py [--only NAME]... [--keep]

NAME is a scenario's name or the beginning of one. Exit code 0: each had the outcome that it must have.
"""

from __future__ import annotations

import argparse
import sys

import clock_faults
import disk_faults
import link_faults
import process_faults
from rich.console import Console
from rich.table import Table
from scenario import Outcome, Scenario, run

SCENARIOS: tuple[Scenario, ...] = (
    *process_faults.SCENARIOS,
    *link_faults.SCENARIOS,
    *disk_faults.SCENARIOS,
    *clock_faults.SCENARIOS,
)


def table(rows: list[tuple[Scenario, Outcome]]) -> Table:
    """One line for each scenario."""
    columns = ("fault", "outcome", "flows after", "TRIGs", "lost", "clips", "failed", "messages lost", "unreported")
    shown = Table(*columns, "", box=None, pad_edge=False)
    for scenario, outcome in rows:
        lost = max(0, outcome.triggers - outcome.saved - len(outcome.failed))
        shown.add_row(
            scenario.fault,
            outcome.happened or "-",
            "at once" if outcome.back_s is None else f"{outcome.back_s:.1f} s",
            *map(str, (outcome.triggers, lost, outcome.saved, len(outcome.failed))),
            compared(outcome.messages),
            "-" if outcome.unreported is None else compared(outcome.unreported),
            "ok" if not outcome.wrong else "WRONG",
        )
    return shown


def compared(numbers: tuple[int, int]) -> str:
    """What was seen beside what is counted; a fusion that died had the difference in hand."""
    seen, counted = numbers
    return f"{seen} = {counted}" if seen == counted else f"{seen} = {counted} + {seen - counted} in hand"


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="one fault after another, and what came of each")
    parser.add_argument("--only", action="append", default=[], metavar="NAME")
    parser.add_argument("--keep", action="store_true", help="leave the folders for a look at the logs")
    args = parser.parse_args()
    for name in args.only:
        if not any(each.name.startswith(name) for each in SCENARIOS):
            parser.error(f"there is no {name!r}; there are {', '.join(each.name for each in SCENARIOS)}")
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
    chosen = [each for each in SCENARIOS if not args.only or any(each.name.startswith(name) for name in args.only)]
    rows: list[tuple[Scenario, Outcome]] = []
    for scenario in chosen:
        if why := scenario.lacking():
            console.print(f"{scenario.name}: skipped: {why}")
            continue
        outcome = run(scenario, keep=args.keep)
        rows.append((scenario, outcome))
        console.print(f"{scenario.name}: {'as it must be' if not outcome.wrong else 'WRONG'}")
        for what in outcome.wrong:
            console.print(f"  {what}")
    console.print()
    console.print(table(rows))
    wrong = sum(bool(outcome.wrong) for _, outcome in rows)
    console.print(f"\n{len(rows) - wrong} of {len(rows)} faults had the outcome that they must have")
    return 1 if wrong or not rows else 0


if __name__ == "__main__":
    sys.exit(main())

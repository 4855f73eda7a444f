"""Run everything that a user can get wrong, and print the command and what it says, as a user sees it.

    show_bad_input.py [WORD...]      only the cases whose title contains one of the words

Exit code 0: each says what it must, with its exit code and without a traceback.
"""

from __future__ import annotations

import argparse
import sys

from bad_input import CASES, run
from chain import Chain
from garbage import attacks, still_flows, strike
from rich.console import Console
from rich.table import Table
from start_orders import Processes

START_S = 20.0


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="every bad input, and what a user sees")
    parser.add_argument("words", nargs="*", metavar="WORD")
    args = parser.parse_args()
    cases = [case for case in CASES if not args.words or any(word in case.title for word in args.words)]
    failures = 0
    for case in cases:
        outcome = run(case)
        wrong = outcome.wrong(case)
        failures += bool(wrong)
        code = "goes on, ends with 0" if outcome.code is None else f"exit code {outcome.code}"
        print(f"# {case.title}\n$ {case.command}   ({code})\n{outcome.output}")
        print("".join(f"WRONG: {what}\n" for what in wrong), flush=True)
    print(f"{len(cases) - failures} of {len(cases)} say what they must", flush=True)
    if not args.words:
        failures += show_bad_messages()
    return 1 if failures else 0


def show_bad_messages() -> int:
    """Every bad message to every socket of a running chain; returns how many were not taken as they must be."""
    table = Table("socket", "message", "bytes", "what comes of it", box=None, pad_edge=False)
    failures = 0
    with Chain() as chain, Processes(chain) as processes:
        for role in chain.roles:
            processes.start(role.daemon)
        chain.wait_for_answers(START_S)
        chain.wait_for_flow(START_S)
        for attack in attacks():
            wrong = strike(chain, attack)
            failures += bool(wrong)
            good = f"{attack.counter} + 1" if attack.counted else "the sender is disconnected"
            table.add_row(f"{attack.daemon}/{attack.link.name}", attack.kind, str(len(attack.body)), wrong or good)
        wrong = ", ".join(processes.ended()) or still_flows(chain)
    print("\n# bad messages on every socket; each daemon lives and answers after each")
    Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200).print(table)
    print(wrong or "the chain still works after all of them")
    return failures + bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

"""kill -9 of each daemon in turn, and of supervisord, at random moments while a video loops.

    kill_rounds.py [--rounds 10] [--seed N] [--keep]

Each round prints how long it took until the daemon answered and data flowed again, what the counters say was
lost, and what became of the trigger that was on its way. At the end everything is audited. Exit code 0: all adds up.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import dataclass

from audit import Audit, audit, every_trigger, ledger_states, unsettled
from chain import COOLDOWN_S, FRAME, Chain, FaultError, Status
from rich.console import Console
from rich.table import Table

VICTIMS = (FRAME, "extractor-face", "extractor-quality", "fusion", "clip", "supervisord")
RECOVERY_S = 30.0
SETTLE_S = 30.0
TRIGGER_S = 30.0
MOMENTS = (("any", 6.0, 3), ("in clip", 1.2, 4), ("at trigger", 0.02, 3))
"""When to strike, at most how many seconds later, and how often: at any time; while the clip of a trigger is being
recorded; while the trigger itself goes from fusion's outbox to the ledger."""
LOSSES = ("dropped.", "refused.", "failed.", "lost.", "missing.", "late", "skipped.", "outbox.")


@dataclass
class Round:
    """What one kill did."""

    victim: str
    moment: str
    answers_s: float
    flows_s: float
    lost: str
    in_flight: dict[str, str]


class Rounds:
    """Kills, measures, and keeps the score."""

    def __init__(self, chain: Chain, seed: int) -> None:
        self._chain = chain
        self._random = random.Random(seed)
        self.wrong: list[str] = []

    def play(self, victim: str) -> Round:
        chain = self._chain
        moment, delay_s = self._moment()
        if moment == "in clip":
            chain.await_trigger(TRIGGER_S)
        if moment != "at trigger":
            time.sleep(delay_s)
        before = chain.wait_for_answers(RECOVERY_S)
        settled = every_trigger(chain.config) - unsettled(chain.config)
        old = chain.pids()
        if moment == "at trigger":
            chain.await_trigger(TRIGGER_S)
            time.sleep(delay_s)
        started = time.monotonic()
        pid = chain.kill(victim)
        if victim == "supervisord":
            chain.up()
        chain.wait(lambda: self._back(victim, pid, before), f"{victim} answers again", RECOVERY_S)
        answers_s = time.monotonic() - started
        chain.wait_for_flow(RECOVERY_S)
        flows_s = time.monotonic() - started
        after = chain.wait_for_answers(RECOVERY_S)
        self._check_processes(victim, old)
        when = f"{moment} +{delay_s * 1000:.0f} ms"
        return Round(
            victim, when, answers_s, flows_s, losses(before, after), self._settle(every_trigger(chain.config) - settled)
        )

    def _moment(self) -> tuple[str, float]:
        [(moment, longest_s, _)] = self._random.choices(MOMENTS, [share for _, _, share in MOMENTS])
        return moment, self._random.uniform(0, longest_s)

    def _back(self, victim: str, pid: int, before: dict[str, Status]) -> bool:
        names = list(before) if victim == "supervisord" else [victim]
        for name in names:
            status = self._chain.status(name)
            if status is None or status["pid"] in (pid, before[name]["pid"]):
                return False
        return True

    def _check_processes(self, victim: str, old: dict[int, str]) -> None:
        """One process per daemon, and none of the old set after a kill of supervisord."""
        now = self._chain.daemon_pids()
        if len(now) != len(VICTIMS):
            self.wrong.append(f"{len(now)} processes after the kill of {victim}, not {len(VICTIMS)}: {now}")
        if victim == "supervisord" and set(now) & set(old):
            self.wrong.append(f"processes outlived their supervisord: {set(now) & set(old)}")

    def _settle(self, trig_ids: set[str]) -> dict[str, str]:
        """What became of each trigger; they have until SETTLE_S."""
        chain = self._chain

        def settled() -> bool:
            return not trig_ids & unsettled(chain.config)

        try:
            chain.wait(settled, "the triggers on their way are settled", SETTLE_S)
        except FaultError as error:
            self.wrong.append(f"{error}: {trig_ids & unsettled(chain.config)}")
        states = ledger_states(chain.config)
        return {trig_id: ": ".join(filter(None, states.get(trig_id, ("absent", "")))) for trig_id in sorted(trig_ids)}


def losses(before: dict[str, Status], after: dict[str, Status]) -> str:
    """What the counters say was lost between two looks; those of a killed daemon began anew."""
    told = []
    for name, status in after.items():
        lived = status["pid"] == before[name]["pid"]
        start = before[name]["counters"] if lived else {}
        for counter, n in sorted(status["counters"].items()):
            gained = n - start.get(counter, 0)
            if gained and counter.startswith(LOSSES) and counter != "skipped.backpressure":
                told.append(f"{name} {counter} {gained}")
        for source, row in status.get("sources", {}).items():
            was = before[name]["sources"].get(source, {}).get("lost", 0) if lived else 0
            if row["lost"] > was:
                told.append(f"{name} lost from {source} {row['lost'] - was}")
    if before[FRAME]["pid"] == after[FRAME]["pid"]:
        frames = after[FRAME]["counters"]["frames"] - before[FRAME]["counters"]["frames"]
        lived = before["fusion"]["pid"] == after["fusion"]["pid"]
        start = before["fusion"]["counters"].get("sets", 0) if lived else 0
        if not lived:
            told.append(f"{frames} frames since the look before, {after['fusion']['counters'].get('sets', 0)} sets")
        else:
            unfused = frames - (after["fusion"]["counters"].get("sets", 0) - start)
            told.append(f"{unfused} of {frames} frames without a set")
    return "\n".join(told) or "-"


def quiet_end(chain: Chain) -> None:
    """Stop the chain at a moment when no trigger is on its way; what an unlucky one left is taken up and finished."""
    for _ in range(5):
        chain.wait(lambda: not unsettled(chain.config), "no trigger is on its way", SETTLE_S)
        chain.down()
        if not unsettled(chain.config):
            return
        chain.up()
    raise FaultError("the chain could not be stopped between two triggers")


def show(rounds: list[Round], console: Console) -> None:
    table = Table("#", "killed", "when", "answers", "flows", "lost, by counter", "on its way", box=None, pad_edge=False)
    for number, each in enumerate(rounds, 1):
        flight = "\n".join(f"{trig_id} {state}" for trig_id, state in each.in_flight.items()) or "-"
        times = f"{each.answers_s:.2f} s", f"{each.flows_s:.2f} s"
        table.add_row(str(number), each.victim, each.moment, *times, each.lost, flight)
    console.print(table)


def show_audit(found: Audit, wrong: list[str], console: Console) -> None:
    console.print(
        f"\naudit: {len(found.triggers)} triggers = {len(found.saved)} clips saved + {len(found.failed)} failures "
        f"explained; {found.frames} pictures decoded, all as their sidecars say; gaps: {dict(found.gaps) or 'none'}"
    )
    for trig_id, why in found.failed.items():
        console.print(f"  failed {trig_id}: {why}")
    for line in wrong:
        console.print(f"  WRONG: {line}")
    console.print("all adds up" if not wrong else f"{len(wrong)} things do not add up")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="kill -9 at random moments, and an audit")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--keep", action="store_true", help="leave the folder for a look at the logs")
    args = parser.parse_args()
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
    console.print(f"seed {args.seed}, {args.rounds} rounds")
    rounds: list[Round] = []
    with Chain(keep=args.keep) as chain:
        if args.keep:
            console.print(f"folder: {chain.folder}")
        play = Rounds(chain, args.seed)
        try:
            chain.up()
            chain.wait_for_flow(RECOVERY_S)
            for number in range(args.rounds):
                rounds.append(play.play(VICTIMS[number % len(VICTIMS)]))
                console.print(f"round {number + 1}: {rounds[-1].victim} flows again after {rounds[-1].flows_s:.2f} s")
            quiet_end(chain)
        except FaultError as error:
            play.wrong.append(str(error))
            chain.down()
        if chain.pids():
            play.wrong.append(f"still there after down: {chain.pids()}")
        found = audit(chain.config, COOLDOWN_S)
    console.print()
    show(rounds, console)
    show_audit(found, play.wrong + found.wrong, console)
    return 1 if play.wrong or found.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

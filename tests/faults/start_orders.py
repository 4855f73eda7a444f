"""A random sample of the orders in which the five daemons can be started, each as a process of its own.

    start_orders.py [--orders 20] [--seed N]

No supervisord: each daemon is `visualpath-exec ROLE NAME`, started at once after the one before or a random moment
later. The chain must work (observations of both extractors, sets, frames in the clip daemon) within 5 s of the last
start. All orders share one state directory, so that epochs, outbox and ledger go on as they do on a real machine.
Exit code 0: all did.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from chain import EXEC, FRAME, SOURCES, Chain, FaultError
from rich.console import Console
from rich.table import Table

LIMIT_S = 5.0
LONGEST_PAUSE_S = 0.5
STOP_S = 10.0


@dataclass
class Order:
    """One order and what came of it."""

    daemons: tuple[str, ...]
    pauses: list[float]
    works_s: float | None
    wrong: str = ""


class Processes:
    """Daemons of a chain, as processes; stopped at the end of the `with`."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._commands = {
            role.daemon: [str(EXEC), role.role, *filter(None, [role.instance]), "--config", str(chain.config_path)]
            for role in chain.roles
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, daemon: str) -> None:
        with self._log(daemon).open("ab") as log:
            self._running[daemon] = subprocess.Popen(
                self._commands[daemon], stdout=log, stderr=log, env={**os.environ, **self._chain.env}
            )

    def _log(self, daemon: str) -> Path:
        folder = self._chain.config.state_dir / "supervisor"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{daemon}.log"

    def end(self, daemon: str) -> None:
        """Stop one, as systemd does."""
        self._running[daemon].terminate()
        self._running[daemon].wait(STOP_S)

    def ended(self) -> list[str]:
        """Those that do not run any more."""
        return [f"{name} ended ({p.poll()})" for name, p in self._running.items() if p.poll() is not None]

    def stop(self) -> list[str]:
        """Stop all; returns those that did not end in order."""
        for process in self._running.values():
            process.terminate()
        wrong = []
        for daemon, process in self._running.items():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
            if process.returncode != 0:
                wrong.append(f"{daemon} ended with {process.returncode}")
                process.kill()
                process.wait()
        self._running.clear()
        return wrong

    def __enter__(self) -> Processes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def play(chain: Chain, daemons: tuple[str, ...], pauses: list[float], limit_s: float = LIMIT_S) -> Order:
    """Start the daemons in this order; the pauses come before each. They have `limit_s` from the last start on."""
    with Processes(chain) as processes:
        for daemon, pause_s in zip(daemons, pauses, strict=True):
            time.sleep(pause_s)
            processes.start(daemon)
        last_start = time.monotonic()
        try:
            chain.wait(lambda: works(chain), "the chain works", limit_s)
        except FaultError:
            return Order(daemons, pauses, None, f"{processes.ended() or chain.flow()}")
        works_s = time.monotonic() - last_start
        wrong = processes.stop() + ([f"later than {limit_s:g} s"] if works_s > limit_s else [])
        return Order(daemons, pauses, works_s, ", ".join(wrong))


def works(chain: Chain) -> bool:
    """Whether something has come through every link; all counters began at 0 with the processes."""
    flow = chain.flow()
    return flow is not None and all(flow)


def sample(count: int, seed: int) -> list[tuple[tuple[str, ...], list[float]]]:
    """Orders without repetition; half of them with pauses."""
    chosen = random.Random(seed)
    daemons = (FRAME, *(f"extractor-{source}" for source in SOURCES), "fusion", "clip")
    orders = chosen.sample(list(itertools.permutations(daemons)), count)
    return [
        (order, [0.0 if n % 2 == 0 else chosen.uniform(0, LONGEST_PAUSE_S) for _ in order])
        for n, order in enumerate(orders)
    ]


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="the chain works in whatever order it is started")
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    args = parser.parse_args()
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
    console.print(f"seed {args.seed}, {args.orders} orders, one state directory")
    with Chain() as chain:
        orders = [play(chain, *each) for each in sample(args.orders, args.seed)]
    table = Table("#", "order", "pauses", "works after the last start", "wrong", box=None, pad_edge=False)
    for number, order in enumerate(orders, 1):
        took = "-" if order.works_s is None else f"{order.works_s:.2f} s"
        paused = f"{sum(order.pauses):.1f} s" if any(order.pauses) else "none"
        table.add_row(str(number), ", ".join(order.daemons), paused, took, order.wrong or "-")
    console.print(table)
    good = [order.works_s for order in orders if order.works_s is not None and not order.wrong]
    console.print(
        f"{len(good)} of {len(orders)} work within {LIMIT_S:g} s; the slowest after {max(good, default=0):.2f} s"
    )
    return 0 if len(good) == len(orders) else 1


if __name__ == "__main__":
    sys.exit(main())

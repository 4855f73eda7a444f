"""One chain under random faults for some minutes, and then an audit: is everything explained, does anything grow?

    soak.py [--minutes 30] [--seed N] [--keep]

Every kind of fault is played once in random order, then again in another; the seed says in which, for how long, and
with what pauses. Exit code 0: nothing is unexplained.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import clock_faults
from audit import unsettled
from chain import EXEC, STREAM, VENVS, Chain, FaultError, Status
from rich.console import Console
from scenario import RECOVERY_S, START_S, install_wayward
from soak_audit import COOLDOWN_S, Findings, look_through
from soak_books import Mark, Strike
from soak_camera import Camera
from soak_faults import Kind, kinds
from soak_ground import QUALITY, SOURCES, Ground, SmallDisk
from soak_tables import show
from soak_watch import Watch

from visualpath_protocol.clock import mono_ns

PAUSE_S = 4.0
TEXT = f"""
state_dir: state
venvs_dir: {VENVS}
ring: {{length: 20s, size: 16MiB}}
streams:
  {STREAM}: {{source: "CAMERA", timeout: 2s}}
extractors:
  a: {{plugin: wayward, venv: core, hang_timeout: 2s, config: {{mood: $HERE/mood-a}}}}
  b: {{plugin: wayward, venv: core, hang_timeout: 2s, config: {{mood: $HERE/mood-b, ms: 20}}}}
  {"quality: {}" if QUALITY else ""}
fusion:
  rules:
    - {{label: moment, when: a.wanted >= 1, for: 200ms, cooldown: {COOLDOWN_S:g}s}}
clip: {{dir: clips, pre: 300ms, post: 300ms, stall_timeout: 3s, min_free: 0}}
record: {{dir: $HERE/record, size: 1GiB}}
"""


@dataclass
class Soak:
    """What is played, and what is known of it so far."""

    ground: Ground
    console: Console
    seed: int
    strikes: list[Strike] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    statuses: dict[str, Status | None] = field(default_factory=dict)

    def play(self, chosen: Sequence[Kind], seconds: float) -> None:
        """One fault after another, with pauses, until the time is over."""
        started_s = time.monotonic()
        self._mark()
        for number, kind in enumerate(in_random_order(chosen, self.seed), 1):
            self.ground.random = random.Random(f"{self.seed}-{number}")
            time.sleep(self.ground.random.uniform(0, PAUSE_S))
            if time.monotonic() - started_s > seconds:
                return
            if kind.ends_fusion:
                self._mark()
            self._strike(number, kind, time.monotonic() - started_s)
            if kind.ends_fusion:
                self._mark()

    def settle(self) -> None:
        """No fault any more; until every trigger is a clip, or explained."""
        chain = self.ground.chain
        self.ground.mood("a", "firing")
        chain.await_trigger(START_S)
        self._mark()
        self.ground.mood("a")
        chain.wait(lambda: not unsettled(chain.config), "no trigger is on its way", RECOVERY_S)
        self.statuses = chain.statuses()

    def _strike(self, number: int, kind: Kind, since_s: float) -> None:
        ground, began_ns = self.ground, mono_ns()
        ground.outcome.back_s = None
        ground.struck()
        said = kind.play(ground)
        back_s = ground.outcome.back_s or 0.0
        self.strikes.append(Strike(number, kind.name, began_ns, mono_ns(), back_s, kind.explains))
        self.console.print(f"{since_s:7.1f} s  #{number} {kind.name}{said and f', {said}'}; flows after {back_s:.1f} s")

    def _mark(self) -> None:
        """Begin an epoch, and note what fusion has counted."""
        epoch = self.ground.begin_epoch()
        fusion = self.ground.status("fusion")
        unreported = sum(fusion["counters"].get(f"unreported.{source}", 0) for source in SOURCES)
        self.marks.append(Mark(fusion["pid"], epoch, unreported))


def in_random_order(chosen: Sequence[Kind], seed: int) -> Iterator[Kind]:
    """All of them in random order, again and again."""
    chance = random.Random(seed)
    while True:
        yield from chance.sample(list(chosen), len(chosen))


def run(minutes: float, seed: int, console: Console, *, keep: bool) -> tuple[list[Strike], Findings]:
    """Play, settle, stop and audit."""
    with ExitStack() as mend:
        camera = Camera()
        mend.callback(camera.close)
        chain = mend.enter_context(Chain(TEXT.replace("CAMERA", camera.address), {EXEC: "make venvs"}, keep=keep))
        chosen, lacking = kinds()
        for why in lacking:
            console.print(f"without: {why}")
        ground = Ground(chain, mend, camera, _disks(chain.folder, minutes, chosen, mend))
        install_wayward(chain)
        ground.mood("a", "firing")
        ground.mood("b")
        if not clock_faults.lacking():
            clock_faults.movable(ground)
        soak, watch = Soak(ground, console, seed), Watch(chain)
        wrong: list[str] = []
        watch.start()
        try:
            chain.up()
            chain.wait_for_flow(START_S)
            soak.play(chosen, minutes * 60)
        except FaultError as error:
            wrong.append(str(error))
            wrong += [f"{role.daemon}: ...{chain.log(role.daemon)[-600:]}" for role in chain.roles]
        for step in (soak.settle, watch.stop, chain.down):
            try:
                step()
            except FaultError as error:
                wrong.append(str(error))
        if keep:  # what is on the small disks goes with this process
            shutil.copytree(chain.config.state_dir, chain.folder / "state-kept")
            console.print(f"all of it lies in {chain.folder}")
        return soak.strikes, look_through(chain, watch, soak.strikes, soak.marks, soak.statuses, wrong)


def _disks(folder: Path, minutes: float, chosen: Sequence[Kind], mend: ExitStack) -> dict[str, SmallDisk]:
    """Under state and clips, if there is a kind of fault for them."""
    places = [place for place in ("state", "clips") if any(kind.name.endswith(f"under {place}") for kind in chosen)]
    disks = {place: SmallDisk(folder / place, minutes) for place in places}
    for disk in disks.values():
        mend.callback(disk.close)
    return disks


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(description="random faults for some minutes, and an audit")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    parser.add_argument("--keep", action="store_true", help="leave the folder for a look at the logs")
    args = parser.parse_args()
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 160)
    console.print(f"{args.minutes:g} minutes, seed {args.seed}")
    strikes, findings = run(args.minutes, args.seed, console, keep=args.keep)
    show(strikes, findings, console)
    return 1 if findings.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())

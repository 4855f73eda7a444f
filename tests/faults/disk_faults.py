"""Faults of disks: full of bytes, without inodes, read-only, under each thing that is written; and damaged databases.

A disk is struck while the chain is at work, and mended while it still is: nobody is started anew by hand.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from pathlib import Path

import small_disk
from audit import unsettled
from chain import FRAME, STREAM, FaultError
from scenario import CONFIG, Scenario, Trial
from small_disk import Disk, FullDisk, ReadOnlyDisk

NOTICED_S = 60.0
TRIGGERS = 2
"""So many become clips, or wait, while the disk refuses."""
TEXT = (
    CONFIG.replace("ring: {", "ring: {dir: $HERE/ring, ").replace("clip: {", "clip: {min_free: 0, ")
    + "trace: {level: normal, dir: $HERE/trace}\nrecord: {dir: $HERE/record}\n"
)
PLACES = {
    "outbox": "state/fusion",
    "ledger": "state/clip",
    "clips": "clips",
    "traces": "trace",
    "record": "record",
    "ring": "ring",
    "epoch": f"state/frame-{STREAM}",
    "log": "state/supervisor",
}
"""The folder of the chain in which each thing lies."""
MAKERS: dict[str, Callable[[Path], Disk]] = {
    "full": lambda folder: FullDisk(folder, "bytes"),
    "inodes": lambda folder: FullDisk(folder, "inodes"),
    "readonly": ReadOnlyDisk,
}
DATABASES = {"outbox": "fusion", "ledger": "clip"}
FAULTS = {"full": "no room", "inodes": "no inodes", "readonly": "read-only"}

Meanwhile = Callable[[Trial, int], str]
"""Waits until what must happen on a disk that refuses has happened; says it. It is given the frame daemon's pid."""


def counts(daemon: str, *names: str) -> Meanwhile:
    """These counters grow, and moments go on becoming clips."""

    def wait(trial: Trial, _pid: int) -> str:
        before = sum(trial.counter(daemon, name) for name in names)
        trial.chain.wait(
            lambda: sum(trial.counter(daemon, name) for name in names) > before, f"{names} grow", NOTICED_S
        )
        _clips_go_on(trial)
        return f"{names[0]} counts; clips go on"

    return wait


def waits(counter: str) -> Meanwhile:
    """A counter of clip grows, and triggers or clips wait."""

    def wait(trial: Trial, _pid: int) -> str:
        chain = trial.chain
        before = trial.counter("clip", counter)
        chain.wait(lambda: trial.counter("clip", counter) > before, f"{counter} grows", NOTICED_S)
        chain.wait(lambda: _waiting(trial) >= TRIGGERS, "moments wait", NOTICED_S)
        return f"{counter} counts; moments wait, none is lost"

    return wait


def _waiting(trial: Trial) -> int:
    return int(trial.status("fusion")["outbox"]) + int(trial.status("clip")["waiting"])


def goes_on(trial: Trial, _pid: int) -> str:
    """Nothing but room for older things is missing."""
    _clips_go_on(trial)
    return "goes on"


def ring_goes_on(trial: Trial, _pid: int) -> str:
    """The oldest frames make room, or frames are dropped."""
    _clips_go_on(trial)
    held_ns = trial.status(FRAME)["ring"]["held_ns"]
    return f"the oldest frames go earlier ({held_ns / 1e9:.0f} s are held); clips go on"


def new_epoch(trial: Trial, pid: int) -> str:
    """The frame daemon begins a new epoch all the same."""
    os.kill(pid, signal.SIGTERM)
    trial.comes_back(FRAME, pid)
    return "a new epoch is written over the last one"


def no_epoch(trial: Trial, pid: int) -> str:
    """The frame daemon cannot begin, and says so at each start."""
    os.kill(pid, signal.SIGTERM)
    trial.chain.wait(
        lambda: trial.chain.log(FRAME).count("cannot keep the epoch") > 1, "it is refused again and again", NOTICED_S
    )
    return "no new epoch: exit 74, started again until it can"


def frames_stop(trial: Trial, _pid: int) -> str:
    """The frame daemon cannot write, and says so at each start."""
    chain = trial.chain
    chain.wait(lambda: chain.log(FRAME).count("cannot ") > 1, "it is refused again and again", NOTICED_S)
    return "exit 74, started again until it can write"


def _clips_go_on(trial: Trial) -> None:
    before = trial.counter("clip", "clips.saved")
    trial.chain.wait(lambda: trial.counter("clip", "clips.saved") >= before + TRIGGERS, "clips are saved", NOTICED_S)


class Struck:
    """One disk, struck by one fault while the chain is at work.

    Args:
        place: of PLACES.
        fault: of MAKERS.
        meanwhile: what must happen until it is mended.
    """

    def __init__(self, place: str, fault: str, meanwhile: Meanwhile) -> None:
        self._place, self._fault, self._meanwhile = place, fault, meanwhile
        self._disk: Disk | None = None

    def scenario(self) -> Scenario:
        name, fault = f"{self._place}-{self._fault}", f"{FAULTS[self._fault]} under {self._place}"
        blind = self._place == "record"
        return Scenario(name, fault, self._play, self._prepare, TEXT, blind=blind, lacking=small_disk.lacking)

    def _prepare(self, trial: Trial) -> None:
        self._disk = MAKERS[self._fault](trial.chain.folder / PLACES[self._place])
        trial.mend.callback(self._disk.close)

    def _play(self, trial: Trial) -> str:
        assert self._disk is not None, "it was prepared"
        self._disk.strike()
        said = self._meanwhile(trial, trial.chain.pid(FRAME))
        self._disk.mend()
        trial.struck()
        trial.flows()
        settle(trial)
        if (self._place, self._fault) == ("clips", "readonly"):
            _sweep(trial)
        return said


def _sweep(trial: Trial) -> None:
    """Restart clip in order: what the disk did not let it delete goes at the start."""
    chain, pid = trial.chain, trial.status("clip")["pid"]
    os.kill(pid, signal.SIGTERM)
    chain.wait(lambda: (now := chain.status("clip")) is not None and now["pid"] != pid, "clip is back", NOTICED_S)


def settle(trial: Trial) -> None:
    """Until the moments that wait now are clips, or explained."""
    waiting = unsettled(trial.chain.config)
    trial.chain.wait(lambda: not waiting & unsettled(trial.chain.config), "what has waited is settled", NOTICED_S)


def damaged(database: str, daemon: str, *, running: bool) -> Scenario:
    """A database that a dying disk has turned into garbage, met at work or at the start."""

    def play(trial: Trial) -> str:
        chain = trial.chain
        path = chain.config.state_dir / daemon / f"{database}.db"
        if running:
            spoil(path)
        else:
            pid = stop_between_moments(trial, daemon)
            spoil(path)
            os.kill(pid, signal.SIGKILL)
            trial.comes_back(daemon, pid)
        chain.wait(lambda: trial.counter(daemon, f"damaged.{database}") == 1, "it is replaced", NOTICED_S)
        trial.flows()
        settle(trial)
        if not list(path.parent.glob(f"{path.name}.damaged-*Z")):
            raise FaultError("the damaged file does not lie beside")
        found = f", {n} clips found again" if (n := trial.counter("clip", "clips.found")) else ""
        return f"moved aside, replaced{found}"

    when = "at work" if running else "at the start"
    name = f"damaged-{database}-{'running' if running else 'start'}"
    return Scenario(name, f"garbage in the {database}, {when}", play, text=TEXT)


def stop_between_moments(trial: Trial, daemon: str) -> int:
    """SIGSTOP while nothing is on its way that only the database knows of; returns the pid."""
    pid = trial.chain.pid(daemon)

    def stopped() -> bool:
        os.kill(pid, signal.SIGSTOP)
        if unsettled(trial.chain.config):
            os.kill(pid, signal.SIGCONT)
            return False
        return True

    trial.chain.wait(stopped, f"{daemon} is between two moments", NOTICED_S)
    return pid


def spoil(path: Path) -> None:
    """Write garbage over a database, and over what SQLite keeps beside it."""
    for suffix in ("", "-wal", "-shm"):
        each = path.with_name(path.name + suffix)
        if each.exists():
            with each.open("r+b", buffering=0) as file:
                file.write(random.Random(1).randbytes(each.stat().st_size))


STRUCK = (
    Struck("outbox", "full", counts("fusion", "outbox.not_stored")),
    Struck("outbox", "readonly", counts("fusion", "outbox.not_stored")),
    Struck("ledger", "full", waits("failed.ledger")),
    Struck("ledger", "readonly", waits("failed.ledger")),
    Struck("clips", "full", waits("clips.no_space")),
    Struck("clips", "inodes", waits("clips.no_space")),
    Struck("clips", "readonly", waits("clips.no_space")),
    Struck("traces", "full", counts("fusion", "failed.trace")),
    Struck("traces", "readonly", counts("fusion", "failed.trace")),
    Struck("record", "full", counts("fusion", "dropped.record")),
    Struck("record", "readonly", counts("fusion", "dropped.record")),
    Struck("ring", "full", ring_goes_on),
    Struck("ring", "inodes", ring_goes_on),
    Struck("ring", "readonly", frames_stop),
    Struck("epoch", "full", new_epoch),
    Struck("epoch", "inodes", new_epoch),
    Struck("epoch", "readonly", no_epoch),
    Struck("log", "full", goes_on),
    Struck("log", "readonly", goes_on),
)

SCENARIOS = (
    *(each.scenario() for each in STRUCK),
    *(damaged(name, daemon, running=running) for name, daemon in DATABASES.items() for running in (True, False)),
)

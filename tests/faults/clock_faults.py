"""Faults of the system's clock: set forward and back by a day at work, years off from the start.

All daemons, and supervisord, see a clock that is moved by a shim of our own; nothing else on the machine does.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from chain import FaultError
from scenario import CONFIG, Scenario, Trial

DAY_S = 86_400
YEAR_S = 365 * DAY_S
NOTICED_S = 60.0
MOMENTS = 3
"""So many become clips under each clock."""
TEXT = CONFIG.replace("clip: {", "clip: {retention: 480h, min_free: 0, ")


def lacking() -> str:
    """Why the clock cannot be moved here; "" if it can."""
    return "" if shutil.which("cc") else "the clock cannot be moved: cc, which builds the shim, is not here"


def set_clock(trial: Trial, shift_s: int) -> None:
    """Move the clock of all that this chain has started and will start."""
    path = trial.chain.folder / "clock"
    fresh = path.with_suffix(".new")
    fresh.write_text(str(shift_s))
    fresh.rename(path)


def movable(trial: Trial, shift_s: int = 0) -> None:
    """Build the shim, and have the chain start with it."""
    folder = trial.chain.folder
    source = Path(__file__).with_name("clock_shift.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", folder / "clock_shift.so", source, "-ldl"], check=True)
    set_clock(trial, shift_s)
    trial.chain.env |= {"LD_PRELOAD": str(folder / "clock_shift.so"), "CLOCK_SHIFT": str(folder / "clock")}


def jumps(*shifts_s: int) -> Callable[[Trial], str]:
    """The clock is set at work, once and again; moments go on becoming clips, and none of them goes."""

    def play(trial: Trial) -> str:
        before = pids(trial)
        for shift_s in shifts_s:
            set_clock(trial, shift_s)
            moments_go_on(trial)
        check_undisturbed(trial, before)
        return "no restart, no clip deleted"

    return play


def set_later(trial: Trial) -> str:
    """The clock was wrong when everything started, and is set right; then clip and fusion are started again."""
    moments_go_on(trial)
    before = pids(trial)
    set_clock(trial, 0)
    moments_go_on(trial)
    check_undisturbed(trial, before)
    for daemon in ("clip", "fusion"):
        trial.comes_back(daemon, trial.chain.kill(daemon))
    moments_go_on(trial)
    check_kept(trial)
    return "no clip deleted, neither then nor after a restart"


def pids(trial: Trial) -> dict[str, int]:
    """Of every daemon."""
    return {role.daemon: trial.chain.pid(role.daemon) for role in trial.chain.roles}


def moments_go_on(trial: Trial) -> None:
    """Until so many more are clips on disk, and the housekeeper has been there since."""
    chain = trial.chain
    saved = trial.counter("clip", "clips.saved")
    chain.wait(lambda: trial.counter("clip", "clips.saved") >= saved + MOMENTS, "clips are saved", NOTICED_S)
    trial.flows()


def check_undisturbed(trial: Trial, before: dict[str, int]) -> None:
    """Nobody was started again, and no clip is gone."""
    if (now := pids(trial)) != before:
        raise FaultError(f"started again: {before}, {now}")
    check_kept(trial)


def check_kept(trial: Trial) -> None:
    """No clip was too old."""
    if deleted := trial.counter("clip", "clips.deleted.retention"):
        raise FaultError(f"{deleted} clips were deleted as too old")


def since_1970() -> int:
    """What makes of now the second hour of 1970: a machine without a clock of its own."""
    return 3600 - int(time.time())


SCENARIOS = tuple(
    Scenario(name, fault, play, prepare, TEXT, lacking=lacking)
    for name, fault, play, prepare in (
        ("clock-forward", "clock set a day forward, and back", jumps(DAY_S, 0), movable),
        ("clock-back", "clock set a day back, and forward", jumps(-DAY_S, 0), movable),
        ("clock-1970", "start in 1970, then the clock is set", set_later, lambda trial: movable(trial, since_1970())),
        ("clock-ahead", "start ten years ahead, then it is set", set_later, lambda trial: movable(trial, 10 * YEAR_S)),
    )
)

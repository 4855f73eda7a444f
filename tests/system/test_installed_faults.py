"""Daemons under a real systemd that are killed, stopped, hang, crash and eat memory, one after the other."""

from __future__ import annotations

import contextlib
import time

import pytest
from installed import BACK_TIMEOUT_S, MOODY, UNITS, set_mood

CRASHES = 4
"""StartLimitBurst in the test of a crash loop, so that it need not wait for the 180 of the unit."""
EATEN_MIB = 512
"""MemoryMax in the test of an extractor that leaks, so that any machine has so much."""


def signal(chain, unit, name):
    chain.box.run("systemctl", "kill", "--kill-whom=main", f"--signal={name}", unit)


@pytest.mark.parametrize("unit", UNITS)
def test_a_killed_daemon_comes_back(chain, observe, unit):
    pid, began = chain.pids()[unit], time.monotonic()
    signal(chain, unit, "KILL")
    chain.await_back(unit, pid)
    back_s = time.monotonic() - began
    chain.await_flow()
    observe(f"kill -9 {unit}", f"back after {back_s:.1f} s, all flows after {time.monotonic() - began:.1f} s")


@pytest.fixture(scope="module")
def stopped(chain):
    """SIGSTOP to every daemon but the moody one, which hangs in its model, at once: how long until each is back."""
    pids, began, back_s = chain.pids(), time.monotonic(), {}
    set_mood(chain.box, "hung")
    for unit in UNITS:
        if unit != MOODY:
            signal(chain, unit, "STOP")

    def all_back():
        for unit in UNITS:
            if unit not in back_s and chain.is_up(unit, pids[unit]):
                back_s[unit] = time.monotonic() - began
        return len(back_s) == len(UNITS)

    chain.box.wait(lambda: chain.box.show(MOODY)["MainPID"] != pids[MOODY], "the hung one is killed", BACK_TIMEOUT_S)
    set_mood(chain.box, "well")
    chain.box.wait(all_back, "all are back", BACK_TIMEOUT_S)
    return back_s


@pytest.mark.parametrize("unit", UNITS)
def test_the_watchdog_replaces_a_daemon_that_hangs(chain, stopped, observe, unit):
    what = "a model that hangs" if unit == MOODY else "SIGSTOP"
    observe(f"{what}: {unit}", f"watchdog; back after {stopped[unit]:.1f} s")
    assert "Watchdog timeout" in chain.box.journal("--unit", unit, "--grep", "Watchdog timeout")


def test_everything_flows_after_the_watchdog(chain, stopped):
    chain.await_flow()


@contextlib.contextmanager
def overridden(box, unit, text):
    """A drop-in of the operator's, for as long as the block lasts; after it the unit is started anew if it failed."""
    path = box.path(f"/run/systemd/system/{unit}.d/override.conf")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    box.run("systemctl", "daemon-reload")
    try:
        yield
    finally:
        path.unlink()
        box.run("systemctl", "daemon-reload")
        box.run("systemctl", "reset-failed", unit)
        box.run("systemctl", "start", unit)


def test_a_crash_loop_ends_as_failed_and_status_says_so(chain, observe):
    began = time.monotonic()
    with overridden(chain.box, MOODY, f"[Unit]\nStartLimitBurst={CRASHES}\n"):
        set_mood(chain.box, "crashing")
        chain.box.wait(lambda: chain.box.show(MOODY)["ActiveState"] == "failed", f"{MOODY} fails", BACK_TIMEOUT_S)
        failed_s = time.monotonic() - began
        done = chain.vpctl("status", check=False)
        set_mood(chain.box, "well")
    told = next(line for line in done.stdout.splitlines() if line.startswith("extractor-moody"))
    observe(f"a crash loop, {CRASHES} starts allowed", f"failed after {failed_s:.1f} s; exit code {done.returncode}")
    observe("vpctl status says of it", " ".join(told.split()))
    assert done.returncode == 3
    assert "failed" in told
    assert "exit status 3" in told


@pytest.mark.parametrize("unit", UNITS)
def test_no_daemon_may_take_all_memory(chain, observe, unit):
    limit = chain.box.show(unit)["MemoryMax"]
    assert limit.isdigit(), f"MemoryMax={limit}"
    observe(f"memory limit of {unit}", f"{int(limit) >> 20} MiB")


@pytest.fixture(scope="module")
def eater(chain, observe):
    """The moody extractor has eaten more memory than it may: which processes ran before, and what systemd told."""
    pids, began, began_wall = chain.pids(), time.monotonic(), time.time()
    with overridden(chain.box, MOODY, f"[Service]\nMemoryMax={EATEN_MIB}M\n"):
        set_mood(chain.box, "greedy")
        chain.box.wait(lambda: chain.box.show(MOODY)["MainPID"] != pids[MOODY], f"{MOODY} is killed", BACK_TIMEOUT_S)
        killed_s = time.monotonic() - began
        set_mood(chain.box, "well")
        chain.await_back(MOODY, pids[MOODY])
    back_s = time.monotonic() - began
    observe(f"MemoryMax={EATEN_MIB}M, and eaten", f"killed after {killed_s:.1f} s, back after {back_s:.1f} s")
    return pids, chain.box.journal("--unit", MOODY, f"--since=@{began_wall:.0f}")


def test_an_extractor_that_eats_memory_is_killed_by_its_limit(eater):
    _, journal = eater
    assert "status=9/KILL" in journal
    assert "Watchdog timeout" not in journal


def test_the_others_go_on_while_one_eats_memory(chain, eater):
    pids, _ = eater
    now = chain.pids()
    assert {unit: now[unit] for unit in UNITS if unit != MOODY} == {u: pids[u] for u in UNITS if u != MOODY}

"""visualpath under a real systemd: it keeps a moment, starts, stops and logs as the documents say."""

from __future__ import annotations

import json
import time

import pytest
from installed import BACK_TIMEOUT_S, CLIPS_PATH, CONFIG, MOODY, MOODY_LINE, RUN_DIR, TOUCHED_PATH, UNITS, write_config

MAX_STOP_S = 5.0
MAX_EXPOSURE = 1.5
LEVELS = {"DEBUG": "7", "INFO": "6", "WARNING": "4", "ERROR": "3"}


def test_a_clip_is_made_of_a_file(chain, observe):
    began = time.monotonic()
    clip = chain.box.wait(chain.clips, "a clip is saved", BACK_TIMEOUT_S)[0]
    observe("the first clip of a file", f"{time.monotonic() - began:.1f} s after the start; {clip['path']}")
    assert chain.box.path(f"{CLIPS_PATH}/{clip['path']}").stat().st_size > 0


def test_the_clip_is_what_was_saved(chain):
    clip = chain.box.wait(chain.clips, "a clip is saved", BACK_TIMEOUT_S)[0]
    chain.vpctl("clips", "verify", clip["clip_id"])


def test_a_hook_is_run_for_a_clip(chain):
    chain.box.wait(chain.box.path(TOUCHED_PATH).exists, f"the hook makes {TOUCHED_PATH}", BACK_TIMEOUT_S)


def test_systemd_has_nothing_to_say_about_the_installed_units(chain):
    done = chain.box.run("systemd-analyze", "verify", "--man=no", "visualpath.target", *UNITS)
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("unit", UNITS)
def test_a_daemon_may_do_little(chain, observe, unit):
    done = chain.box.run("systemd-analyze", "security", "--no-pager", unit)
    exposure = float(done.stdout.split(f"exposure level for {unit}:")[1].split()[0])
    observe(f"exposure of {unit}", f"{exposure}")
    assert exposure <= MAX_EXPOSURE


@pytest.mark.parametrize("unit", UNITS)
def test_the_log_is_json_with_the_priority_of_its_level(chain, unit):
    lines = chain.box.run("journalctl", "--no-pager", "-o", "json", "-u", unit, "_TRANSPORT=stdout").stdout
    entries = [json.loads(line) for line in lines.splitlines()]
    records = [(json.loads(entry["MESSAGE"]), entry["PRIORITY"]) for entry in entries if entry["MESSAGE"][:1] == "{"]
    assert records
    assert {LEVELS[record["level"]] for record, _ in records} == {priority for _, priority in records}


@pytest.fixture(scope="module")
def applied(chain):
    """The moody extractor is taken out of the YAML, and put back: its state without it, all processes around that."""
    pids = [chain.pids()]
    write_config(chain.box, CONFIG.replace(MOODY_LINE, ""))
    chain.vpctl("apply")
    without = chain.box.show(MOODY)
    write_config(chain.box, CONFIG)
    chain.vpctl("apply")
    chain.await_active()
    pids.append(chain.pids())
    return without, *pids


def test_apply_stops_what_the_yaml_names_no_more(applied):
    without, *_ = applied
    assert (without["ActiveState"], without["UnitFileState"]) == ("inactive", "disabled")


@pytest.mark.parametrize("unit", ["visualpath-clip.service", "visualpath-extractor@face.service"])
def test_apply_leaves_alone_whom_the_change_does_not_concern(applied, unit):
    _, before, after = applied
    assert before[unit] == after[unit]


def test_apply_enables_what_the_yaml_names(chain, applied):
    assert {unit: chain.box.show(unit)["UnitFileState"] for unit in UNITS} == dict.fromkeys(UNITS, "enabled")


@pytest.fixture(scope="module")
def stopped(chain, observe):
    """After `vpctl down`: what systemd knows of each unit, and the sockets that are left; all is started again."""
    began = time.monotonic()
    chain.vpctl("down")
    took_s = time.monotonic() - began
    units = {unit: chain.box.show(unit) for unit in UNITS}
    sockets = chain.box.run("find", RUN_DIR, "-type", "s").stdout
    chain.vpctl("up")
    chain.await_active()
    asked_us = min(int(unit["ActiveExitTimestampMonotonic"]) for unit in units.values())
    ended_us = max(int(unit["InactiveEnterTimestampMonotonic"]) for unit in units.values())
    observe("vpctl down", f"all daemons ended {(ended_us - asked_us) / 1e6:.1f} s after the first was asked to")
    observe("... with vpctl's own start and end", f"{took_s:.1f} s")
    return units, sockets, (ended_us - asked_us) / 1e6


def test_vpctl_down_ends_all_daemons_in_order(stopped):
    units, sockets, _ = stopped
    assert {unit["ActiveState"] for unit in units.values()} == {"inactive"}
    assert {unit["Result"] for unit in units.values()} == {"success"}
    assert sockets == ""


def test_everything_stops_within_5_s(stopped):
    *_, stop_s = stopped
    assert stop_s <= MAX_STOP_S


def test_vpctl_shows_every_daemon(chain):
    assert [name for name, status in chain.statuses().items() if "pid" not in status] == []

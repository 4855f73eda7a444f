"""The Debian package in a box of its own: installed, upgraded with a clip open, removed, purged; in this order."""

from __future__ import annotations

import time

import pytest
from installed import (
    BACK_TIMEOUT_S,
    CLIPS_PATH,
    CONFIG_PATH,
    PACKAGED_CONFIG,
    PACKAGED_UNITS,
    SAMPLE,
    VIDEO_PATH,
    Installed,
    write_config,
)
from systemd_box import Box

STATE_PATH = "/var/lib/visualpath/fusion"
PACKAGE = "visualpath"
MEDIA = f"{CLIPS_PATH}/*/*.mp4"


@pytest.fixture(scope="module")
def package(made, observe):
    """The chain of PACKAGED_CONFIG, from the first of two packages, in a box that knew nothing of visualpath."""
    first, second = sorted((made / "package").glob("*.deb"))
    with Box({"/srv/first.deb": first, "/srv/second.deb": second, VIDEO_PATH: SAMPLE}) as box:
        began = time.monotonic()
        box.run("dpkg", "--install", "/srv/first.deb")
        observe(f"dpkg --install, {first.stat().st_size / 1e6:.0f} MB", f"{time.monotonic() - began:.1f} s")
        write_config(box, PACKAGED_CONFIG)
        chain = Installed(box)
        chain.vpctl("apply")
        chain.await_active(*PACKAGED_UNITS)
        yield chain


@pytest.fixture(scope="module")
def upgraded(package, observe):
    """The same after an upgrade in the middle of a clip: what was open, and which processes ran, before it."""
    package.box.wait(lambda: package.clips("recording"), "a clip is open", BACK_TIMEOUT_S)
    pids = {unit: package.box.show(unit)["MainPID"] for unit in PACKAGED_UNITS}
    opened, began = package.clips("recording"), time.monotonic()
    package.box.run("dpkg", "--install", "/srv/second.deb")
    package.await_active(*PACKAGED_UNITS)
    observe("dpkg --install of the next: until all daemons serve", f"{time.monotonic() - began:.1f} s")
    return opened, pids


@pytest.fixture(scope="module")
def removed(package, upgraded, observe):
    """The same after a removal; the clips that there were before it."""
    kept, began = find(package, MEDIA), time.monotonic()
    package.box.run("dpkg", "--remove", PACKAGE)
    observe("dpkg --remove", f"{time.monotonic() - began:.1f} s; {len(kept)} clips, state and configuration kept")
    return kept


@pytest.fixture(scope="module")
def purged(package, removed, observe):
    """The same after a purge; the clips that there were before it."""
    began = time.monotonic()
    package.box.run("dpkg", "--purge", PACKAGE)
    observe("dpkg --purge", f"{time.monotonic() - began:.1f} s; {len(removed)} clips kept")
    return removed


def find(chain, pattern):
    """The files of the box that match."""
    return sorted(chain.box.run("sh", "-c", f"ls -d {pattern}", check=False).stdout.split())


def test_dpkg_finds_every_file_as_it_was_packed(package):
    assert [line for line in verify(package) if CONFIG_PATH not in line] == []


def verify(chain):
    return chain.box.run("dpkg", "--verify", PACKAGE, check=False).stdout.splitlines()


def test_the_upgrade_is_installed(package, upgraded):
    version = package.box.run("dpkg-query", "--show", "--showformat=${Version}", PACKAGE).stdout
    assert version.endswith("-2")


def test_an_upgrade_keeps_the_edited_configuration(package, upgraded):
    assert package.box.path(CONFIG_PATH).read_text() == PACKAGED_CONFIG


@pytest.mark.parametrize("unit", PACKAGED_UNITS)
def test_an_upgrade_restarts_what_runs(package, upgraded, unit):
    _, pids = upgraded
    assert package.box.show(unit)["MainPID"] not in ("0", pids[unit])


def test_a_clip_that_was_open_at_the_upgrade_is_saved(package, upgraded, observe):
    opened, _ = upgraded

    def saved():
        return {clip["clip_id"]: clip for clip in package.clips()}.get(opened[0]["clip_id"])

    clip = package.box.wait(saved, f"clip {opened[0]['clip_id']} is saved", BACK_TIMEOUT_S)
    package.vpctl("clips", "verify", clip["clip_id"])
    gaps = ", ".join(gap["reason"] for gap in clip["sidecar"]["gaps"]) or "none"
    observe("the clip that was open meanwhile", f"saved, {clip['sidecar']['frames']} frames, gaps: {gaps}")


def test_a_removal_stops_all_and_takes_the_programs(package, removed):
    assert package.box.run("systemctl", "list-units", "--plain", "--no-legend", "visualpath-*").stdout == ""
    assert find(package, "/opt/visualpath/venvs /usr/bin/vpctl /usr/lib/systemd/system/visualpath*") == []


def test_a_removal_keeps_configuration_state_and_clips(package, removed):
    assert package.box.path(CONFIG_PATH).read_text() == PACKAGED_CONFIG
    assert find(package, STATE_PATH) == [STATE_PATH]
    assert find(package, MEDIA) == removed


def test_a_purge_takes_configuration_and_state(package, purged):
    assert find(package, f"/etc/visualpath {STATE_PATH} /opt/visualpath") == []


def test_a_purge_keeps_the_clips(package, purged):
    assert purged != []
    assert find(package, MEDIA) == purged

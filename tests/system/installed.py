"""visualpath in a box, as an operator installs, configures and starts it; what the tests of the box share."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from systemd_box import Box

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "var/sample/faces.mp4"
"""A file in which faces come and go; `make test-systemd` makes it."""

CONFIG_PATH = "/etc/visualpath/visualpath.yaml"
VIDEO_PATH = "/srv/faces.mp4"
MOOD_PATH = "/srv/mood"
CLIPS_PATH = "/var/lib/visualpath/clips"
TOUCHED_PATH = "/var/lib/visualpath/watch/touched"
RUN_DIR = "/run/visualpath"

STREAM = "cam1"
MOODY = "visualpath-extractor@moody.service"
UNITS = (
    "visualpath-clip.service",
    "visualpath-fusion.service",
    "visualpath-extractor@face.service",
    MOODY,
    f"visualpath-frame@{STREAM}.service",
    "visualpath-watch.service",
)

PLACES = """
run_dir: /run/visualpath
state_dir: /var/lib/visualpath
venvs_dir: /opt/visualpath/venvs
models_dir: /opt/visualpath/models
ring: {dir: /run/visualpath-ring}
trace: {dir: /run/visualpath/trace, size: 4MiB}
log: {format: json}
"""

MOODY_LINE = "  moody: {venv: light, expected: false, hang_timeout: 2s}\n"

CONFIG = f"""
{PLACES}
streams:
  {STREAM}: {{source: {VIDEO_PATH}, loop: true}}
extractors:
  face: {{venv: face}}
{MOODY_LINE}fusion:
  rules:
    - {{label: face, when: face.count >= 1, for: 500ms, cooldown: 2s}}
clip: {{dir: {CLIPS_PATH}, pre: 1s, post: 1s}}
hooks: {{touch: {{exec: [/usr/bin/touch, {TOUCHED_PATH}]}}}}
"""

PACKAGED_UNITS = (
    "visualpath-clip.service",
    "visualpath-fusion.service",
    "visualpath-extractor@quality.service",
    f"visualpath-frame@{STREAM}.service",
)
PACKAGED_CONFIG = f"""
{PLACES}
streams:
  {STREAM}: {{source: {VIDEO_PATH}, loop: true}}
extractors:
  quality: {{}}
fusion:
  rules:
    - {{label: bright, when: quality.brightness >= 0.01, for: 500ms, cooldown: 2s}}
clip: {{dir: {CLIPS_PATH}, pre: 1s, post: 8s, max_length: 20s}}
"""
"""Needs no venv but core and light; a clip is open nearly always."""

BACK_TIMEOUT_S = 120.0
FLOW_TIMEOUT_S = 60.0


class Installed:
    """The chain of CONFIG in a box.

    Args:
        box: where the units, programs and the configuration are.
    """

    def __init__(self, box: Box) -> None:
        self.box = box

    def vpctl(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """One command of vpctl, as an operator gives it."""
        return self.box.run("vpctl", "--config", CONFIG_PATH, *args, check=check)

    def statuses(self) -> dict[str, Any]:
        """What each daemon says of itself; `down` is true of one that does not answer."""
        found: dict[str, Any] = json.loads(self.vpctl("--json", "status", check=False).stdout)
        return found

    def clips(self, state: str = "saved") -> list[dict[str, Any]]:
        """The clips in a state, the newest last; none while the clip daemon does not answer."""
        done = self.vpctl("--json", "clips", check=False)
        if done.returncode:
            return []
        return [clip for clip in json.loads(done.stdout)["clips"] if clip["state"] == state]

    def pids(self) -> dict[str, str]:
        """Of the main process of each unit, in the box; 0 where none runs."""
        return {unit: self.box.show(unit)["MainPID"] for unit in UNITS}

    def await_active(self, *units: str, timeout_s: float = BACK_TIMEOUT_S) -> None:
        """Until these units (default: all) are up and say that they serve."""
        for unit in units or UNITS:
            self.await_back(unit, "0", timeout_s)

    def await_back(self, unit: str, old_pid: str, timeout_s: float = BACK_TIMEOUT_S) -> None:
        """Until a unit is up, as another process than before."""
        self.box.wait(lambda: self.is_up(unit, old_pid), f"{unit} is active", timeout_s)

    def is_up(self, unit: str, old_pid: str) -> bool:
        """Whether a unit is active, as another process than the one that had this pid."""
        state = self.box.show(unit)
        return state["ActiveState"] == "active" and state["MainPID"] not in ("0", old_pid)

    def await_flow(self) -> None:
        """Until observations, sets and frames in the clip daemon have all moved on from where they are."""
        before = self.flow()
        self.box.wait(lambda: all(map(int.__gt__, self.flow(), before)), "everything flows", FLOW_TIMEOUT_S)

    def flow(self) -> tuple[int, int, int]:
        """Observations of faces, sets, frames in the clip daemon: counted since each daemon's start."""
        statuses = self.statuses()
        fusion, clip = (statuses[daemon].get("counters", {}) for daemon in ("fusion", "clip"))
        return fusion.get("obs.face", 0), fusion.get("sets", 0), clip.get("frames", 0)


def set_mood(box: Box, mood: str) -> None:
    """What the moody extractor does from its next frame on."""
    box.path(MOOD_PATH).write_text(mood)


def install(box: Box) -> None:
    """Copy the stage to / and run what a package would run after that."""
    box.run("sh", "-c", "cp -a /srv/stage/* /")
    box.run("sh", "/srv/postinst", "configure")


def install_moody(box: Box) -> None:
    """Put the moody extractor into the venv `light`, as pip does."""
    site = next(box.path("/opt/visualpath/venvs/light/lib").glob("python3.*")) / "site-packages"
    shutil.copy(box.path("/srv/moody.py"), site)
    info = site / "moody-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: moody\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[visualpath.extractors]\nmoody = moody:MoodyExtractor\n")


def write_config(box: Box, text: str) -> None:
    """Edit visualpath.yaml in its place, as an operator does."""
    box.path(CONFIG_PATH).write_text(text)

"""What the soak plays on: a chain with a camera that obeys, small disks, and numbers that a seed decides."""

from __future__ import annotations

import random
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from chain import STREAM, VENVS, Chain
from scenario import RECOVERY_S, Trial
from small_disk import FullDisk
from soak_camera import Camera

QUALITY = (VENVS / "light/bin/python").exists()
SOURCES = ("a", "b", "quality") if QUALITY else ("a", "b")


class SmallDisk(FullDisk):
    """A tmpfs for so many minutes of moments, which runs out of bytes or of inodes."""

    def __init__(self, folder: Path, minutes: float) -> None:
        self._size_mib, self._inodes = int(64 + 4 * minutes), int(1000 + 300 * minutes)
        super().__init__(folder, "bytes")

    def _mount(self) -> None:
        options = f"size={self._size_mib}m,nr_inodes={self._inodes}"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self.folder], check=True)

    def run_out_of(self, what: str) -> None:
        """Fill it with `bytes` or `inodes`."""
        self._what = what
        self.strike()


class Ground(Trial):
    """A running chain with its camera and its disks, and the numbers by which this fault is played."""

    def __init__(self, chain: Chain, mend: ExitStack, camera: Camera, disks: dict[str, SmallDisk]) -> None:
        super().__init__(chain, mend)
        self.camera = camera
        self.disks = disks
        self.random = random.Random()

    def lasts(self, longest_s: float) -> float:
        """Let the fault last, for a random time; returns it."""
        seconds = self.random.uniform(0.3, longest_s)
        time.sleep(seconds)
        return seconds

    def begin_epoch(self) -> int:
        """Have the camera hang up; returns the epoch that begins, once fusion knows of it."""
        before = self.status("fusion")["streams"][STREAM]["epoch"]
        self.camera.hang_up()

        def epoch() -> int | None:
            stream = self.status("fusion")["streams"][STREAM]
            return stream["epoch"] if stream["epoch"] > before and stream["last_t_ns"] is not None else None

        begun: int = self.chain.wait(epoch, "a new epoch begins", RECOVERY_S)
        return begun

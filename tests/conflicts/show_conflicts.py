"""`make conflicts`: libraries that refuse each other, at work beside each other in one live chain.

    show_conflicts.py [--video ../shared/media/facenet_video.mp4] [--frames 100]

First each conflict: what pip says of both libraries in one venv (needs the package index), and what comes of one put
into the other's venv all the same. Then the chain, with three extractors in three venvs: which library each process
has loaded, by its memory map, and what each has observed. Exit code 0: pip refuses each pair, and all observe.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.append(str(Path(__file__).resolve().parents[1] / "faults"))  # a script finds only what lies beside it

from chain import CHECKOUT, VENVS, Chain, FaultError

from visualpath_protocol.endpoints import FUSION, extractor_daemon

VIDEO = CHECKOUT.parent / "shared/media/facenet_video.mp4"
START_S, RUN_S = 90.0, 90.0
SHOWN = ("numpy", "opencv-python-headless", "protobuf", "mediapipe", "onnx", "onnxruntime")
SITE = re.compile(r"/\S+/site-packages/")
PICTURE = "import numpy; rgb = numpy.zeros((64, 64, 3), numpy.uint8)\n"
USE_MEDIAPIPE = PICTURE + "import mediapipe; mediapipe.solutions.face_mesh.FaceMesh().process(rgb)"
USE_MOTION = """
import numpy; from conflicting import MotionExtractor; from visualbase.frame import Frame
motion = MotionExtractor(); [motion.extract(Frame(numpy.zeros((64, 64, 1), "u1"), frame_id=i, t_ns=i)) for i in (0, 1)]
"""


@dataclass(frozen=True)
class Conflict:
    """Two libraries that pip puts into no venv together.

    Attributes:
        wanted: the requirements of both, for pip.
        forced: (venv, packages put in front of its own, their venv, program) by which one shows what would come of it.
    """

    wanted: tuple[str, str]
    forced: tuple[tuple[str, tuple[str | Path, ...], str, str], ...]


CONFLICTS = (
    Conflict(
        ("mediapipe==0.10.21", "onnx==1.23.2"),
        (
            ("face", ("onnx", "ml_dtypes"), "conflict-onnx", "import onnx"),
            ("face", ("google",), "conflict-onnx", USE_MEDIAPIPE),
        ),
    ),
    Conflict(
        ("mediapipe==0.10.21", "opencv-python-headless==5.0.0.93"),
        (
            ("face", (CHECKOUT / "tests/conflicts/plugin/conflicting.py",), "conflict-opencv", USE_MOTION),
            ("face", ("cv2", CHECKOUT / "tests/conflicts/plugin/conflicting.py"), "conflict-opencv", USE_MOTION),
            ("face", ("numpy", "numpy.libs", "cv2"), "conflict-opencv", USE_MEDIAPIPE),
        ),
    ),
)

CONFIG = """
venvs_dir: {venvs}
streams:
  cam: {{source: {video}, loop: true, ready_timeout: 60s}}
extractors:
  face: {{venv: face}}
  contrast: {{venv: conflict-onnx}}
  motion: {{venv: conflict-opencv}}
fusion:
  rules:
    - label: together
      when: {{all: [face.count >= 1, contrast.rms > 0, motion.changed >= 0]}}
      for: 500ms
      cooldown: 2s
clip: {{pre: 1s, post: 1s}}
"""
"""The rule fires only if all three speak of the same frames."""


def site_packages(venv: str) -> Path:
    return next((VENVS / venv).glob("lib/python3*/site-packages"))


def versions(site: Path) -> dict[str, str]:
    """Return the version of each distribution of a venv."""
    return {found.name: found.version for found in distributions(path=[str(site)])}


def refused(wanted: tuple[str, str]) -> list[str]:
    """Ask pip for both in one venv; return what it says of the conflict, [] if it finds none."""
    command = [str(VENVS / "face/bin/python"), "-m", "pip", "install", "--dry-run", "--ignore-installed", *wanted]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return [line for line in done.stdout.splitlines() if line.startswith("ERROR") or " depends on " in line]


def forced(venv: str, packages: tuple[str | Path, ...], other: str, program: str) -> tuple[str, str]:
    """Put packages of another venv in front of a venv's own; return what was tried, and what a program ends with."""
    with tempfile.TemporaryDirectory() as folder:
        for package in packages:
            source = package if isinstance(package, Path) else site_packages(other) / package
            (Path(folder) / source.name).symlink_to(source)
        done = subprocess.run(
            [str(VENVS / venv / "bin/python"), "-c", program],
            capture_output=True, text=True, check=False, env={"PYTHONPATH": folder},
        )  # fmt: skip
    tried = " and ".join(getattr(package, "stem", package) for package in packages if package != "numpy.libs")
    return f"{tried} of the venv {other} before those of the venv {venv}", done.stderr.strip().splitlines()[
        -1
    ] if done.returncode else "works"


def loaded(pid: int) -> dict[str, str]:
    """Return the versions of what a process has loaded, by the compiled modules in its memory."""
    paths = set(re.findall(r"/\S+/site-packages/\S+", Path(f"/proc/{pid}/maps").read_text()))
    [site] = {Path(SITE.match(path)[0]) for path in paths}  # one venv, and no other
    tops = {Path(path).relative_to(site).parts[0] for path in paths}
    packages = {"opencv-python-headless": "cv2", "protobuf": "google"}
    found = {name: v for name, v in versions(site).items() if packages.get(name, name) in tops}
    python = Path(f"/proc/{pid}/exe").readlink().name.removeprefix("python")
    return {"venv": site.relative_to(VENVS).parts[0], "Python": python, **found}


def show_chain(console: Console, video: Path, frames: int) -> None:
    """Run the chain until all have observed so many frames and a rule about all three has fired; print a table."""
    venvs = {"face": "face", "contrast": "conflict-onnx", "motion": "conflict-opencv"}
    needed = {VENVS / venv / "bin/python": "make conflicts" for venv in venvs.values()}
    with Chain(CONFIG.format(venvs=VENVS, video=video), needed) as chain:
        chain.up()
        chain.wait_for_flow(START_S)

        def counters() -> dict[str, int]:
            return (chain.status(FUSION) or {"counters": {}})["counters"]

        def enough() -> bool:
            now = counters()
            return now.get("triggers", 0) and all(now.get(f"obs.{name}", 0) >= frames for name in venvs)

        chain.wait(enough, f"{frames} observations of each, and a trigger", RUN_S)
        table = Table("extractor", "pid", "venv", "Python", *SHOWN, "OBS", "skipped", box=None)
        for name in venvs:
            status = chain.wait(lambda name=name: chain.status(extractor_daemon(name)), f"{name} answers", START_S)
            found = loaded(status["pid"])
            cells = [found[key] for key in ("venv", "Python")] + [found.get(key, "-") for key in SHOWN]
            counted = [counters().get(f"{what}.{name}", 0) for what in ("obs", "skips")]
            table.add_row(name, str(status["pid"]), *cells, *map(str, counted))
        console.print(f"\nEach in a venv of its own, at once in one chain, on {video.name}:")
        console.print(table)
        console.print(
            f"aligned sets: {counters()['sets']}; triggers of a rule about all three: {counters()['triggers']}"
        )


def main() -> int:
    """Show each conflict, then the chain."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--video", type=Path, default=VIDEO)
    parser.add_argument("--frames", type=int, default=100, help="how many each extractor is to observe")
    args = parser.parse_args()
    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
    real = True
    console.print("What refuses to be in one venv, by pip, and what comes of it when it is forced:\n")
    for conflict in CONFLICTS:
        console.print(f"pip install {' '.join(conflict.wanted)}")
        said = refused(conflict.wanted)
        console.print("\n".join(f"    {line.strip()}" for line in said), soft_wrap=True)
        real &= any("ResolutionImpossible" in line for line in said)
        for attempt in conflict.forced:
            console.print("    forced, {}: {}".format(*forced(*attempt)), soft_wrap=True)
    try:
        show_chain(console, args.video.resolve(), args.frames)
    except FaultError as error:
        sys.stderr.write(f"conflicts: {error}\n")
        return 1
    return 0 if real else 1


if __name__ == "__main__":
    sys.exit(main())

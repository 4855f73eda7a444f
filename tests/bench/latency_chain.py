"""The chain that bench_latency.py measures: one stream of 640x480 at 30 fps and four scripted extractors.

Real processes over ipc, each started as `visualpath-exec ROLE NAME`; the launcher is that of the fault scripts.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import yaml

sys.path.append(str(Path(__file__).resolve().parents[1] / "faults"))  # a script finds only what lies beside it

from chain import EXEC, FRAME, STREAM, VENVS, Chain, FaultError
from start_orders import Processes

__all__ = ["FRAME", "STREAM", "Chain", "FaultError", "Processes"]  # for the modules beside

Scripts = dict[str, dict[str, Any]]

BUSY: Scripts = {
    "a": {"mean_ms": 42, "sd_ms": 8, "seed": 1},
    "b": {"mean_ms": 22, "sd_ms": 3, "seed": 2},
    "c": {"mean_ms": 53, "sd_ms": 9, "seed": 3, "tail": {"share": 0.15, "low_ms": 75, "high_ms": 95}},
    "d": {"mean_ms": 8, "sd_ms": 1, "seed": 4},
}
"""The workload of the alignment contract; c is 58 +- 15 ms in all."""
C_TEN_TIMES: Scripts = {
    **BUSY,
    "c": {"mean_ms": 530, "sd_ms": 90, "seed": 3, "tail": {"share": 0.15, "low_ms": 750, "high_ms": 950}},
}

WINDOW_MS = 100
DROP = "skip_busy"
START_S = 30.0

WIDTH, HEIGHT, FPS, SECONDS = 640, 480, 30, 10
STEP = 4  # pixels that the pattern moves per frame


def write_video(path: Path) -> None:
    """Write bars that move to the right; they are in their first place again at the end."""
    row = 128 + 100 * np.sin(np.arange(WIDTH) * 2 * np.pi / (FPS * STEP))
    column = 28 * np.sin(np.arange(HEIGHT) * 2 * np.pi / 97)
    picture = (row[np.newaxis, :] + column[:, np.newaxis]).round().clip(0, 255).astype(np.uint8)
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "g": str(FPS)})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(SECONDS * FPS):
            moved = np.roll(picture, number * STEP, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved, format="gray").reformat(format="yuv420p")))
        container.mux(stream.encode())


def configuration(video: Path, scripts: Scripts) -> str:
    """Return a visualpath.yaml with a rule that never fires."""
    extractor = {"plugin": "scripted", "venv": "core", "drop": DROP}
    return yaml.safe_dump(
        {
            "venvs_dir": str(VENVS),
            "streams": {STREAM: {"source": str(video), "loop": True, "ready_timeout": "10s"}},
            "extractors": {
                name: {**extractor, "config": {**script, "signals": {"value": 1.0}}} for name, script in scripts.items()
            },
            "fusion": {
                "window": f"{WINDOW_MS}ms",
                "rules": [{"label": "never", "when": "a.value >= 2", "for": "1s"}],
            },
            "clip": {"pre": "1s", "post": "1s"},
        }
    )


@contextmanager
def running(video: Path, scripts: Scripts) -> Iterator[tuple[Chain, Processes]]:
    """Start the whole chain, and give it once data flow through every link; all of it is gone at the end."""
    with Chain(configuration(video, scripts), {EXEC: "make venvs"}) as chain, Processes(chain) as processes:
        for role in chain.roles:
            processes.start(role.daemon)
        try:
            chain.wait_for_flow(START_S)
        except FaultError as error:
            raise FaultError(f"{error}; {', '.join(processes.ended()) or 'all daemons run'}") from error
        yield chain, processes


def cpu_s(chain: Chain) -> dict[str, float]:
    """Return the seconds of CPU that each daemon has used; all must run."""
    used = {}
    for role in chain.roles:
        fields = Path(f"/proc/{chain.pid(role.daemon)}/stat").read_text().rpartition(")")[2].split()
        used[role.daemon] = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")  # utime and stime
    return used

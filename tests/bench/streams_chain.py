"""The chain that bench_streams.py watches: four cameras of 1280x720 at 10 fps.

Real daemons under supervisord, started as an operator does; the launcher is that of the fault scripts.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

sys.path.append(str(Path(__file__).resolve().parents[1] / "faults"))  # a script finds only what lies beside it

from chain import VENVS, Chain, FaultError, Status

from visualbase import jpeg
from visualbase.sources.synthetic import Pattern, draw
from visualpath_protocol.endpoints import CLIP, FUSION

__all__ = ["Chain", "FaultError", "Status"]  # for the modules beside

STREAMS = tuple(f"cam{n}" for n in range(1, 5))
CAMERA = "synthetic://?width=1280&height=720&fps=10&frames=0&live=1"
NEEDED = {VENVS / "core/bin/vpctl": "make venvs", VENVS / "light/bin/python": "make venvs"}
START_S = 30.0
FINISH_S = 120.0
POLL_S = 0.5
MAX_CLIPS = 10_000
"""As many as a daemon lists."""
BARE_PICTURES = 200

SCRIPTED = {"plugin": "scripted", "venv": "core", "config": {"mean_ms": 10, "sd_ms": 3, "signals": {"value": 1.0}}}
RULES = [
    {"label": "often", "when": "quality.brightness >= 0", "cooldown": "30s"},
    {"label": "longer", "when": "quality.brightness >= 0", "for": "2s", "cooldown": "45s"},
]
"""They always hold: 3.3 triggers a minute for each stream, some of which meet and share a clip."""

Told = dict[str, Status]
"""By daemon, what it answers to `status`."""


@dataclass(frozen=True)
class Kept:
    """Triggers and clips.

    Attributes:
        triggers: how many fusion has decided.
        clips: rows of the clip daemon's ledger.
        is_settled: nothing more becomes of them.
    """

    triggers: int
    clips: list[dict[str, Any]]
    is_settled: bool


def configuration(video: Path | None, *, scripted: bool) -> str:
    """Return a visualpath.yaml of four cameras, or of one video four times over."""
    file = {"source": str(video and video.resolve()), "loop": True}
    return yaml.safe_dump(
        {
            "venvs_dir": str(VENVS),
            "streams": {name: file if video else {"source": f"{CAMERA}&seed={n}"} for n, name in enumerate(STREAMS)},
            "extractors": {"quality": {}, **({"scripted": SCRIPTED} if scripted else {})},
            "fusion": {"rules": RULES},
            "clip": {"pre": "3s", "post": "3s", "format": "h264"},
        }
    )


def bare_picture_s() -> float:
    """Return the CPU, in s, that drawing and encoding one picture of the cameras takes here."""
    ground = Pattern.from_uri(CAMERA).ground()
    began = time.process_time()
    for number in range(BARE_PICTURES):
        jpeg.encode(draw(ground, number, number))
    return (time.process_time() - began) / BARE_PICTURES


def start(chain: Chain) -> None:
    """Start all daemons, and return once each has moved on."""
    chain.up()
    chain.wait_for_flow(START_S)


def told(chain: Chain) -> Told:
    """Return what all daemons say of themselves.

    Raises:
        FaultError: one does not answer in a long time.
    """
    return chain.wait_for_answers(START_S)


def finish(chain: Chain) -> Kept:
    """Wait until every trigger has its clip and this is H.264, at most FINISH_S; return what there is then."""
    deadline_s = time.monotonic() + FINISH_S
    while not (kept := look(chain)).is_settled and time.monotonic() < deadline_s:
        time.sleep(POLL_S)
    return kept


def look(chain: Chain) -> Kept:
    """Return how far the clips are; a trigger that comes meanwhile makes it unsettled."""
    answers = told(chain)
    clips = chain.ask(CLIP, "clips", {"limit": MAX_CLIPS, "brief": True})["clips"]
    open_ones = [clip for clip in clips if clip["state"] == "recording" or clip["h264"] == "wanted"]
    is_settled = not (open_ones or answers[CLIP]["unfinished"] or answers[FUSION]["outbox"])
    return Kept(answers[FUSION]["counters"]["triggers"], clips, is_settled)

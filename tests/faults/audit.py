"""Whether every trigger became exactly one clip or one explained failure: by files, ledger, log and outbox."""

from __future__ import annotations

import hashlib
import json
import math
import re
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import av

from visualbase.sources.synthetic import Code, read_code
from visualpath.runtime.config import Config
from visualpath_protocol.messages import FrameHeader

LOGGED = re.compile(r" INFO fusion: TRIG ([0-9a-f]{16}) (\S+) (\S+)/(\d+) ([0-9.]+)s\.\.([0-9.]+)s ")
DEFECTS = ("Traceback", "defect of its own", "lost.trigger", "is lost")


@dataclass
class Audit:
    """What was found; `wrong` is empty if all adds up."""

    triggers: set[str] = field(default_factory=set)
    saved: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    frames: int = 0
    gaps: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


def rows(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of a daemon's database, read beside it; none before it is made."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as database:
        try:
            return database.execute(query).fetchall()
        except sqlite3.OperationalError:
            return []


def ledger_states(config: Config) -> dict[str, tuple[str, str]]:
    """By trig_id: its clip's state, and why."""
    query = "SELECT trig_id, state, why FROM triggers JOIN clips USING (clip_id)"
    found = rows(config.state_dir / "clip/ledger.db", query)
    return {trig_id: (state, why) for trig_id, state, why in found}


def in_outbox(config: Config) -> set[str]:
    """Triggers that are not acknowledged."""
    return {trig_id for (trig_id,) in rows(config.state_dir / "fusion/outbox.db", "SELECT trig_id FROM outbox")}


def every_trigger(config: Config) -> set[str]:
    """All that are on disk."""
    return in_outbox(config) | set(ledger_states(config))


def unsettled(config: Config) -> set[str]:
    """Triggers on their way: in the outbox, or with a clip that is still being recorded."""
    recording = {trig_id for trig_id, (state, _) in ledger_states(config).items() if state == "recording"}
    return in_outbox(config) | recording


def audit(config: Config, cooldown_s: float) -> Audit:
    """Compare everything that tells of triggers and clips. Nothing may be running."""
    found = Audit()
    logged = LOGGED.findall((config.state_dir / "supervisor/fusion.log").read_text(errors="replace"))
    accepted = {trig_id for (trig_id,) in rows(config.state_dir / "clip/ledger.db", "SELECT trig_id FROM triggers")}
    waiting = in_outbox(config)
    found.triggers = {trig_id for trig_id, *_ in logged} | accepted | waiting
    for trig_id in sorted(waiting):
        found.wrong.append(f"{trig_id} was never acknowledged")
    _check_ledger(found, config)
    _check_files(found, config)
    _check_cooldown(found, logged, cooldown_s)
    for log in sorted((config.state_dir / "supervisor").glob("*.log")):
        for line in log.read_text(errors="replace").splitlines():
            if any(word in line for word in DEFECTS):
                found.wrong.append(f"{log.name}: {line}")
    return found


def _check_ledger(found: Audit, config: Config) -> None:
    states = ledger_states(config)
    for trig_id in sorted(found.triggers):
        state, why = states.get(trig_id, ("absent", ""))
        if state == "saved":
            found.saved.add(trig_id)
        elif state == "failed" and why:
            found.failed[trig_id] = why
        else:
            found.wrong.append(f"{trig_id} is {state} in the ledger")
    for trig_id in sorted(set(states) - found.triggers):
        found.wrong.append(f"{trig_id} has a clip and no trigger")


def _check_files(found: Audit, config: Config) -> None:
    clips = sorted(config.clips_dir.glob("*/*.mp4"))
    of = Counter(path.stem.rpartition("_")[2] for path in clips)
    query = "SELECT clip_id FROM clips WHERE state = 'saved'"
    saved = {clip_id for (clip_id,) in rows(config.state_dir / "clip/ledger.db", query)}
    for clip_id in sorted(set(of) | saved):
        wanted = int(clip_id in saved)
        if of[clip_id] != wanted:
            found.wrong.append(f"{clip_id} has {of[clip_id]} clip files, not {wanted}")
    for path in config.clips_dir.rglob("*"):
        if path.is_file() and path.suffix not in (".mp4", ".json", ".jpg") and not path.name.endswith(".h264.part"):
            found.wrong.append(f"left over: {path.relative_to(config.clips_dir)}")
    for path in clips:
        found.wrong += [f"{path.name}: {what}" for what in check_clip(found, path)]


def check_clip(found: Audit, path: Path) -> list[str]:
    """What is wrong with one clip: its sum, its pictures, and whether its sidecar speaks of all that was asked."""
    sidecar = json.loads(path.with_suffix(".json").read_bytes())
    wrong = []
    if hashlib.sha256(path.read_bytes()).hexdigest() != sidecar["sha256"]:
        wrong.append("is not the file that its sidecar tells of")
    with av.open(str(path)) as container:
        decoded = sum(1 for _ in container.decode(video=0))
    if decoded != sidecar["frames"]:
        wrong.append(f"{decoded} pictures decode, the sidecar says {sidecar['frames']}")
    covered = sidecar["asked"][0]
    spans = [sidecar["delivered"], *([gap["from"], gap["to"]] for gap in sidecar["gaps"])]
    for start, end in sorted(spans):
        if start > covered:
            wrong.append(f"nothing is said of {covered} to {start}")
        covered = max(covered, end)
    if covered < sidecar["asked"][1]:
        wrong.append(f"nothing is said of {covered} to {sidecar['asked'][1]}")
    found.frames += decoded
    found.gaps.update(gap["reason"] for gap in sidecar["gaps"])
    return wrong


def wanted(published: list[FrameHeader], asked: tuple[int, int]) -> list[Code]:
    """What the pictures of a clip of `asked` say, by the rule: those whose [t_i, t_i+1) meets it; the last has no end.

    Args:
        published: by a `synthetic://` stream within one epoch.
        asked: event time in ns.
    """
    ends = [*(header.t_ns for header in published[1:]), math.inf]
    return [
        Code(header.frame_id, header.t_ns)
        for header, until_ns in zip(published, ends, strict=True)
        if until_ns > asked[0] and header.t_ns <= asked[1]
    ]


def pictures(path: Path) -> list[tuple[int, Code | None]]:
    """Each picture of a clip: when it is shown (ns from the clip's beginning), and what it says of itself."""
    with av.open(str(path)) as container:
        return [
            (round(frame.pts * frame.time_base * 1_000_000_000), read_code(frame.to_ndarray(format="rgb24")))
            for frame in container.decode(video=0)
        ]


def _check_cooldown(found: Audit, logged: list[tuple[str, ...]], cooldown_s: float) -> None:
    """No moment fired twice, across restarts of fusion too."""
    ends: dict[tuple[str, ...], list[tuple[float, str]]] = {}
    for trig_id, label, stream, epoch, _, end in logged:
        ends.setdefault((label, stream, epoch), []).append((float(end), trig_id))
    for fired in ends.values():
        fired.sort()
        for (before, first), (after, second) in pairwise(fired):
            if first != second and after - before < cooldown_s:
                found.wrong.append(f"{second} fired {after - before:.3f} s after {first}, within the cooldown")

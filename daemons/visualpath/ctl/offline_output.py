"""What `vpctl process` leaves in its folder: observations, triggers, clips, and the overlay."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import msgspec
import numpy as np

from visualbase.extract import ClipExtractor
from visualpath.core.fusion import GateChange
from visualpath.core.stream_types import Noted
from visualpath.ctl.overlay import Overlay
from visualpath.runtime.sections import ClipConfig
from visualpath.video import Step
from visualpath_protocol.clock import NS_PER_S
from visualpath_protocol.messages import Trig

OBSERVATIONS, TRIGGERS, CLIPS, OVERLAY = "obs.jsonl", "triggers.jsonl", "clips", "overlay.mp4"
FLOAT32_DIGITS = 7
"""Significant digits that tell each number of type float32 from its neighbours, nearly: what is written of arrays."""


class OfflineOutput:
    """Writes as the steps come; no file depends on when or where it is written.

    Until `finish`, the names of the files end in `.part`; so do those of a run that breaks off.

    Args:
        folder: is made; holds none of the files yet.
        overlay: also write the video with what was seen drawn into it.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, *, overlay: bool) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._open = ExitStack()
        self._names = [OBSERVATIONS, TRIGGERS]
        self._observations = self._open.enter_context(self._part(OBSERVATIONS).open("xb"))
        self._triggers = self._open.enter_context(self._part(TRIGGERS).open("xb"))
        self._gate = ""
        self._overlay: Overlay | None = None
        self._with_overlay = overlay

    def add(self, step: Step, notes: list[str]) -> None:
        """Take one step; `notes` are lines about the decision, for the overlay.

        Raises:
            OSError: the disk is full, or fails.
        """
        for trigger in step.triggers:
            _write(self._triggers, trigger)
        for outcome in step.outcomes:
            if isinstance(outcome, Noted) and isinstance(outcome.note, GateChange):
                state = "open" if outcome.note.is_open else "closed"
                self._gate = f"gate {state} since {outcome.t_ns / NS_PER_S:.3f} s"
        if step.looked is None:
            return
        frame = step.looked.frame
        for source, result in step.looked.results.items():
            for each in result.observations:
                line = {"source": source, "stream": frame.stream, "frame_id": each.frame_id, "t_ns": each.t_ns}
                _write(self._observations, {**line, "signals": each.signals, "data": each.data})
        if self._with_overlay:
            if self._overlay is None:
                self._names.append(OVERLAY)
                self._overlay = Overlay(self._part(OVERLAY), (frame.width, frame.height))
                self._open.callback(self._overlay.close)
            self._overlay.add(step.looked, step.triggers, [*([self._gate] if self._gate else []), *notes])

    def close(self) -> None:
        """Write what is left."""
        self._open.close()

    def finish(self) -> None:
        """Nothing more comes: give the files their names."""
        self.close()
        for name in self._names:
            self._part(name).rename(self._folder / name)

    def _part(self, name: str) -> Path:
        return self._folder / f"{name}.part"


def _write(file: IO[bytes], value: Any) -> None:
    file.write(msgspec.json.encode(value, enc_hook=_plain) + b"\n")


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        if value.dtype == np.float32:
            digits = [float(f"{number:.{FLOAT32_DIGITS}g}") for number in value.ravel().tolist()]
            return np.array(digits).reshape(value.shape).tolist()
        return value.tolist()
    return str(value)


def write_clips(source: str, triggers: list[Trig], config: ClipConfig, folder: Path) -> list[Path]:
    """Cut the clips of all triggers out of the video; those that overlap share one, as in the daemon.

    Each is an MP4 of exactly the frames asked for, with a JSON file beside it that says what it holds.

    Raises:
        MediaError: one of them cannot be read or written.
    """
    written = []
    for group in joined(triggers, config):
        start, end = span(group, config)
        with ClipExtractor().extract(source, start, end) as clip:
            folder.mkdir(exist_ok=True)
            labels = "+".join(dict.fromkeys(each.label for each in group))[:80]
            path = clip.save(folder / f"{group[0].t_start_ns / NS_PER_S:09.3f}-{labels}.mp4")
            facts = {
                "asked_ns": [start, end],
                "delivered_ns": [clip.delivered.from_ns, clip.delivered.to_ns],
                "frames": clip.frames,
                "gaps": [{"from_ns": g.from_ns, "to_ns": g.to_ns, "reason": g.reason} for g in clip.gaps],
                "sound": clip.sound,
                "triggers": [each.trig_id for each in group],
            }
            path.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
            written.append(path)
    return written


def joined(triggers: list[Trig], config: ClipConfig) -> list[list[Trig]]:
    """Triggers whose clips overlap, together, as far as the longest clip allows."""
    groups: list[list[Trig]] = []
    for trigger in sorted(triggers, key=lambda each: each.t_start_ns):
        if groups:
            start, end = span(groups[-1], config)
            wider = span([*groups[-1], trigger], config)
            if trigger.t_start_ns - config.pre_ns <= end and wider[1] - start <= config.max_length_ns:
                groups[-1].append(trigger)
                continue
        groups.append([trigger])
    return groups


def span(group: list[Trig], config: ClipConfig) -> tuple[int, int]:
    """The event time that the clip of a group asks for."""
    return min(t.t_start_ns for t in group) - config.pre_ns, max(t.t_end_ns for t in group) + config.post_ns

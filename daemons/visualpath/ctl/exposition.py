"""What daemons answer to `metrics`, as Prometheus reads it. Pure.

In the tables below a word in capitals stands for any name and becomes the label of that name, in small letters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import Metric, generate_latest

from visualpath.core.health import STATES, Health

PREFIX = "visualpath_"

COUNTERS = {
    "acked.RESULT": ("acks_total", "Answers of clip to TRIGs."),
    "backend.CHANGE.REASON": ("backend_changes_total", "Changes of an extractor's backends."),
    "clips.STATE": ("clips_total", "Clips that were saved, and moments without one."),
    "damaged.FILE": ("databases_damaged_total", "Databases that were found damaged, and replaced."),
    "deferred.KIND": ("deferred_total", "TRIGs not taken yet, for want of room; they come again."),
    "dropped.REASON": ("dropped_total", "What was dropped; which things these are, the reason tells."),
    "failed.REASON": ("failed_total", "What failed: attempts or frames, as the reason tells."),
    "frames": ("frames_total", "Frames published, or heard of."),
    "fused.SOURCE": ("obs_fused_total", "OBS of a source that were in a set."),
    "jpeg_bytes_sent": ("jpeg_sent_bytes_total", "Bytes of JPEGs sent to subscribers."),
    "late.SOURCE": ("obs_late_total", "OBS that came after their set had left."),
    "lost.KIND": ("lost_total", "Triggers that are lost."),
    "missing.REASON.SOURCE": ("missing_total", "Sets in which an expected source had said nothing."),
    "obs.SOURCE": ("obs_total", "OBS that came from a source."),
    "outbox.REASON": ("outbox_failures_total", "Rows of the outbox that the disk refused to store or to delete."),
    "received": ("headers_received_total", "Frame headers that came to an extractor."),
    "refused.LINK.REASON": ("refused_total", "Messages that were refused."),
    "resets.KIND": ("resets_total", "New epochs and time jumps."),
    "sent.KIND": ("sent_total", "Messages sent."),
    "sets": ("frames_fused_total", "Frames that rules have seen."),
    "sets.REASON": ("sets_total", "Sets, by what ended the wait for more observations."),
    "skipped.REASON": ("skipped_total", "Frames that an extractor left out."),
    "skips.SOURCE": ("skips_total", "Frames that a source announced as left out."),
    "triggers": ("triggers_total", "Moments decided."),
    "triggers.RESULT": ("triggers_received_total", "TRIGs that came to clip."),
    "hooks.RESULT.HOOK": ("hook_events_total", "Events for a hook, by what became of them."),
    "h264.RESULT": ("h264_total", "Clips that became H.264, and those that cannot."),
    "source.EVENT": ("source_events_total", "Times that a source has begun to give pictures, and that it was lost."),
    "swept": ("swept_total", "Files deleted at the start that a crash had left."),
    "unreported.SOURCE": ("frames_unreported_total", "Frames of which a source said neither OBS nor SKIP."),
    "waiting.KIND": ("waiting_total", "Attempts to send while nobody was there."),
}
"""Counters by their dotted name; the last word in capitals takes all that follows."""

OTHER = "other_total", "Counters that have no metric of their own."
"""For counters that are not in the table: by their `name`."""

STATUS = {
    "uptime_ns": ("uptime_seconds", "Time since the daemon's start."),
    "rss_bytes": ("resident_memory_bytes", "Resident memory."),
    "open_files": ("open_files", "File descriptors in use."),
    "measured.last_frame_age_ns": ("last_frame_age_seconds", "Time since the newest frame was captured."),
    "ring.bytes": ("ring_bytes", "Bytes that the ring holds."),
    "ring.max_bytes": ("ring_max_bytes", "Bytes that the ring may hold."),
    "ring.held_ns": ("ring_held_seconds", "Event time that the ring holds."),
    "subscribers.TOPIC": ("subscribers", "Who listens to a stream."),
    "extractor.registered": ("extractor_registered", "Whether fusion has accepted the extractor."),
    "extractor.busy_ns": ("extractor_busy_seconds", "For how long the present inference has run; 0 between two."),
    "extractor.backend.rung": ("extractor_backend_rung", "The backend in use, counted from 0, the best; -1: none."),
    "outbox": ("outbox_triggers", "Triggers that clip has not acknowledged."),
    "sources.SOURCE.silent_ms": ("source_silent_seconds", "Time since fusion heard of a source."),
    "sources.SOURCE.lost": ("source_lost_total", "Messages of a source that never arrived."),
    "streams.STREAM.recording": ("clips_recording", "Clips in the making."),
    "streams.STREAM.damaged_records": ("ring_damaged_records_total", "Records of a ring that made no sense."),
}
"""Numbers of the answer, by where they are in it; what a daemon does not say is no metric."""

HISTOGRAMS = {
    "decode": "From a frame's pick until it was decoded.",
    "extract": "Time in the extractor.",
    "capture_to_obs": "From a frame's capture until its observations were sent.",
    "hold": "From a frame's first observations until its set left the alignment.",
    "capture_to_set": "From a frame's capture until its set left the alignment.",
    "capture_to_trigger": "From a frame's capture until the trigger it completed was decided.",
    "trigger_to_clip": "From the arrival of a TRIG until its clip was saved.",
    "capture_to_clip": "From the capture of the first frame past a clip's end until the clip was saved.",
}
"""Histograms by their name in the daemon; the metric is `visualpath_NAME_seconds`."""

UP = "up", "Whether the daemon answers."
HEALTH = "health", "Whether the daemon does its part: 0 healthy, 1 degraded, 2 failed."
PER_UNIT = {"ns": 1_000_000_000, "ms": 1_000}

Labels = dict[str, str]
Row = tuple[str, str]
"""A metric without its prefix, and what it means."""


def exposition(answers: Mapping[str, dict[str, Any] | None], health: Mapping[str, Health] | None = None) -> str:
    """All metrics in Prometheus's text format.

    Args:
        answers: to `metrics`, by daemon; None for one that does not answer.
        health: of each daemon.
    """
    return generate_latest(_Families(answers, health or {})).decode()


def metric_of(counter: str) -> tuple[Row, Labels]:
    """The metric and the labels of a counter."""
    for pattern, row in COUNTERS.items():
        head, *names = pattern.split(".")
        first, *values = counter.split(".", len(names))
        if first == head and len(values) == len(names):
            return row, {name.lower(): value for name, value in zip(names, values, strict=True)}
    return OTHER, {"name": counter}


class _Families:
    """Metric families of all daemons, each with the samples of all."""

    def __init__(self, answers: Mapping[str, dict[str, Any] | None], health: Mapping[str, Health]) -> None:
        self._families: dict[str, Metric] = {}
        for daemon, each in health.items():
            self._add(HEALTH, {"daemon": daemon}, STATES.index(each.state))
        for daemon, answer in answers.items():
            self._add(UP, {"daemon": daemon}, answer is not None)
            if answer is not None:
                self._add_answer(answer, {"daemon": daemon})

    def collect(self) -> Iterator[Metric]:
        """For prometheus_client."""
        return iter(self._families.values())

    def _add_answer(self, answer: dict[str, Any], daemon: Labels) -> None:
        for counter, count in answer.get("counters", {}).items():
            row, labels = metric_of(counter)
            self._add(row, daemon | labels, count)
        for path, row in STATUS.items():
            per_unit = PER_UNIT.get(path.rpartition("_")[2], 1)
            for labels, value in _found(answer, path.split("."), daemon):
                self._add(row, labels, value / per_unit)
        histograms = answer.get("histograms", {"series": []})
        for series in histograms["series"]:
            self._add_histogram(series, histograms["bounds_s"], daemon | series["labels"])

    def _add(self, row: Row, labels: Labels, value: float) -> None:
        name, meaning = row
        family = self._family(name.removesuffix("_total"), meaning, "counter" if name.endswith("_total") else "gauge")
        family.add_sample(PREFIX + name, labels, value)

    def _add_histogram(self, series: dict[str, Any], bounds_s: list[float], labels: Labels) -> None:
        name, cumulative = series["name"], series["cumulative"]
        family = self._family(f"{name}_seconds", HISTOGRAMS.get(name, f"Durations of {name}."), "histogram")
        for bound, count in zip((*map(str, bounds_s), "+Inf"), cumulative, strict=True):
            family.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, count)
        family.add_sample(f"{family.name}_count", labels, cumulative[-1])
        family.add_sample(f"{family.name}_sum", labels, series["sum_s"])

    def _family(self, name: str, meaning: str, kind: str) -> Metric:
        return self._families.setdefault(name, Metric(PREFIX + name, meaning, kind))


def _found(value: Any, path: list[str], labels: Labels) -> Iterator[tuple[Labels, float]]:
    """The numbers that lie at `path`, each with the names it was found under."""
    if not path:
        if isinstance(value, (int, float)):
            yield labels, value
    elif isinstance(value, dict):
        key, *rest = path
        if key.isupper():
            for name, inner in value.items():
                yield from _found(inner, rest, {**labels, key.lower(): name})
        elif key in value:
            yield from _found(value[key], rest, labels)

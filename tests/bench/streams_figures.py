"""From samples of processes to figures and verdicts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

MIB = 1 << 20
TEN_MINUTES_S = 600
MEMORY_LIMIT_MIB = 1.0
"""In ten minutes. A daemon of one camera that kept 200 bytes of each frame, a header, would need 1.2 MB more. What
fills at the start (rings, buffers) is in the first third, which is not looked at."""
MIN_SAMPLES = 8
LOST = ("clips.failed", "dropped.", "failed.", "lost.", "outbox.", "refused.", "skipped.")
"""Beginnings of the counters of what is gone; `lost.` also of messages that never came, by source. Not `unreported.`:
it tells of frames 4096 frames old, so of those at the start, while the extractor was connecting."""
SAID = ("skipped.backpressure",)
"""Left out because the extractor had no time: by its `drop` strategy, announced, and nothing of the chain's doing."""
NORMAL = (
    "acked.accepted", "clips.saved", "frames", "h264.done", "jpeg_bytes_sent", "received", "resets.epoch", "sets",
    "sets.complete", "source.connects", "triggers", "triggers.accepted",
)  # fmt: skip
NORMAL_FAMILIES = ("fused.", "obs.", "sent.", "skips.")
BEFORE_START = "before_start"
"""The one gap that a complete clip may have: there was nothing to miss."""

Verdict = Literal["flat", "grows", "unclear"]


@dataclass(frozen=True)
class Trend:
    """A straight line through samples of memory, in bytes.

    Attributes:
        per_hour: its slope.
        noise_per_hour: twice the slope's standard error, widened for samples that resemble their predecessors.
    """

    per_hour: float
    noise_per_hour: float

    @property
    def in_ten_minutes_mib(self) -> tuple[float, float]:
        """Both, in MiB."""
        scale = TEN_MINUTES_S / 3600 / MIB
        return self.per_hour * scale, self.noise_per_hour * scale

    @property
    def verdict(self) -> Verdict:
        """Whether it rises by more than the limit, surely; surely not; or noise forbids to say."""
        rise_mib, noise_mib = self.in_ten_minutes_mib
        if rise_mib - noise_mib > MEMORY_LIMIT_MIB:
            return "grows"
        return "flat" if rise_mib + noise_mib <= MEMORY_LIMIT_MIB else "unclear"


def trend(times_s: Sequence[float], values: Sequence[float]) -> Trend:
    """Return the line of least squares through all samples.

    The error of its slope holds for independent deviations; memory comes in steps that stay. So it is multiplied by
    sqrt((1 + r) / (1 - r)), r being the correlation of each deviation with the next (Santer et al. 2000, J. Geophys.
    Res. 105).

    Raises:
        ValueError: fewer than MIN_SAMPLES.
    """
    if len(times_s) < MIN_SAMPLES:
        raise ValueError(f"{len(times_s)} samples are too few for a trend, {MIN_SAMPLES} are needed")
    t, v = np.asarray(times_s, float), np.asarray(values, float)
    t -= t.mean()
    slope = (t @ (v - v.mean())) / (t @ t)
    deviations = v - v.mean() - slope * t
    squares = deviations @ deviations
    r = min(max(deviations[1:] @ deviations[:-1] / squares, 0.0), 0.95) if squares > 0 else 0.0
    error = np.sqrt(squares / (len(t) - 2) / (t @ t) * (1 + r) / (1 - r))
    return Trend(float(slope * 3600), float(2 * error * 3600))


def judge(times_s: Sequence[float], values: Sequence[float]) -> Verdict:
    """Return whether memory grows, by the trends of all samples and of each half of them.

    A leak goes on all the time. So one calm half makes it flat: what rose in the other is a step, such as an allocator
    makes once. A longer run tells whether it comes again.
    """
    half = len(times_s) // 2
    parts = slice(None), slice(None, half), slice(half, None)
    verdicts = {trend(times_s[part], values[part]).verdict for part in parts}
    if "flat" in verdicts:
        return "flat"
    return "grows" if verdicts == {"grows"} else "unclear"


def settled(times_s: Sequence[float]) -> slice:
    """Return which samples are of the last two thirds of the time: rings and caches have filled before."""
    began_s = times_s[0] + (times_s[-1] - times_s[0]) / 3
    return slice(next(n for n, at_s in enumerate(times_s) if at_s >= began_s), None)


def grows_in_number(counts: Sequence[int]) -> bool:
    """Whether file descriptors leak: the fewest of the second half are more than of the first; some come and go."""
    half = len(counts) // 2
    return min(counts[half:]) > min(counts[:half])


def counters(status: Mapping[str, Any]) -> dict[str, int]:
    """Return a daemon's counters; of fusion also the messages that never came from each source."""
    lost = {f"lost.{source}": row["lost"] for source, row in status.get("sources", {}).items()}
    return {**status["counters"], **lost}


def gained(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, int]:
    """Return by how much each counter of a daemon has grown between two answers to `status`."""
    then = counters(before)
    return {name: count - then.get(name, 0) for name, count in counters(after).items()}


def is_normal(counter: str) -> bool:
    """Whether it grows while all is well."""
    return counter in NORMAL or counter.startswith(NORMAL_FAMILIES)


def is_lost(counter: str) -> bool:
    """Whether it counts what is gone."""
    return counter.startswith(LOST) and counter not in SAID


def lacking(sidecar: Mapping[str, Any]) -> list[str]:
    """Return what a clip's sidecar says is absent, though it was there to be had."""
    wrong = [f"gap {gap['reason']}" for gap in sidecar["gaps"] if gap["reason"] != BEFORE_START]
    first, last, frames = (sidecar[key] for key in ("first_frame_id", "last_frame_id", "frames"))
    if last - first + 1 != frames:
        wrong.append(f"{frames} frames of #{first} to #{last}")
    return wrong

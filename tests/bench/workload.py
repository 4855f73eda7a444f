"""What four extractors say about the frames of a camera: the generator of the alignment contract.

"Simulated latencies": A takes 42 +- 8 ms, B 22 +- 3, D 8 +- 1, C 53 +- 9 in 85 % of the frames and evenly 75 to 95 in
the others. A frame is delivered in 0.3 to 1.0 ms, a message in 0.1 to 0.5 ms; a source's messages keep their order.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

MS = 1_000_000
SOURCES = "abcd"


class Message(NamedTuple):
    """One message, at the time at which fusion receives it. A BOUND promises t_ns, that of the frame just picked."""

    at_ns: int
    kind: Literal["obs", "skip", "bound"]
    source: str
    frame_id: int
    t_ns: int


@dataclass(frozen=True)
class Workload:
    """A camera, and what its extractors do with a frame that finds them at work.

    Attributes:
        latest: they keep the newest such frame in a mailbox of one slot; otherwise they skip it.
        strides: sources that look only at the frames whose frame_id is a multiple of this (keyframe_only).
    """

    name: str
    fps: int
    latest: bool
    strides: Mapping[str, int] = field(default_factory=dict)

    def messages(self, frames: int, seed: int) -> list[Message]:
        """All messages about so many frames, in the order in which they arrive."""
        rng = random.Random(seed)
        arrived: list[Message] = []
        for source in SOURCES:
            link_ns = 0
            for sent in sorted(self._sent_by(source, frames, rng), key=lambda message: message.at_ns):
                link_ns = max(link_ns, sent.at_ns + _ns(rng.uniform(0.1, 0.5)))
                arrived.append(sent._replace(at_ns=link_ns))
        return sorted(arrived, key=lambda message: message.at_ns)

    def _sent_by(self, source: str, frames: int, rng: random.Random) -> list[Message]:
        """What one extractor says, each message at the time of sending."""
        sent: list[Message] = []
        free_ns = 0
        mailbox: tuple[int, int] | None = None

        def pick(frame: tuple[int, int], at_ns: int) -> int:
            done_ns = at_ns + _ns(max(1.0, _inference_ms(source, rng)))
            sent.append(Message(at_ns, "bound", source, *frame))
            sent.append(Message(done_ns, "obs", source, *frame))
            return done_ns

        for frame_id in range(0, frames, self.strides.get(source, 1)):
            t_ns = frame_id * 1_000_000_000 // self.fps
            seen_ns = t_ns + _ns(rng.uniform(0.3, 1.0))
            if mailbox is not None and free_ns <= seen_ns:
                free_ns, mailbox = pick(mailbox, free_ns), None
            if free_ns <= seen_ns:
                free_ns = pick((frame_id, t_ns), seen_ns)
                continue
            dropped = mailbox if self.latest else (frame_id, t_ns)
            if self.latest:
                mailbox = frame_id, t_ns
            if dropped is not None:
                sent.append(Message(seen_ns, "skip", source, *dropped))
        if mailbox is not None:
            pick(mailbox, free_ns)
        return sent


def _inference_ms(source: str, rng: random.Random) -> float:
    if source == "c":
        return rng.gauss(53, 9) if rng.random() < 0.85 else rng.uniform(75, 95)
    mean, deviation = {"a": (42, 8), "b": (22, 3), "d": (8, 1)}[source]
    return rng.gauss(mean, deviation)


def _ns(ms: float) -> int:
    return int(ms * MS)

"""What a run of bench_streams.py gave."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from streams_chain import STREAMS, Told
from streams_figures import gained, is_normal, settled
from streams_usage import Sample, Usage

from visualpath_protocol.clock import NS_PER_S
from visualpath_protocol.endpoints import extractor_daemon, frame_daemon


@dataclass(frozen=True)
class Measured:
    """What the run gave.

    Attributes:
        samples: in order, evenly spaced.
        before, after: what the daemons said at the first and after the last sample.
        picture_s: CPU of drawing and encoding one picture of the cameras, in this process; None: a video.
        triggers: how many fusion has decided in all.
        wrong: what is wrong with the clips of each trigger, by the trigger's id; empty: nothing.
        clips: how many there are.
    """

    samples: list[Sample]
    before: Told
    after: Told
    picture_s: float | None
    triggers: int
    wrong: dict[str, list[str]]
    clips: int

    def gained(self, daemon: str) -> Counter[str]:
        """By how much its counters have grown."""
        return Counter(gained(self.before[daemon], self.after[daemon]))

    def passed_s(self, daemon: str) -> float:
        """Between its two answers."""
        passed_ns: int = self.after[daemon]["uptime_ns"] - self.before[daemon]["uptime_ns"]
        return passed_ns / NS_PER_S

    def usages(self, daemon: str) -> list[Usage]:
        """Of its process, in order."""
        return [each.daemons[daemon] for each in self.samples if daemon in each.daemons]

    @property
    def times_s(self) -> list[float]:
        """Of the samples."""
        return [each.at_s for each in self.samples]

    @property
    def late(self) -> slice:
        """The samples of the last two thirds."""
        return settled(self.times_s)

    @property
    def sources(self) -> list[str]:
        """The extractors."""
        return [name.removeprefix("extractor-") for name in self.after if name.startswith("extractor-")]

    @property
    def published(self) -> int:
        """Frames of all streams."""
        return sum(self.gained(frame_daemon(stream))["frames"] for stream in STREAMS)

    def looked_at(self, source: str) -> tuple[int, int]:
        """How many frames an extractor has observed, and how many it has left out, for whatever reason."""
        counters = self.gained(extractor_daemon(source))
        return counters["sent.obs"], sum(count for name, count in counters.items() if name.startswith("skipped."))

    def frames_due(self, stream: str) -> int:
        """How many frames the stream should have given, by its own frame rate."""
        fps: float = self.after[frame_daemon(stream)]["stream"]["fps"]
        return round(fps * self.passed_s(frame_daemon(stream)))

    def private(self, daemon: str) -> tuple[list[float], list[int]]:
        """The last two thirds of its samples: times, and bytes of private memory."""
        return self.times_s[self.late], [each.private for each in self.usages(daemon)[self.late]]

    def abnormal(self) -> Iterator[tuple[str, str, int]]:
        """Daemon, counter and growth of all counters that are not normal."""
        for daemon in self.after:
            for name, count in sorted(self.gained(daemon).items()):
                if count and not is_normal(name):
                    yield daemon, name, count

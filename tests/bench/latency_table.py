"""Capture-to-set latency of the engine and of the documents' loop, on the same messages.

The fusion is simulated: it polls every ms, takes what has arrived, then ticks. Latency is from capture (t_ns) to that
poll. What still waits when the camera stops has all the time it wants; the loop never lets it go.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from fixed_window import FixedWindowLoop
from workload import MS, SOURCES, Message, Workload

from visualpath.core.align import AlignedSet, Aligner, AlignParams, Late, Output

BUSY_30 = Workload("30 busy", fps=30, latest=False)
WORKLOADS = (
    Workload("10 busy", fps=10, latest=False),
    Workload("15 latest", fps=15, latest=True),
    Workload("15 busy", fps=15, latest=False),
    Workload("30 latest", fps=30, latest=True),
    BUSY_30,
    Workload("30 latest, C every 3", fps=30, latest=True, strides={"c": 3}),
)


@dataclass(frozen=True)
class Algorithm:
    """The engine, and what extractors tell it besides their OBS.

    Attributes:
        ordered: that they work in order, so that an OBS settles what came before.
        hears: the kinds of message they send. With "skip" they also register their stride.
    """

    name: str
    ordered: bool
    hears: frozenset[str]
    window_ms: int = 100

    def engine(self, workload: Workload) -> Aligner:
        aligner = Aligner(AlignParams(window_ns=self.window_ms * MS))
        for source in SOURCES:
            stride = workload.strides.get(source, 1) if "skip" in self.hears else 1
            aligner.source_up(source, 0, ordered=self.ordered, stride=stride)
        return aligner


LOOP = "fixed-window loop"
SKIP = "early + skip"
ALGORITHMS = (
    Algorithm("early", ordered=False, hears=frozenset({"obs"})),
    Algorithm("early + implied bounds", ordered=True, hears=frozenset({"obs"})),
    Algorithm("early + bound at pick", ordered=True, hears=frozenset({"obs", "bound"})),
    Algorithm(SKIP, ordered=True, hears=frozenset({"obs", "skip"})),
    Algorithm("early + skip, window 150", ordered=True, hears=frozenset({"obs", "skip"}), window_ms=150),
)


@dataclass
class Figures:
    """What became of the OBS of one workload.

    Attributes:
        settled: frames that left because all had reported or promised; the loop does not know.
    """

    sent: int = 0
    in_set: int = 0
    late: int = 0
    settled: int | None = None
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def in_set_percent(self) -> float:
        return 100 * self.in_set / self.sent

    @property
    def lost(self) -> int:
        return self.sent - self.in_set - self.late

    def percentiles_ms(self) -> tuple[float, float, float]:
        """p50, p95 and p99."""
        cuts = statistics.quantiles(self.latencies_ms, n=100)
        return cuts[49], cuts[94], cuts[98]

    def line(self) -> str:
        times_ms = (*self.percentiles_ms(), max(self.latencies_ms))
        settled = "-" if self.settled is None else f"{100 * self.settled / len(self.latencies_ms):.1f}"
        ends = f"{self.in_set_percent:9.2f}{self.late:7}{100 * self.lost / self.sent:8.2f}{settled:>10}"
        return "".join(f"{time_ms:7.1f}" for time_ms in times_ms) + ends


HEADING = "".join(
    (
        f"{'fps, frame while busy':22}{'algorithm':26}",
        f"{'p50':>7}{'p95':>7}{'p99':>7}{'max':>7}{'in set %':>9}{'late':>7}{'lost %':>8}{'settled %':>10}",
    )
)


def _next_poll(stamp_ns: int) -> int:
    return -(-stamp_ns // MS) * MS


def replay(engine: Any, messages: list[Message]) -> Iterator[tuple[int, list[Output]]]:
    """Drive an engine as the fusion daemon does; gives each poll's time and outputs."""
    position = 0
    while position < len(messages) or engine.next_deadline() is not None:
        polls = [_next_poll(messages[position].at_ns)] if position < len(messages) else []
        deadline = engine.next_deadline()
        now = min(polls if deadline is None else [*polls, _next_poll(deadline)])
        outputs: list[Output] = []
        while position < len(messages) and messages[position].at_ns <= now:
            outputs += _hand_over(engine, messages[position], now)
            position += 1
        outputs += engine.tick(now)
        yield now, outputs


def _hand_over(engine: Any, message: Message, now: int) -> list[Output]:
    _, kind, source, frame_id, t_ns = message
    if kind == "obs":
        return engine.obs(source, frame_id, t_ns, now)  # type: ignore[no-any-return]
    if kind == "skip":
        return engine.skip(source, frame_id, t_ns, now)  # type: ignore[no-any-return]
    return engine.bound(source, t_ns, now)  # type: ignore[no-any-return]


def run_engine(algorithm: Algorithm, workload: Workload, frames: int, seeds: Iterable[int]) -> Figures:
    figures = Figures()
    settled = 0
    for seed in seeds:
        messages = [each for each in workload.messages(frames, seed) if each.kind in algorithm.hears]
        figures.sent += sum(message.kind == "obs" for message in messages)
        for now, outputs in replay(algorithm.engine(workload), messages):
            for out in outputs:
                if isinstance(out, AlignedSet):
                    figures.latencies_ms.append((now - out.t_ns) / MS)
                    figures.in_set += len(out.obs)
                    settled += out.reason == "complete"
                figures.late += isinstance(out, Late)
    figures.settled = settled
    return figures


def run_loop(workload: Workload, frames: int, seeds: Iterable[int]) -> Figures:
    figures = Figures()
    for seed in seeds:
        loop, left = FixedWindowLoop(), set()
        for message in workload.messages(frames, seed):
            if message.kind != "obs":
                continue
            figures.sent += 1
            for frame in loop.obs(message.source, message.frame_id, message.t_ns):
                if frame.frame_id in left:
                    figures.late += len(frame.sources)
                    continue
                left.add(frame.frame_id)
                figures.in_set += len(frame.sources)
                figures.latencies_ms.append((_next_poll(message.at_ns) - frame.t_ns) / MS)
    return figures


def latency_table(frames: int, seeds: Iterable[int]) -> dict[tuple[str, str], Figures]:
    """Print it; returns the figures by names of workload and algorithm."""
    print(HEADING)
    table: dict[tuple[str, str], Figures] = {}
    for workload in WORKLOADS:
        rows = {LOOP: run_loop(workload, frames, seeds)}
        rows |= {each.name: run_engine(each, workload, frames, seeds) for each in ALGORITHMS}
        for name, figures in rows.items():
            print(f"{workload.name:22}{name:26}{figures.line()}")
            table[workload.name, name] = figures
        print()
    return table

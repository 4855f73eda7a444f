"""The alignment engine: inputs per second beside the slow reference, latency beside the documents' loop.

    bench_align.py [--frames 4000] [--seeds 3]

Prints the table of the alignment contract ("Simulated latencies") and says of each target whether it is met; the exit
code is 1 if one is not.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from latency_table import BUSY_30, SKIP, Figures, latency_table, replay
from workload import MS, SOURCES, Message

from visualpath.core.align import Aligner, AlignParams
from visualpath.testing.slow_aligner import SlowAligner

ROUNDS = 3
"""Each cost is the best of so many: the others were disturbed by other processes."""

LEAST_INPUTS_PER_S = 100_000
LEAST_RATIO = 2.0
MOST_MS = {
    "10 busy": (60, 92, 97),
    "15 busy": (57, 91, 97),
    "30 latest": (72, 104, 112),
    "30 busy": (50, 85, 96),
}
LEAST_IN_SET_PERCENT = {"30 latest": 99.1, "30 busy": 100.0}
NONE_LOST = ("30 latest", "30 busy")

MANY = [f"s{number:02}" for number in range(63)]
UNSEEN = range(1, 255)
"""Ids that nobody reported, before the head: R18b looks at max_buffered_frames (256) of them at most."""

Make = Callable[[AlignParams], Any]
Verdict = tuple[str, bool]


class Stopwatch:
    """An engine whose calls are timed one by one."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.costs_ns: list[int] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._engine, name)

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter_ns()
            answer = method(*args, **kwargs)
            self.costs_ns.append(time.perf_counter_ns() - start)
            return answer

        return timed


def with_sources(make: Make) -> Any:
    engine = make(AlignParams())
    for source in SOURCES:
        engine.source_up(source, 0)
    return engine


def inputs_per_s(make: Make, messages: list[Message]) -> float:
    """Messages and ticks, as the fusion daemon would hand them over."""
    best = 0.0
    for _ in range(ROUNDS):
        engine = with_sources(make)
        start = time.perf_counter()
        polls = sum(1 for _ in replay(engine, messages))
        best = max(best, (len(messages) + polls) / (time.perf_counter() - start))
    return best


def costs_us(one_round: Callable[[], list[int]]) -> list[float]:
    """What each call costs, in the order of calls."""
    return [min(costs) / 1000 for costs in zip(*(one_round() for _ in range(ROUNDS)), strict=True)]


def ordinary_round(messages: list[Message]) -> list[int]:
    watch = Stopwatch(with_sources(Aligner))
    for _ in replay(watch, messages):
        pass
    return watch.costs_ns


def gap_round(skips: Iterable[tuple[str, int]]) -> list[int]:
    """R18b at its worst: the head is complete, and each source settles each id before it with a SKIP of its own."""
    watch = Stopwatch(engine := Aligner())
    for source in MANY:
        engine.source_up(source, 0, ordered=False)
    for frame_id in (UNSEEN.start - 1, UNSEEN.stop):
        released = [engine.obs(source, frame_id, frame_id * MS, 0) for source in MANY]
    assert not any(released), "the head is not held"
    for source, frame_id in skips:
        released.append(watch.skip(source, frame_id, frame_id * MS, 0))
    assert released[-1], "the head is held by more than the skips"
    return watch.costs_ns


def throughput(messages: list[Message]) -> Iterator[Verdict]:
    fast, slow = inputs_per_s(Aligner, messages), inputs_per_s(SlowAligner, messages)
    print(f"inputs/s (30 busy + skip): engine {fast:,.0f}, slow reference {slow:,.0f}, ratio {fast / slow:.1f}")
    yield f"engine {fast:,.0f} inputs/s, at least {LEAST_INPUTS_PER_S:,}", fast >= LEAST_INPUTS_PER_S
    yield f"{fast / slow:.1f} times the slow reference, at least {LEAST_RATIO:g}", fast / slow >= LEAST_RATIO


def print_costs(messages: list[Message]) -> None:
    rounds = {
        "30 busy + skip": lambda: ordinary_round(messages),
        "R18b, source by source": lambda: gap_round((source, unseen) for source in MANY for unseen in UNSEEN),
        "R18b, frame by frame": lambda: gap_round((source, unseen) for unseen in UNSEEN for source in MANY),
    }
    print(f"\ncost of one call, us (R18b: {len(MANY)} unordered sources, {len(UNSEEN)} unseen ids): mean, worst")
    for name, one_round in rounds.items():
        costs = costs_us(one_round)
        print(f"{name:24}{sum(costs) / len(costs):8.1f}{max(costs):8.1f}")


def latency(table: dict[tuple[str, str], Figures]) -> Iterator[Verdict]:
    for workload, most_ms in MOST_MS.items():
        found_ms = table[workload, SKIP].percentiles_ms()
        text = " ".join(f"{found:.1f}<={most}" for found, most in zip(found_ms, most_ms, strict=True))
        yield (
            f"{workload} + skip, p50 p95 p99: {text} ms",
            all(found <= most for found, most in zip(found_ms, most_ms, strict=True)),
        )
    for workload, least in LEAST_IN_SET_PERCENT.items():
        found = table[workload, SKIP].in_set_percent
        yield f"{workload} + skip, in set: {found:.2f} %, at least {least:g}", found >= least
    for workload in NONE_LOST:
        lost = table[workload, SKIP].lost
        yield f"{workload} + skip, lost: {lost}, none", lost == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--frames", type=int, default=4000, help="of each run (default: 4000)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each row (default: 3)")
    args = parser.parse_args()
    seeds = range(1, args.seeds + 1)
    messages = [each for each in BUSY_30.messages(args.frames, seeds[0]) if each.kind != "bound"]

    verdicts = list(throughput(messages))
    print_costs(messages)
    print(f"\ncapture to set, ms; {args.seeds} x {args.frames} frames a row, window 100 ms")
    verdicts += latency(latency_table(args.frames, seeds))
    for target, met in verdicts:
        print(f"{'met   ' if met else 'MISSED'}  {target}")
    return 0 if all(met for _, met in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())

"""The engine against the slow reference on random traces, and the guarantees G1 to G10."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from visualpath.core.align import (
    AlignedSet,
    Aligner,
    AlignParams,
    Drop,
    DropReason,
    Late,
    Output,
    Reset,
    ResetKind,
    SetReason,
)
from visualpath.testing.slow_aligner import SlowAligner
from visualpath.testing.vectors import feed

MS = 1_000_000
HOUR = 3_600_000 * MS
WORK = {"a": 8 * MS, "b": 20 * MS, "c": 30 * MS}
SOURCES = ("a", "b", "c", "d")
Event = dict[str, Any]

traced = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# Random traces. One seed makes one trace: thousands of events, which hypothesis would be slow to draw.


@dataclass
class World:
    """A camera whose clock may step, extractors that may do anything wrong, and a fusion that polls."""

    rng: random.Random
    now: int = 0
    offset: int = 0  # event time = now + offset
    frame_id: int = 0
    epoch: int = 0

    def trace(self, steps: int) -> list[Event]:
        events: list[Event] = [
            {"in": "up", "source": name, "now": 0, **self.registration()} for name in SOURCES if self.rng.random() < 0.8
        ]
        shown = [(0, 0)]
        while len(events) < steps:
            self.now += self.rng.choice((0, 1, 5, 33, 33, 33, 120)) * MS
            self.frame_id += self.rng.choice((1, 1, 1, 1, 2, 4, 12))
            shown.append((self.frame_id, self.now + self.offset))
            events += self.reports(shown[-6:])
            events += self.accidents()
        return events

    def registration(self) -> Event:
        stride = self.rng.choice((1, 1, 1, 2, 3))
        return {
            "expected": self.rng.random() < 0.8,
            "ordered": self.rng.random() < 0.6,
            "stride": stride,
            "phase": self.rng.randrange(stride),
        }

    def reports(self, recent: list[tuple[int, int]]) -> Iterator[Event]:
        """What sources say about recent frames: mostly the newest, at times twice, at times not at all."""
        for _ in range(self.rng.randrange(7)):
            frame_id, t_ns = recent[-1] if self.rng.random() < 0.5 else self.rng.choice(recent)
            kind = self.rng.choice(("obs", "obs", "obs", "obs", "skip", "bound"))
            event = {"in": kind, "source": self.rng.choice(SOURCES), "arrival": self.stamp()}
            event |= {"t": t_ns} if kind == "bound" else {"frame": frame_id, "t": t_ns}
            if self.rng.random() < 0.1:
                event["epoch"] = max(0, self.epoch + self.rng.choice((-1, 0, 0, 1)))
            if self.rng.random() < 0.06:
                event["t"] = self.rogue_time(t_ns)
            yield event

    def stamp(self) -> int:
        """Some time later, and at times a stamp that goes back."""
        self.now += self.rng.choice((0, 0, 1, 4)) * MS
        return max(0, self.now - self.rng.choice((0, 0, 0, 0, 30, 3000)) * MS)

    def rogue_time(self, t_ns: int) -> int:
        step = self.rng.choice((-(10**9), -7000, -2000, -160, -150, -33, 1, 40, 900, 1000, 1100, 60_000))
        return max(-1, t_ns + step * MS)

    def accidents(self) -> Iterator[Event]:
        luck = self.rng.random()
        if luck < 0.5:
            self.now += self.rng.choice((0, 1, 10, 60)) * MS
            yield {"in": "tick", "now": self.stamp()}
        elif luck < 0.53:
            yield {"in": "up", "source": self.rng.choice(SOURCES), "now": self.stamp(), **self.registration()}
        elif luck < 0.56:
            yield {"in": "down", "source": self.rng.choice(SOURCES), "now": self.stamp()}
        elif luck < 0.57:
            self.epoch += self.rng.choice((0, 1, 1, 2))
            self.frame_id = 0
            yield {"in": "epoch", "epoch": self.epoch, "now": self.stamp()}
        elif luck < 0.58:
            yield {"in": "close", "now": self.stamp()}
        elif luck < 0.60:
            self.offset = max(0, self.offset + self.rng.choice((-20_000, -900, 900, 20_000, 90_000)) * MS)
        elif luck < 0.61:
            self.frame_id = self.rng.choice((0, self.frame_id + 500))
        elif luck < 0.63:
            self.now += 2000 * MS


@st.composite
def params(draw: st.DrawFn) -> AlignParams:
    return AlignParams(
        window_ns=draw(st.sampled_from([0, 40, 100, 100, 400])) * MS,
        allowed_lateness_ns=draw(st.sampled_from([0, 50, 200])) * MS,
        idle_timeout_ns=draw(st.sampled_from([30, 200, 1000])) * MS,
        max_buffered_frames=draw(st.sampled_from([1, 2, 5, 256])),
        future_guard_ns=draw(st.sampled_from([50, 1000])) * MS,
        reset_backstep_ns=draw(st.sampled_from([100, 5000])) * MS,
        jump_confirm=draw(st.integers(0, 4)),
        max_sources=draw(st.sampled_from([2, 3, 64])),
    )


traces = st.builds(
    lambda seed, steps: World(random.Random(seed)).trace(steps), st.integers(0, 2**32), st.integers(1, 400)
)


def numbered(events: list[Event]) -> Iterator[Event]:
    """Each OBS with its number as payload, so that none can be lost or stand for another."""
    for number, event in enumerate(events):
        yield {**event, "payload": number} if event["in"] == "obs" else event


def drive(engine: Any, events: list[Event]) -> Iterator[tuple[Event, list[Any]]]:
    for event in numbered(events):
        yield event, feed(engine, event)


def polled(engine: Aligner, events: list[Event]) -> Iterator[tuple[Event, list[Output]]]:
    """Tick the engine at each deadline, as the daemon's loop does: between the events, and after the last one."""

    def tick_until(stamp: float) -> Iterator[tuple[Event, list[Output]]]:
        while (deadline := engine.next_deadline()) is not None and deadline < stamp:
            yield {"in": "tick", "now": deadline}, engine.tick(deadline)
            assert engine.next_deadline() != deadline, "a tick at the deadline must make progress"

    for event in numbered(events):
        yield from tick_until(event["arrival"] if "arrival" in event else event["now"])
        yield event, feed(engine, event)
    yield from tick_until(math.inf)


def all_outputs(events: list[Event], tuning: AlignParams | None = None) -> list[Output]:
    return [out for _, outputs in drive(Aligner(tuning), events) for out in outputs]


def payloads_of(out: Any) -> list[Any]:
    if isinstance(out, AlignedSet):
        return list(out.payloads.items())
    return [out.payload] if isinstance(out, Late) else []


@settings(traced, max_examples=600)
@given(traces, params())
def test_the_engine_does_what_the_slow_reference_does(events: list[Event], tuning: AlignParams) -> None:
    engine, reference = Aligner(tuning), SlowAligner(tuning)
    for (event, fast), (_, slow) in zip(drive(engine, events), drive(reference, events), strict=True):
        assert fast == slow, event
        assert [payloads_of(out) for out in fast] == [payloads_of(out) for out in slow], event
        assert engine.next_deadline() == reference.next_deadline(), event


@traced
@given(traces, params())
def test_g1_g2_sets_leave_once_and_in_rising_order_within_a_generation(
    events: list[Event], tuning: AlignParams
) -> None:
    left = [(out.gen, out.t_ns, out.frame_id) for out in all_outputs(events, tuning) if isinstance(out, AlignedSet)]
    assert left == sorted(set(left))


@traced
@given(traces, params())
def test_g3_with_a_tick_at_each_deadline_every_frame_leaves_within_the_window(
    events: list[Event], tuning: AlignParams
) -> None:
    engine = Aligner(tuning)
    for event, outputs in polled(engine, events):
        for out in outputs:
            assert not isinstance(out, AlignedSet) or out.hold_ns <= tuning.window_ns, event
    assert engine.close(0) == []


@traced
@given(traces, params())
def test_g4_nothing_grows_beyond_its_bound(events: list[Event], tuning: AlignParams) -> None:
    engine, most = Aligner(tuning), tuning.max_buffered_frames
    for event, _ in drive(engine, events):
        line, sources = engine._line, engine._roster._by_name.values()
        assert max(len(line.buffer), len(line.retired)) <= most, event
        assert len(line.buffer) == len(line._keys), event
        assert len(line.retired) == len(line._retired_keys), event
        assert not line.buffer.keys() & line.retired.keys(), event
        assert len(sources) <= tuning.max_sources, event
        assert all(len(who.skips) <= most for who in sources), event


@traced
@given(traces, params())
def test_g5_the_same_trace_gives_the_same_outputs(events: list[Event], tuning: AlignParams) -> None:
    assert all_outputs(events, tuning) == all_outputs(events, tuning)


def test_g5_two_processes_with_other_hash_seeds_give_the_same_outputs() -> None:
    code = "from test_align_properties import *; print(all_outputs(World(random.Random(7)).trace(3000)))"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert "AlignedSet" in said[0]


@traced
@given(traces, params())
def test_g6_every_obs_ends_in_exactly_one_of_set_late_drop(events: list[Event], tuning: AlignParams) -> None:
    sent = [number for number, event in enumerate(events) if event["in"] == "obs"]
    ended: list[int] = []
    for number, (_, outputs) in enumerate(drive(Aligner(tuning), [*events, {"in": "close", "now": 0}])):
        for out in outputs:
            if isinstance(out, AlignedSet):
                ended += out.payloads.values()
            elif isinstance(out, Late):
                ended.append(out.payload)
            elif isinstance(out, Drop):
                ended.append(number)  # a drop comes at once
    assert sorted(ended) == sent


@traced
@given(traces, params())
def test_g7_each_source_counts_once_in_a_frame(events: list[Event], tuning: AlignParams) -> None:
    counted: Counter[tuple[int, int, int, str]] = Counter()
    for out in all_outputs(events, tuning):
        if isinstance(out, AlignedSet):
            counted.update((out.gen, out.t_ns, out.frame_id, source) for source in out.obs)
        elif isinstance(out, Late):
            counted[out.gen, out.t_ns, out.frame_id, out.source] += 1
    assert set(counted.values()) <= {1}


@traced
@given(traces, params())
def test_g9_no_source_resets_time_alone_while_another_lives(events: list[Event], tuning: AlignParams) -> None:
    engine = Aligner(tuning)
    strays: list[tuple[str, str]] = []  # the out-of-band OBS that came last: source, kind
    for event, outputs in drive(engine, events):
        reasons = {out.reason for out in outputs if isinstance(out, Drop)}
        resets = [out.kind for out in outputs if isinstance(out, Reset)]
        if event["in"] == "obs":
            others = [who for who in engine._roster._by_name.values() if who.name != event["source"]]
            for kind in resets:
                witnesses = {event["source"], *(source for source, told in strays if told == kind)}
                assert len(witnesses) > 1 or not any(who.up and not who.idle for who in others), event
            strays += [(event["source"], kind) for kind in reasons & set(get_args(ResetKind))]
        in_band = event["in"] == "obs" and reasons <= {"duplicate", "too_late", "t_mismatch"}
        if resets or in_band:
            strays.clear()


@traced
@given(traces, params())
def test_g10_no_set_is_empty(events: list[Event], tuning: AlignParams) -> None:
    assert all(out.obs for out in all_outputs(events, tuning) if isinstance(out, AlignedSet))


@traced
@given(traces, params())
def test_r23_a_tick_before_the_deadline_does_nothing_and_one_at_it_does_something(
    events: list[Event], tuning: AlignParams
) -> None:
    engine = Aligner(tuning)
    for event, _ in drive(engine, events):
        deadline = engine.next_deadline()
        assert deadline is None or deadline >= engine._now or event["in"] != "tick"
        if deadline is None:
            assert engine.tick(engine._now) == []
        elif deadline > engine._now:
            assert engine.tick(deadline - 1) == []
            assert engine.next_deadline() == deadline
            assert engine.tick(deadline) != []


# Guarantees about one kind of trouble: an orderly world, with that trouble or without.


def orderly(
    frames: int, busy: Callable[[str, int], bool], lost: Callable[[str, int], bool], ordered: bool = True
) -> list[Event]:
    """Three sources at 30 FPS; a frame that finds its source busy is skipped, unless that is lost.

    A fourth is down; event time is an hour ahead of the clock.
    """
    events: list[tuple[int, int, Event]] = []
    for frame in range(frames):
        captured = frame * 33 * MS
        for order, (source, work_ns) in enumerate(WORK.items()):
            skips = busy(source, frame)
            if skips and lost(source, frame):
                continue
            kind, arrival = ("skip", captured) if skips else ("obs", captured + work_ns)
            event = {"in": kind, "source": source, "frame": frame, "t": HOUR + captured, "arrival": arrival}
            events.append((arrival, order, event))
    ups: list[Event] = [{"in": "up", "source": source, "now": 0, "ordered": ordered} for source in "abcd"]
    return [
        *ups,
        {"in": "down", "source": "d", "now": 0},
        *(event for _, _, event in sorted(events, key=lambda each: each[:2])),
    ]


busy_frames = st.sets(st.tuples(st.sampled_from("abc"), st.integers(0, 29)), max_size=30)


@traced
@given(busy_frames, busy_frames, st.booleans())
def test_g8_a_lost_promise_costs_time_but_never_more_than_the_window_and_no_obs(
    busy: set[tuple[str, int]], lost: set[tuple[str, int]], ordered: bool
) -> None:
    def holds(is_lost: Callable[[str, int], bool]) -> dict[int, AlignedSet]:
        events = orderly(30, lambda *which: which in busy, is_lost, ordered)
        outputs = [out for _, each in polled(Aligner(), events) for out in each]
        assert not any(isinstance(out, (Late, Drop)) for out in outputs)
        return {out.frame_id: out for out in outputs if isinstance(out, AlignedSet)}

    promised, unpromised = holds(lambda *_: False), holds(lambda *which: which in lost)
    assert promised.keys() == unpromised.keys()
    for frame, out in unpromised.items():
        assert out.obs == promised[frame].obs
        assert promised[frame].hold_ns <= WORK["c"] - WORK["a"]
        assert promised[frame].hold_ns <= out.hold_ns <= 100 * MS


wild_steps = st.sampled_from([-HOUR // MS, -10_000, -7000, 1200, 5000, 60_000, 10**9])


@traced
@given(st.lists(st.tuples(st.integers(1, 29), wild_steps, st.sampled_from("abc")), max_size=40), st.sampled_from("acd"))
def test_g9_the_wild_times_of_one_source_have_no_effect_while_another_lives(
    rogue: list[tuple[int, int, str]], who: str
) -> None:
    """The rogue may be as fast or as slow as it likes, or down; it speaks after a frame's OBS of some source."""
    calm = orderly(30, lambda *_: False, lambda *_: False)
    outputs = all_outputs(calm)
    wild: list[Event] = []
    for event in calm:
        wild.append(event)
        for frame, step, after in rogue:
            if event["in"] == "obs" and (event["frame"], event["source"]) == (frame, after):
                wild.append({**event, "source": who, "frame": 10_000, "t": event["t"] + step * MS})
    disturbed = all_outputs(wild)
    assert [out for out in disturbed if not isinstance(out, Drop)] == outputs
    assert len(disturbed) == len(outputs) + len(wild) - len(calm)


def test_the_random_traces_meet_every_kind_of_output() -> None:
    tuning = AlignParams(max_buffered_frames=5, max_sources=3, idle_timeout_ns=200 * MS, jump_confirm=2)
    seen: dict[type, set[str]] = {kind: set() for kind in get_args(Output)}
    for seed in range(10):
        for out in all_outputs(World(random.Random(seed)).trace(2000), tuning):
            seen[type(out)].add(getattr(out, "reason", "") or getattr(out, "kind", ""))
    assert seen[AlignedSet] == set(get_args(SetReason))
    assert seen[Drop] == set(get_args(DropReason))
    assert seen[Reset] == set(get_args(ResetKind))
    assert all(seen.values())

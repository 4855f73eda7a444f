"""One fault each on a fresh chain: how long any frame waited, what the sets lacked, and which counters told of it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

import zmq
from latency_chain import BUSY, C_TEN_TIMES, FRAME, Chain, FaultError, Processes, Scripts, running
from latency_figures import NS_PER_MS, share_in_sets, whole_share
from latency_watch import Watch

from visualpath_protocol.clock import NS_PER_S, mono_ns
from visualpath_protocol.codec import encode
from visualpath_protocol.endpoints import FUSION, extractor_daemon
from visualpath_protocol.messages import Obs
from visualpath_protocol.sockets import OBSERVATIONS, connect

WARM_UP_S = 1.0
BEFORE_S = 5.0
AFTER_S = 10.0
DRAIN_S = 0.5  # far longer than a frame can wait

VICTIM = extractor_daemon("c")
AHEAD_NS = 600 * NS_PER_S
ROGUE_OBS = 20
ROGUE_PAUSE_S = 0.2
CONNECT_MS = 5000

Counted = dict[str, tuple[int, Counter[str]]]
"""By daemon: its pid and its counters."""


@dataclass(frozen=True)
class Scene:
    """A running chain, and what is to be done before it can be stopped."""

    chain: Chain
    processes: Processes
    watch: Watch
    mend: ExitStack

    def suspend(self, daemon: str) -> None:
        """SIGSTOP, until the end of the scene."""
        pid = self.chain.pid(daemon)
        os.kill(pid, signal.SIGSTOP)
        self.mend.callback(os.kill, pid, signal.SIGCONT)


@dataclass(frozen=True)
class Fault:
    """What goes wrong: from the beginning by other scripts, or by `strike` in the middle of the scene."""

    what: str
    strike: Callable[[Scene], None] = lambda _scene: None
    scripts: Scripts | None = None


@dataclass(frozen=True)
class Row:
    """What came of one fault.

    Attributes:
        hold_ms: the longest time from a frame's first OBS to its set.
        longest_ms: the longest time from a frame's capture to its set.
        whole_before, whole_after: share of the sets in which no source is missing; None: no sets.
        in_sets: share of the OBS that came during the fault and left in a set; None: none came.
        frames, unfused: how many frames were captured, and how many of them never had a set.
        counters: what moved, except by what is normal.
    """

    hold_ms: float
    longest_ms: float
    whole_before: float | None
    whole_after: float | None
    in_sets: float | None
    frames: int
    unfused: int
    counters: list[str]


def send_rogues(scene: Scene) -> None:
    """Be a source that nobody has named, whose clock is ten minutes ahead."""
    context = zmq.Context()
    socket = connect(context, OBSERVATIONS, scene.chain.config.endpoints().address(FUSION, OBSERVATIONS.name))
    try:
        if not socket.poll(CONNECT_MS, zmq.POLLOUT):
            raise FaultError(f"fusion takes no OBS within {CONNECT_MS} ms")
        for number in range(ROGUE_OBS):
            newest = scene.watch.arrivals[-1]
            t_ns = newest.t_ns + AHEAD_NS
            rogue = Obs(
                source="rogue", instance="rogue", seq=number, stream=newest.stream, epoch=newest.epoch,
                frame_id=newest.frame_id + 1, t_ns=t_ns, mono_ns=mono_ns(), observations=[], bound_ns=t_ns,
            )  # fmt: skip
            socket.send(encode(rogue), zmq.NOBLOCK)
            scene.watch.run(ROGUE_PAUSE_S)
    finally:
        socket.close()
        context.term()


def restart_fusion(scene: Scene) -> None:
    """As an operator does."""
    scene.processes.end(FUSION)
    scene.processes.start(FUSION)


FAULTS = {
    "killed": Fault("c: SIGKILL", lambda scene: scene.chain.kill(VICTIM)),
    "hung": Fault("c: SIGSTOP", lambda scene: scene.suspend(VICTIM)),
    "slow": Fault("c: ten times slower, always", scripts=C_TEN_TIMES),
    "ahead": Fault(f"{ROGUE_OBS} OBS of a rogue, 600 s ahead", send_rogues),
    "stopped": Fault("frame daemon: SIGSTOP", lambda scene: scene.suspend(FRAME)),
    "restarted": Fault("fusion: SIGTERM and start", restart_fusion),
}


def play(fault: Fault, video: Path) -> Row:
    """Start a chain, let the fault happen, and look at what came out."""
    scripts = fault.scripts or BUSY
    with (
        running(video, scripts) as (chain, processes),
        closing(Watch(chain.config.endpoints())) as watch,
        ExitStack() as mend,
    ):
        watch.run(WARM_UP_S)
        before, began_ns = counted(chain), mono_ns()
        watch.run(BEFORE_S)
        struck_ns = mono_ns() if fault.scripts is None else began_ns
        fault.strike(Scene(chain, processes, watch, mend))
        watch.run(AFTER_S - (mono_ns() - struck_ns) / NS_PER_S)
        ended_ns, after = mono_ns(), counted(chain)
        watch.run(DRAIN_S)
    during = [each for each in watch.arrivals if each.at_ns >= struck_ns and each.source in scripts]
    captured = {key: at_ns for key, at_ns in watch.captured.items() if began_ns <= at_ns < ended_ns}
    sets = [seen for seen in watch.sets if seen.key in captured]
    return Row(
        hold_ms=max(seen.hold_ns for seen in sets) / NS_PER_MS,
        longest_ms=max(seen.at_ns - captured[seen.key] for seen in sets) / NS_PER_MS,
        whole_before=whole_share([seen for seen in sets if seen.at_ns < struck_ns]),
        whole_after=whole_share([seen for seen in sets if seen.at_ns >= struck_ns]),
        in_sets=share_in_sets(captured, during, sets),
        frames=len(captured),
        unfused=len(captured.keys() - {seen.key for seen in sets}),
        counters=moved(before, after),
    )


def counted(chain: Chain) -> Counted:
    """Return the counters of all daemons that answer; of fusion also what it knows to be lost."""
    found = {}
    for daemon, status in chain.statuses().items():
        if status is not None:
            counters = Counter(status["counters"])
            counters.update({f"lost from {name}": row["lost"] for name, row in status.get("sources", {}).items()})
            found[daemon] = status["pid"], counters
    return found


def moved(before: Counted, after: Counted) -> list[str]:
    """Return which counters of fusion have moved beside the normal ones, and what the extractors dropped, summed."""
    normal = {"sets", "sets.complete", *(f"{kind}.{source}" for kind in ("obs", "skips", "fused") for source in BUSY)}
    gained: Counter[str] = Counter()
    for daemon, (pid, counters) in after.items():
        same = daemon in before and before[daemon][0] == pid
        start = before[daemon][1] if same else Counter()  # a new process counts from 0
        for name, n in counters.items():
            if daemon == FUSION and name not in normal:
                gained[name] += n - start[name]
            elif daemon.startswith(extractor_daemon("")) and name.startswith("dropped."):
                gained[f"extractors {name}"] += n - start[name]
    return [f"{name} +{n}" for name, n in sorted(gained.items()) if n]

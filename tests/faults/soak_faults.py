"""The faults of the soak: those of the scenarios, of random length, on a chain that has seen others before."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import clock_faults
import link_faults
import process_faults
import small_disk
import zmq
from chain import FRAME, STREAM, FaultError
from link_faults import come_and_go
from soak_ground import QUALITY, SOURCES, Ground

from visualpath_protocol.clock import mono_ns
from visualpath_protocol.codec import encode
from visualpath_protocol.messages import Obs, Ping
from visualpath_protocol.sockets import CONTROL, HEADERS, OBSERVATIONS, TAP, TRIGGERS, connect

LINKS = ((FRAME, HEADERS), ("fusion", OBSERVATIONS), ("fusion", TAP), ("clip", TRIGGERS), ("clip", CONTROL))
NO_FRAMES = ("no frame of the span",)
NO_ROOM = ("no space", "no room")


Play = Callable[[Ground], str]
"""Does it, and waits until data flow; returns what there is to say."""


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    Attributes:
        name: what is done, and whom it hits.
        play: does it.
        ends_fusion: whether it ends the process of fusion.
        explains: words of the reasons for which a clip may fail by it.
    """

    name: str
    play: Play
    ends_fusion: bool = False
    explains: tuple[str, ...] = ()


def kill(daemon: str, ground: Ground) -> str:
    ground.comes_back(daemon, ground.chain.kill(daemon))
    return ""


def restart(daemon: str, ground: Ground) -> str:
    pid = ground.chain.pid(daemon)
    os.kill(pid, signal.SIGTERM)
    ground.comes_back(daemon, pid)
    return ""


def stop(daemon: str, ground: Ground) -> str:
    pid = process_faults.suspend(ground, daemon)
    seconds = ground.lasts(8)
    ground.struck()
    os.kill(pid, signal.SIGCONT)
    ground.flows()
    if ground.chain.pid(daemon) != pid:
        raise FaultError(f"{daemon} was started again")
    return f"for {seconds:.1f} s"


def slow(ground: Ground) -> str:
    ground.mood("a", "firing", "slow")
    seconds = ground.lasts(8)
    ground.struck()
    ground.mood("a", "firing")
    ground.flows()
    return f"for {seconds:.1f} s"


def crashes(ground: Ground) -> str:
    """Each frame crashes its process, which is started again and again."""
    daemon, pid = "extractor-a", ground.chain.pid("extractor-a")
    ground.mood("a", "dead")
    seconds = ground.lasts(8)
    ground.mood("a", "firing")
    ground.struck()
    ground.comes_back(daemon, pid)
    return f"for {seconds:.1f} s"


def flood(ground: Ground) -> str:
    """A source that nobody named sends as fast as it can."""
    context = zmq.Context()
    endpoints = ground.chain.config.endpoints()
    socket = connect(context, OBSERVATIONS, endpoints.address("fusion", OBSERVATIONS.name))
    sent, until_s = 0, time.monotonic() + ground.random.uniform(0.3, 3)
    epoch, pid = ground.status("fusion")["streams"][STREAM]["epoch"], ground.chain.pid("fusion")
    instance = f"{ground.random.random()}"
    try:
        socket.send(encode(Ping(source="flood", instance=instance, streams=[STREAM], expected=False, state="ready")))
        while time.monotonic() < until_s:
            if socket.poll(100, zmq.POLLOUT):
                socket.send(_flood_obs(instance, sent, epoch))
                sent += 1
    finally:
        socket.close(linger=0)
        context.term()
    ground.struck()
    ground.flows()
    if ground.chain.pid("fusion") != pid:
        raise FaultError("fusion was started again")
    return f"{sent:,} OBS"


def _flood_obs(instance: str, seq: int, epoch: int) -> bytes:
    now = mono_ns()
    return encode(
        Obs(
            source="flood", instance=instance, seq=seq, stream=STREAM, epoch=epoch, frame_id=seq, t_ns=now,
            mono_ns=now, observations=[], bound_ns=now,
        )
    )  # fmt: skip


def stall(ground: Ground) -> str:
    ground.camera.hold()
    try:
        seconds = ground.lasts(8)
    finally:
        ground.camera.go_on()
    ground.struck()
    ground.flows()
    return f"for {seconds:.1f} s"


def hang_up(ground: Ground) -> str:
    ground.begin_epoch()
    ground.flows()
    return ""


def reconnects(ground: Ground) -> str:
    daemon, link = ground.random.choice(LINKS)
    times = 50 * ground.random.randint(2, 10)
    come_and_go(ground, daemon, link, times)
    ground.struck()
    ground.flows()
    return f"{times} on {daemon}/{link.name}"


def full_disk(place: str, what: str, ground: Ground) -> str:
    disk = ground.disks[place]
    disk.run_out_of(what)
    try:
        seconds = ground.lasts(8)
    finally:
        disk.mend()
    ground.struck()
    ground.flows()
    return f"for {seconds:.1f} s"


def clock(shift_s: int, ground: Ground) -> str:
    before = clock_faults.pids(ground)
    clock_faults.set_clock(ground, shift_s)
    try:
        seconds = ground.lasts(8)
    finally:
        clock_faults.set_clock(ground, 0)
    ground.struck()
    ground.flows()
    clock_faults.check_undisturbed(ground, before)
    return f"for {seconds:.1f} s"


EXTRACTORS = tuple(f"extractor-{source}" for source in SOURCES)
KINDS = (
    *(Kind(f"kill -9 of {daemon}", partial(kill, daemon), explains=NO_FRAMES if daemon == FRAME else ())
      for daemon in (FRAME, *EXTRACTORS, "clip")),
    *(Kind(f"stop of {daemon}", partial(stop, daemon), explains=NO_FRAMES if daemon == FRAME else ())
      for daemon in (FRAME, *EXTRACTORS, "fusion", "clip")),
    Kind("kill -9 of fusion", partial(kill, "fusion"), ends_fusion=True),
    Kind("restart of fusion", partial(restart, "fusion"), ends_fusion=True),
    Kind("restart of clip", partial(restart, "clip")),
    Kind("restart of clip, TRIGs on their way", process_faults.restarted("clip")),
    Kind("slow extractor-a", slow),
    Kind("hung extractor-a, killed", link_faults.hung),
    Kind("crashing extractor-a", crashes),
    Kind("flood of fusion", flood),
    Kind("stalled camera", stall, explains=NO_FRAMES),
    Kind("camera hangs up", hang_up, explains=NO_FRAMES),
    Kind("reconnects", reconnects),
    Kind("pause", lambda ground: f"for {ground.lasts(15):.1f} s"),
)  # fmt: skip
DISKS = tuple(
    Kind(f"no {what} under {place}", partial(full_disk, place, what), explains=NO_ROOM if place == "clips" else ())
    for place in ("state", "clips")
    for what in ("bytes", "inodes")
)
CLOCK = tuple(
    Kind(f"clock a day {way}", partial(clock, shift_s))
    for way, shift_s in (("forward", clock_faults.DAY_S), ("back", -clock_faults.DAY_S))
)


def kinds() -> tuple[tuple[Kind, ...], list[str]]:
    """Those that can be played here, and why others cannot."""
    can_mount, can_shift = not small_disk.lacking(), not clock_faults.lacking()
    why = [reason for reason in (small_disk.lacking(), clock_faults.lacking()) if reason]
    if not QUALITY:
        why.append("no extractor `quality`: `make venvs` builds the venv light")
    return (*KINDS, *(DISKS if can_mount else ()), *(CLOCK if can_shift else ())), why

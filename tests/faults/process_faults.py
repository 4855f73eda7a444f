"""Faults of the daemons' processes: killed, stopped, without memory, without file descriptors, restarted at work."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import zmq
from audit import unsettled
from chain import FRAME, FaultError
from scenario import Scenario, Trial

from visualpath_protocol.sockets import CONTROL

VICTIMS = {"frame": FRAME, "extractor": "extractor-a", "fusion": "fusion", "clip": "clip"}
NOTICED_S = 30.0
PILE = 3
"""Triggers that wait in the outbox before fusion is ended, too."""


def killed(daemon: str) -> Callable[[Trial], str]:
    """kill -9, just after a trigger."""

    def play(trial: Trial) -> str:
        trial.comes_back(daemon, trial.chain.kill(daemon))
        return "started again"

    return play


def stopped(daemon: str) -> Callable[[Trial], str]:
    """SIGSTOP until it is missed, then SIGCONT. supervisord leaves it alone; systemd's watchdog would end it."""

    def play(trial: Trial) -> str:
        pid = suspend(trial, daemon)
        trial.chain.wait(lambda: trial.chain.status(daemon) is None, f"{daemon} is down", NOTICED_S)
        said = "answers nobody; goes on where it was"
        if daemon == "extractor-a":
            trial.chain.wait(lambda: _state(trial, "a") == "down", "fusion takes it for down", NOTICED_S)
            said = "down for fusion after 1.5 s; " + said
        elif daemon == FRAME:
            trial.chain.wait(lambda: not unsettled(trial.chain.config), "clips end after stall_timeout", NOTICED_S)
            said = "open clips end after stall_timeout; " + said
        else:
            trial.chain.wait(lambda: _waits(trial, daemon), "others cannot go on", NOTICED_S)
        trial.struck()
        os.kill(pid, signal.SIGCONT)
        trial.flows()
        if trial.chain.pid(daemon) != pid:
            raise FaultError(f"{daemon} was started again")
        return said

    return play


def _state(trial: Trial, source: str) -> str:
    return str(trial.status("fusion")["sources"].get(source, {}).get("state"))


def _waits(trial: Trial, daemon: str) -> bool:
    """Whether what cannot go on is seen: an extractor drops, or triggers wait in the outbox."""
    if daemon == "fusion":
        return trial.counter("extractor-a", "dropped.obs") > 0
    return int(trial.status("fusion")["outbox"]) >= PILE


def suspend(trial: Trial, daemon: str) -> int:
    """SIGSTOP, at the latest until the end of the trial; returns the pid."""
    pid = trial.chain.pid(daemon)
    os.kill(pid, signal.SIGSTOP)
    trial.mend.callback(_wake, pid)
    return pid


def _wake(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def without_memory(daemon: str) -> Callable[[Trial], str]:
    """Not a byte more than it has: first at its usual work, then pressed by a peer that sends large messages.

    Whether it needs more at its usual work depends on what it has freed before; if it ends there, that is the fault.
    """

    def play(trial: Trial) -> str:
        pid = trial.chain.pid(daemon)
        limit_memory(pid, 0)
        trial.struck()
        for _ in range(2):
            trial.chain.await_trigger(NOTICED_S)
        trial.flows()
        if not Path(f"/proc/{pid}").exists():
            return "ends, says why, is started again"
        if daemon == VICTIMS["extractor"]:  # what presses one is its plug-in: see `hungry`
            resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            return "works with what it has"
        trial.struck()
        press(trial, daemon, pid)
        trial.comes_back(daemon, pid)
        return "works with what it has; pressed by a peer it ends, says why, is started again"

    return play


def press(trial: Trial, daemon: str, pid: int) -> None:
    """Send the largest messages that a link takes, until the daemon has ended."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.connect(trial.chain.config.endpoints().address(daemon, CONTROL.name))

        def ended() -> bool:
            if socket.poll(0, zmq.POLLOUT):
                socket.send(b"x" * CONTROL.max_bytes, zmq.NOBLOCK)
            return not Path(f"/proc/{pid}").exists()

        trial.chain.wait(ended, f"{daemon} finds no memory", NOTICED_S)


def limit_memory(pid: int, more_bytes: int) -> None:
    """Let a process have so much more address space than it has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + more_bytes
    resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))


def hungry(trial: Trial) -> str:
    """A plug-in that takes all memory there is, up to the limit of its daemon, and is mended by a restart."""
    daemon = VICTIMS["extractor"]
    pid = trial.chain.pid(daemon)
    limit_memory(pid, 256 << 20)
    trial.mood("a", "hungry")
    trial.chain.wait(lambda: _fails(trial, daemon, pid), "its frames fail", NOTICED_S)
    trial.mood("a", "firing")
    trial.struck()
    trial.comes_back(daemon, trial.chain.kill(daemon) if trial.chain.pid(daemon) == pid else pid)
    return "frames skipped (error), daemon degraded; mended by a restart"


def _fails(trial: Trial, daemon: str, pid: int) -> bool:
    status = trial.chain.status(daemon)
    return status is not None and (status["pid"] != pid or status["extractor"]["state"] == "degraded")


def without_descriptors(daemon: str) -> Callable[[Trial], str]:
    """No file descriptor more than it has; the next client that connects finds none."""

    def play(trial: Trial) -> str:
        pid = trial.chain.pid(daemon)
        count = len(os.listdir(f"/proc/{pid}/fd"))
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (count, hard))
        trial.comes_back(daemon, pid)
        if "Too many open files" not in trial.chain.log(daemon):
            raise FaultError(f"{daemon} does not say why it has ended")
        return "ends, says why, and is started again"

    return play


def restarted(daemon: str) -> Callable[[Trial], str]:
    """An orderly end while triggers wait in the outbox, clip being stopped until then."""

    def play(trial: Trial) -> str:
        clip = suspend(trial, "clip")
        trial.chain.wait(lambda: trial.status("fusion")["outbox"] >= PILE, "triggers wait", NOTICED_S)
        trial.struck()
        if daemon == "clip":
            os.kill(clip, signal.SIGCONT)
        pid = trial.chain.pid(daemon)
        os.kill(pid, signal.SIGTERM)
        if daemon == "fusion":
            trial.chain.wait(lambda: trial.is_another(daemon, pid), f"{daemon} answers", NOTICED_S)
            _wake(clip)
        trial.comes_back(daemon, pid)
        trial.chain.wait(lambda: not trial.status("fusion")["outbox"], "all are acknowledged", NOTICED_S)
        return f"{PILE} or more TRIGs of the outbox delivered afterwards"

    return play


def replayed(trial: Trial) -> str:
    """clip stopped, fusion killed with triggers in the outbox, clip killed too: the outbox is all that is left."""
    chain = trial.chain
    suspend(trial, "clip")
    chain.wait(lambda: trial.status("fusion")["outbox"] >= PILE, "triggers wait", NOTICED_S)
    waiting = unsettled(chain.config)
    trial.struck()
    fusion, clip = chain.kill("fusion"), chain.kill("clip")
    trial.comes_back("fusion", fusion)
    trial.comes_back("clip", clip)
    chain.wait(lambda: not waiting & unsettled(chain.config), "what waited is settled", NOTICED_S)
    return f"{len(waiting)} TRIGs sent again from disk, each one clip"


def crash_loop(trial: Trial) -> str:
    """A plug-in that crashes its process on each frame, three times, until it is mended."""
    daemon = VICTIMS["extractor"]
    trial.mood("a", "dead")
    pids = {trial.chain.pid(daemon)}

    def crashed_again() -> bool:
        with suppress(OSError, ValueError):  # its lock, for it may not live long enough to answer
            pids.add(trial.chain.pid(daemon))
        return len(pids) > 3

    trial.chain.wait(crashed_again, "it is started three times", NOTICED_S)
    trial.mood("a", "firing")
    trial.struck()
    trial.flows()
    return "started again each time; the others go on"


SCENARIOS = (
    *(Scenario(f"killed-{name}", f"kill -9 of {daemon}", killed(daemon)) for name, daemon in VICTIMS.items()),
    *(
        Scenario(f"stopped-{name}", f"SIGSTOP, SIGCONT of {daemon}", stopped(daemon))
        for name, daemon in VICTIMS.items()
    ),
    *(
        Scenario(
            f"memory-{name}", f"no more memory for {daemon}", without_memory(daemon), excused=("Traceback", "defect")
        )
        for name, daemon in VICTIMS.items()
    ),
    Scenario("memory-plugin", "a plug-in that takes all memory", hungry, excused=("MemoryError", "Traceback")),
    *(
        Scenario(
            f"files-{name}",
            f"no descriptors for {daemon}",
            without_descriptors(daemon),
            excused=("Traceback", "defect"),
        )
        for name, daemon in VICTIMS.items()
    ),
    Scenario("restart-fusion", "restart of fusion, TRIGs in flight", restarted("fusion")),
    Scenario("restart-clip", "restart of clip, TRIGs in flight", restarted("clip")),
    Scenario("outbox-replay", "fusion and clip killed, TRIGs in the outbox", replayed),
    Scenario("crash-loop", "a plug-in that crashes on each frame", crash_loop),
)

"""`python -m visualpath.testing.conformance.child PLAN`: tries one plug-in, in the plug-in's own venv.

It tells the parent each verdict as soon as it stands; what the plug-in prints goes to a file of the parent's.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import os
import signal
import sys
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import msgspec

from visualpath.core.errors import PluginError
from visualpath.plugin.discovery import load_extractor, load_fusion
from visualpath.process.child import PR_SET_PDEATHSIG
from visualpath.testing.conformance import endurance, extractor_checks, fusion_checks
from visualpath.testing.conformance.fusion_checks import FusionTrial
from visualpath.testing.conformance.pictures import frame_of
from visualpath.testing.conformance.places import line_of_error, line_of_import, root_of
from visualpath.testing.conformance.process_state import process_state
from visualpath.testing.conformance.trial import Trial
from visualpath.testing.conformance.verdict import Began, Doubted, Loaded, Plan, Refused, Told, Verdict
from visualpath.testing.conformance.watch import Watch

Check = Callable[[], str]

NETWORK_EVENTS = frozenset({"socket.connect", "socket.getaddrinfo"})
LOCAL = ("127.", "::1", "localhost")


def main() -> int:
    """Entry point."""
    plan = msgspec.json.decode(sys.argv[1], type=Plan)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)  # a plug-in that hangs would outlive the parent
    Child(plan).run()
    return 0


class Child:
    """Runs the checks of a plan in order, and tells what comes of each."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._watch = Watch(plan.faults_fd, plan.limits)
        self._state_before = process_state()
        self._network: list[str] = []
        sys.addaudithook(self._hear)

    def run(self) -> None:
        """All of them, as long as the process lives."""
        try:
            trial = self._load()
        except Refused as error:
            self._tell(Began(self._plan.checks[0]))
            self._tell(Verdict(self._plan.checks[0], "failed", str(error), error.where))
            return
        if not self._plan.checks and isinstance(trial, Trial):  # asked by another child: see `fresh_said`
            with trial.host() as host:
                digest = hashlib.sha256(b"".join(trial.say(host))).hexdigest()
            os.write(self._plan.report_fd, f"\n{digest}\n".encode())
            return
        checks = self._checks_of_extractor(trial) if isinstance(trial, Trial) else self._checks_of_fusion(trial)
        for name in self._plan.checks:
            self._tell(Began(name))
            self._tell(verdict := _tried(name, checks[name], trial.root))
            if isinstance(trial, Trial) and trial.too_slow and verdict.level != "failed":
                self._tell(_tried("time", lambda: endurance.check_time(trial.took_ms), trial.root))
                return

    def _load(self) -> Trial | FusionTrial:
        with self._watch.starting("the import"):
            try:
                if self._plan.kind == "extractor":
                    extractor = load_extractor(self._plan.name)
                    return Trial(self._plan, extractor, self._loaded(extractor), self._watch)
                fusion = load_fusion(self._plan.name)
                return FusionTrial(self._plan, fusion, self._loaded(fusion), self._watch)
            except PluginError as error:
                raise Refused(str(error), line_of_import(error)) from error

    def _loaded(self, plugin: type[Any]) -> str:
        root = root_of(plugin)
        self._tell(Loaded(root))
        return root

    def _checks_of_extractor(self, trial: Trial) -> dict[str, Check]:
        of = extractor_checks
        checks: dict[str, Callable[[Trial], str]] = {
            "class": of.check_class,
            "config": of.check_config,
            "start": of.check_start,
            "observations": of.check_observations,
            "frame": of.check_frame,
            "reset": of.check_reset,
            "streams": of.check_streams,
            "odd frames": of.check_odd_frames,
            "errors": of.check_errors,
            "close": of.check_close,
        }
        return {**{name: partial(check, trial) for name, check in checks.items()}, **self._common(LookAgain(trial))}

    def _checks_of_fusion(self, trial: FusionTrial) -> dict[str, Check]:
        of = fusion_checks
        checks: dict[str, Callable[[FusionTrial], str]] = {
            "class": of.check_class,
            "config": of.check_config,
            "update": of.check_update,
            "reset": of.check_reset,
            "resume": of.check_resume,
            "streams": of.check_streams,
            "odd sets": of.check_odd_sets,
        }
        return {**{name: partial(check, trial) for name, check in checks.items()}, **self._common(DecideAgain(trial))}

    def _common(self, run: LongRun) -> dict[str, Check]:
        return {
            "memory": lambda: endurance.check_memory(run.found, run.step, run.root),
            "time": lambda: endurance.check_time(run.found.took_ms),
            "output": lambda: endurance.check_output(run.found, run.step, run.root),
            "process": partial(self._check_process, run),
            "network": partial(self._check_network, run),
        }

    def _check_process(self, run: LongRun) -> str:
        """Nothing that belongs to the whole process is changed."""
        run.step(0)
        after = process_state()
        changed = [what for what, was in self._state_before.items() if after[what] != was]
        if changed:
            raise Refused(f"it changes what belongs to the whole process: {', '.join(changed)}; leave that as it was")
        return "as before"

    def _check_network(self, run: LongRun) -> str:
        """Told, since where it runs there may be none."""
        run.step(0)
        if self._network:
            raise Doubted(f"it asks the network, which the box may not have: {', '.join(dict.fromkeys(self._network))}")
        return "not asked by its Python code"

    def _hear(self, event: str, args: tuple[Any, ...]) -> None:
        """Python's audit events; an address of a local socket file is a text, one of the network a tuple."""
        if event in NETWORK_EVENTS and len(self._network) < 5:
            address = args[1] if event == "socket.connect" else args[0]
            host = str(address[0] if isinstance(address, tuple) else address)
            if (isinstance(address, tuple) or event == "socket.getaddrinfo") and not host.startswith(LOCAL):
                self._network.append(host)

    def _tell(self, told: Told) -> None:
        os.write(self._plan.report_fd, msgspec.json.encode(told) + b"\n")


class LongRun:
    """A thousand frames, run when they are first asked for."""

    def __init__(self, root: str, frames: int) -> None:
        self.root = root
        self._frames = frames

    @cached_property
    def found(self) -> endurance.Endurance:
        """What was measured."""
        gc.collect()
        return endurance.endure(self.step, self._frames)

    def step(self, number: int) -> None:
        """Show it one more."""
        raise NotImplementedError


class LookAgain(LongRun):
    """Of an extractor."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial.root, trial.plan.limits.frames)
        self._trial = trial

    @cached_property
    def _open(self) -> tuple[Any, Any]:
        opened = self._trial.host()
        return opened, opened.__enter__()  # for the life of the process

    def step(self, number: int) -> None:
        """Show it the next frame of the tape."""
        shown = self._trial.tape[number % len(self._trial.tape)]
        frame = frame_of(shown.pixels, number, "long")
        self._trial.look(self._open[1], frame, shown.seen(frame), f"frame {number} of the long run")


class DecideAgain(LongRun):
    """Of a fusion."""

    def __init__(self, trial: FusionTrial) -> None:
        super().__init__(trial.root, trial.plan.limits.frames)
        self._trial = trial

    @cached_property
    def _fusion(self) -> Any:
        return self._trial.make()

    def step(self, number: int) -> None:
        """Give it the next set of the tape, on a time line that goes on."""
        place = number % len(self._trial.sets)
        each = self._trial.sets[place]
        if place == 0 and number:
            self._trial.call("reset()", self._fusion.reset)
        self._trial.update(self._fusion, each, f"set {number} of the long run")


def _tried(name: str, check: Check, root: str) -> Verdict:
    try:
        return Verdict(name, "ok", check())
    except Doubted as doubt:
        return Verdict(name, "warning", str(doubt), doubt.where)
    except Refused as refusal:
        return Verdict(name, "failed", str(refusal), refusal.where, refusal.fault)
    except Exception as error:  # in what a plug-in gave, whatever the kit did not foresee of it
        where = line_of_error(error, root)
        if not where:
            raise
        return Verdict(name, "failed", f"{type(error).__name__}: {error}", where, type(error).__name__)


if __name__ == "__main__":
    sys.exit(main())

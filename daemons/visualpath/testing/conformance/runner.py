"""Runs the kit on a plug-in in a process of its own, and judges also what that process cannot: its death.

`assert_conforms` is the whole test of a plug-in:

    from visualpath.testing.conformance.runner import assert_conforms

    def test_it_conforms():
        assert_conforms("smile")
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import msgspec

from visualpath.testing.conformance.checks import BY_KIND, LONG_RUN, VITAL
from visualpath.testing.conformance.places import line_of_fault
from visualpath.testing.conformance.process_state import rss_bytes
from visualpath.testing.conformance.verdict import DOING_BYTES, Began, Busy, Kind, Limits, Loaded, Plan, Told, Verdict

LOOK_EVERY_S = 0.1
BUSY_EVERY_S = 10.0
"""So often a check that takes long says what it is doing."""

_decode = msgspec.json.Decoder(Told).decode


def assert_conforms(
    name: str,
    kind: Kind = "extractor",
    config: Mapping[str, Any] | None = None,
    tape: str | Path = "",
    limits: Limits = Limits(),  # noqa: B008  (it cannot change)
) -> list[Verdict]:
    """Try a plug-in of this venv; the one test function that a plug-in needs.

    Raises:
        AssertionError: it is refused; the message has the reasons.
    """
    verdicts = try_plugin(sys.executable, name, kind, config, tape, limits)
    refused = [verdict for verdict in verdicts if verdict.level == "failed"]
    if refused:
        reasons = "\n".join(f"  {v.check}: {v.text}" + (f"\n    at {v.where}" if v.where else "") for v in refused)
        raise AssertionError(f"{kind} {name!r} does not conform:\n{reasons}")
    return verdicts


def try_plugin(
    python: str | Path,
    name: str,
    kind: Kind = "extractor",
    config: Mapping[str, Any] | None = None,
    tape: str | Path = "",
    limits: Limits = Limits(),  # noqa: B008  (it cannot change)
    tell: Callable[[Verdict | Busy], None] = lambda _told: None,
) -> list[Verdict]:
    """Run every check of the kit.

    Args:
        python: of the plug-in's venv.
        name, kind: the plug-in's entry point.
        config: what visualpath.yaml would give it.
        tape: a Python file whose function `tape()` gives pictures (extractor) or FrameObservations (fusion).
        limits: how much it is asked for, and how much it may take.
        tell: called with each verdict as soon as it stands, and every BUSY_EVERY_S while one is waited for.

    Returns:
        The verdicts in order; after one on something vital, no more.
    """
    left = list(BY_KIND[kind])
    verdicts: list[Verdict] = []
    while left:
        plan = Plan(
            kind=kind, name=name, config=dict(config or {}), checks=tuple(left), limits=limits,
            tape=str(Path(tape).resolve()) if tape else "",
        )  # fmt: skip
        with _Child(python, plan) as child:
            for said in child.verdicts():
                if isinstance(said, Busy):
                    tell(said)
                    continue
                verdict = _told_once(said, verdicts)
                verdicts.append(verdict)
                tell(verdict)
                left = _after(verdict, left, died=child.died)
                if not left:
                    return verdicts
    return verdicts


def _told_once(verdict: Verdict, before: list[Verdict]) -> Verdict:
    """The verdict, unless the fault is one that another check has told already."""
    for each in before:
        if verdict.fault and (verdict.fault, verdict.where) == (each.fault, each.where):
            return Verdict(verdict.check, "untried", f"not tried: the fault that {each.check} has found is in the way")
    return verdict


def _after(verdict: Verdict, left: list[str], *, died: bool) -> list[str]:
    """The checks that still make sense."""
    if verdict.level == "failed" and verdict.check in VITAL:
        return []
    rest = left[left.index(verdict.check) + 1 :]
    return [check for check in rest if not (died and verdict.check in LONG_RUN and check in LONG_RUN)]


class _Child:
    """One process that runs checks; its end is a verdict, too.

    Attributes:
        died: it ended before its plan did.
    """

    def __init__(self, python: str | Path, plan: Plan) -> None:
        self.died = False
        self._plan = plan
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  (closed with this object)
        self._faults: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._faults.write(b" " * DOING_BYTES)
        self._faults.flush()
        self._report, theirs = os.pipe()
        fds = (theirs, self._faults.fileno())
        plan = msgspec.structs.replace(plan, report_fd=fds[0], faults_fd=fds[1])
        command = [str(python), "-m", "visualpath.testing.conformance.child", msgspec.json.encode(plan).decode()]
        self._process = subprocess.Popen(
            command,
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env={**os.environ, "PYTHONSAFEPATH": "1", "PYTHONUNBUFFERED": "1"},
            start_new_session=True,  # its children end with it
        )
        os.close(theirs)
        self._check = plan.checks[0]
        self._root = ""
        self._killed_for = ""
        self._pending = b""

    def __enter__(self) -> _Child:
        return self

    def __exit__(self, *_: object) -> None:
        self._kill("")
        self._process.wait()
        os.close(self._report)
        self._output.close()
        self._faults.close()

    def verdicts(self) -> Iterator[Verdict | Busy]:
        """Each as it comes; if the process dies, a last one on the check that it died of."""
        expected = list(self._plan.checks)
        heard = told_busy = time.monotonic()
        while expected:
            now = time.monotonic()
            if not select.select([self._report], [], [], LOOK_EVERY_S)[0]:
                self._look_after(now - heard)
                if now - max(heard, told_busy) >= BUSY_EVERY_S:
                    told_busy = now
                    yield Busy(self._check, self._doing()[0], now - heard)
                continue
            heard = now
            block = os.read(self._report, 65536)
            if not block:
                self.died = True
                yield self._obituary()
                return
            *lines, self._pending = (self._pending + block).split(b"\n")
            for line in lines:
                told = _decode(line)
                if isinstance(told, Began):
                    self._check = told.check
                elif isinstance(told, Loaded):
                    self._root = told.root
                else:
                    expected.remove(told.check)
                    yield told

    def _look_after(self, silent_s: float) -> None:
        """What a process may not do to the machine, however long it says nothing."""
        limits = self._plan.limits
        try:
            rss = rss_bytes(self._process.pid)
        except (FileNotFoundError, ProcessLookupError):
            return
        if rss > limits.memory_bytes:
            self._kill(f"it took more than {limits.memory_bytes >> 20} MiB of memory")
        elif os.fstat(self._output.fileno()).st_size > limits.output_bytes:
            self._kill(f"it printed more than {limits.output_bytes >> 10} KiB")
        elif silent_s > limits.silence_s:
            self._kill(f"it did not end within {limits.silence_s:g} s")

    def _kill(self, why: str) -> None:
        """Its whole session: a plug-in may have children."""
        self._killed_for = self._killed_for or why
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def _obituary(self) -> Verdict:
        code = self._process.wait()
        doing, at_most = self._doing()
        self._faults.seek(DOING_BYTES)
        dump = self._faults.read().decode(errors="replace")
        where = line_of_fault(dump, self._root) if dump and self._root else ""
        if self._killed_for:
            return Verdict(self._check, "failed", f"{self._killed_for}, in {doing}", where)
        if dump.startswith("Timeout"):
            end = f"did not end within {at_most} s"
        elif code < 0:
            end = f"ended the process: {signal.Signals(-code).name}"
        else:
            end = f"ended the process with exit status {code}{self._last_words()}"
        return Verdict(self._check, "failed", f"{doing} {end}", where, end if where else "")

    def _doing(self) -> tuple[str, str]:
        """What the child is at, and how many seconds it may take."""
        said = os.pread(self._faults.fileno(), DOING_BYTES, 0).decode(errors="replace")  # the offset is the child's
        doing, _, at_most = said.strip().partition("|")
        return doing or "the kit's own work", at_most

    def _last_words(self) -> str:
        size = os.fstat(self._output.fileno()).st_size
        self._output.seek(max(0, size - 2000))
        lines = self._output.read().decode(errors="replace").strip().splitlines()
        return f"; it said last: {lines[-1][:200]}" if lines else ""

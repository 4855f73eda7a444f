"""One extractor under trial: how the checks make it, show it frames, and read what it says."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from visualbase.frame import Frame
from visualpath.core.errors import ExtractionError, PluginConfigError, PluginError, told
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation
from visualpath.plugin.backends import Choice, choose
from visualpath.process.host import ExtractorHost
from visualpath.process.packing import pack_observations
from visualpath.process.view import View
from visualpath.testing.conformance.endurance import too_slow
from visualpath.testing.conformance.pictures import frame_of
from visualpath.testing.conformance.places import line_of_error, line_of_return
from visualpath.testing.conformance.tape import TAPE_FRAMES, Seen, Shown, tape_of
from visualpath.testing.conformance.verdict import DOING_BYTES, Plan, Refused
from visualpath.testing.conformance.watch import Watch
from visualpath_protocol.messages import ObservationBody

FRESH_S = 120.0

Said = tuple[bytes, ...]
"""What was said on each frame of the tape, in wire form: the same bytes, the same observations."""


class Looked(NamedTuple):
    """What an extractor said of one frame, and that in wire form."""

    observations: list[Observation[Any]]
    packed: bytes


class Trial:
    """What the checks of an extractor share.

    Args:
        plan: its name, configuration and tape.
        extractor: its class.
        root: the file or folder of its code.

    Attributes:
        took_ms: what each frame took when the tape was first shown whole.
    """

    def __init__(self, plan: Plan, extractor: type[BaseExtractor], root: str, watch: Watch) -> None:
        self.plan = plan
        self.extractor = extractor
        self.root = root
        self.watch = watch
        self.took_ms: list[float] = []

    @property
    def view(self) -> View:
        """How it wants its pictures."""
        return View(self.choice.input_width, self.choice.pixel_format)

    @cached_property
    def choice(self) -> Choice:
        """What its configuration asks the host for."""
        try:
            return choose(self.extractor, self.plan.config)
        except PluginConfigError as error:
            raise Refused(f"it cannot be made with the configuration {self.plan.config}: {error}") from error

    @cached_property
    def tape(self) -> list[Shown]:
        """Of the author's file, else the kit's own."""
        return tape_of(self.plan.tape, self.view, self.extractor.depends)

    @property
    def too_slow(self) -> bool:
        """Whether the first frames say that no more need be shown; `took_ms` has those that were looked at so far."""
        if not self.took_ms:  # nor is there a tape before the first check that looks at it
            return False
        return len(self.took_ms) >= min(TAPE_FRAMES, len(self.tape)) and too_slow(self.took_ms)

    @contextmanager
    def host(self) -> Iterator[ExtractorHost]:
        """The extractor as the daemon hosts it: models loaded, the first object made; closed at the end."""
        host = ExtractorHost(self.extractor, self.plan.name, self.plan.config)
        with self.watch.starting("load_models() and the construction"):
            try:
                host.open()
            except PluginError as error:
                raise _refused(str(error), error, line_of_error(error, self.root)) from error
        try:
            _require_first(host)
            yield host
        finally:
            with self.watch.doing("close()"):
                host.close()

    def look(self, host: ExtractorHost, frame: Frame, seen: Seen, what: str) -> Looked:
        """Let it look at one frame.

        Raises:
            Refused: it failed on it, or said what cannot travel.
        """
        with self.watch.doing(f"extract() of {what}"):
            try:
                observations = host.handle(frame, seen).observations
                packed = bytes(pack_observations(observations))
            except ExtractionError as error:
                where = line_of_error(error, self.root) or line_of_return(lambda: host.handle(frame, seen), self.root)
                raise _refused(f"extract() failed on {what}: {told(error)}", error, where) from error
        _require_first(host)
        return Looked(observations, packed)

    def look_at(self, host: ExtractorHost, number: int, stream: str = "kit", epoch: int = 1) -> Looked:
        """Let it look at one frame of the tape."""
        shown = self.tape[number]
        frame = frame_of(shown.pixels, number, stream, epoch)
        return self.look(host, frame, shown.seen(frame), f"frame {number} of the tape")

    def nothing_seen(self) -> Seen:
        """By those that it depends on."""
        return {name: [] for name in self.extractor.depends}

    def say(self, host: ExtractorHost, stream: str = "kit", epoch: int = 1) -> Said:
        """What it says of the tape."""
        return tuple(self.say_of(host, number, stream, epoch) for number in range(len(self.tape)))

    def say_of(self, host: ExtractorHost, number: int, stream: str = "kit", epoch: int = 1) -> bytes:
        """What it says of one frame of the tape."""
        return self.look_at(host, number, stream, epoch).packed

    def repeats_itself(self) -> bool:
        """Whether two fresh processes say the same of the tape; else no other comparison proves anything."""
        return fresh_said(self.plan) == fresh_said(self.plan)


def _refused(message: str, error: Exception, where: str) -> Refused:
    """A refusal that can be told from another one: by line and kind, as numbers in a text may differ."""
    kind = type(error.__cause__).__name__ if where and error.__cause__ is not None else told(error)
    return Refused(message, where, kind)


def _require_first(host: ExtractorHost) -> None:
    """Of several backends the first is in use: of what the host goes on with where it fails, nothing was asked."""
    shown = host.backends
    if shown is not None and shown.rung > 0:
        raise Refused(
            f"backend {shown.reason}; a daemon would go on with {shown.name}, which can be tried by itself: "
            f'--plugin-config \'{{"backend": "{shown.name}"}}\''
        )


def fresh_said(plan: Plan) -> bytes:
    """What a process of its own that does nothing else says of the tape; a digest."""
    with tempfile.TemporaryFile() as faults:
        faults.write(b" " * DOING_BYTES)
        fresh = msgspec.structs.replace(plan, checks=(), report_fd=1, faults_fd=faults.fileno())
        command = [sys.executable, "-m", "visualpath.testing.conformance.child", msgspec.json.encode(fresh).decode()]
        try:
            done = subprocess.run(
                command, pass_fds=[faults.fileno()], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL, timeout=FRESH_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise Refused(f"a fresh process did not look at the tape within {FRESH_S:g} s") from None
    if done.returncode:
        raise Refused("a fresh process could not look at the tape, which this one could")
    return done.stdout.splitlines()[-1]


def difference(first: Sequence[bytes], second: Sequence[bytes]) -> str:
    """Where two runs over the tape part, for people."""
    for number, (one, other) in enumerate(zip(first, second, strict=True)):
        if one != other:
            was, now = _plain(one), _plain(other)
            return f"frame {number}: first {was}, then {now}"
    return "nowhere"


def _plain(said: bytes) -> str:
    """Its signals, or all that it holds if these tell nothing."""
    bodies = msgspec.msgpack.decode(said, type=list[ObservationBody], ext_hook=lambda _code, data: bytes(data).hex())
    text = ", ".join(
        " ".join(f"{name}={value:g}" for name, value in body.signals.items()) or repr(body.data) for body in bodies
    )
    return text[:120] or "nothing"

"""One extractor under trial: how the checks make it, show it frames, and read what it says."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from visualbase.frame import Frame
from visualpath.core.errors import ExtractionError, PluginConfigError, PluginError, told
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation
from visualpath.plugin.backends import Choice, choose
from visualpath.process.host import ExtractorHost
from visualpath.process.packing import pack_observations
from visualpath.process.view import View
from visualpath.testing.conformance.pictures import Picture, as_seen, frame_of, scene
from visualpath.testing.conformance.places import line_of_error
from visualpath.testing.conformance.verdict import DOING_BYTES, Plan, Refused
from visualpath.testing.conformance.watch import Watch
from visualpath_protocol.messages import ObservationBody

TAPE_FRAMES = 24
FRESH_S = 120.0

Said = tuple[bytes, ...]
"""What was said on each frame of the tape, in wire form: the same bytes, the same observations."""


class Trial:
    """What the checks of an extractor share.

    Args:
        plan: its name, configuration and tape.
        extractor: its class.
        root: the file or folder of its code.
    """

    def __init__(self, plan: Plan, extractor: type[BaseExtractor], root: str, watch: Watch) -> None:
        self.plan = plan
        self.extractor = extractor
        self.root = root
        self.watch = watch

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
    def pictures(self) -> list[Picture]:
        """The tape, as it asked for it: of the author's file, else the kit's own."""
        tape = read_tape(self.plan.tape) if self.plan.tape else [scene(n) for n in range(TAPE_FRAMES)]
        for picture in tape:
            if not (isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3):
                raise Refused(f"{self.plan.tape}: tape() gives what is no uint8 array of shape (height, width, 3)")
        return [as_seen(picture, self.view) for picture in tape]

    @contextmanager
    def host(self) -> Iterator[ExtractorHost]:
        """The extractor as the daemon hosts it: models loaded, the first object made; closed at the end."""
        host = ExtractorHost(self.extractor, self.plan.name, self.plan.config)
        with self.watch.starting("load_models() and the construction"):
            try:
                host.open()
            except PluginError as error:
                raise Refused(str(error), line_of_error(error, self.root)) from error
        try:
            _require_first(host)
            yield host
        finally:
            with self.watch.doing("close()"):
                host.close()

    def look(self, host: ExtractorHost, frame: Frame, what: str) -> list[Observation[Any]]:
        """Let it look at one frame.

        Raises:
            Refused: it failed on it, or said what cannot travel.
        """
        seen: dict[str, list[Observation[Any]]] = {name: [] for name in self.extractor.depends}
        with self.watch.doing(f"extract() of {what}"):
            try:
                observations = host.handle(frame, seen).observations
                pack_observations(observations)
            except ExtractionError as error:
                where = line_of_error(error, self.root)
                raise Refused(f"extract() failed on {what}: {told(error)}", where) from error
        _require_first(host)
        return observations

    def say(self, host: ExtractorHost, stream: str = "kit", epoch: int = 1) -> Said:
        """What it says of the tape."""
        return tuple(self.say_of(host, number, stream, epoch) for number in range(len(self.pictures)))

    def say_of(self, host: ExtractorHost, number: int, stream: str = "kit", epoch: int = 1) -> bytes:
        """What it says of one frame of the tape."""
        frame = frame_of(self.pictures[number], number, stream, epoch)
        return bytes(pack_observations(self.look(host, frame, f"frame {number} of the tape")))

    def repeats_itself(self) -> bool:
        """Whether two fresh processes say the same of the tape; else no other comparison proves anything."""
        return fresh_said(self.plan) == fresh_said(self.plan)


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


def read_tape(path: str) -> list[Any]:
    """What `tape()` of a Python file gives."""
    spec = spec_from_file_location("visualpath_kit_tape", path)
    if spec is None or spec.loader is None or not Path(path).is_file():
        raise Refused(f"{path} is no Python file")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        tape = list(module.tape())
    except Exception as error:
        raise Refused(f"{path}: tape() cannot be had: {told(error)}", line_of_error(error, path)) from error
    if not tape:
        raise Refused(f"{path}: tape() gives nothing")
    return tape


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

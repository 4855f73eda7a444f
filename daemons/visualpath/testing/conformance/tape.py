"""What the kit feeds a plug-in, frame by frame: its own scenes, or what `tape()` of a file of the author's gives."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from visualbase.frame import Frame
from visualpath.core.errors import told
from visualpath.core.observation import Observation, observations
from visualpath.process.channel import bodies
from visualpath.process.view import View
from visualpath.testing.conformance.pictures import Picture, as_seen, scene
from visualpath.testing.conformance.places import line_of_error
from visualpath.testing.conformance.verdict import Refused
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.messages import Obs
from visualpath_protocol.sockets import OBSERVATIONS

TAPE_FRAMES = 24

_codec = Codec(Obs, max_bytes=OBSERVATIONS.max_bytes)

Seen = dict[str, list[Observation[Any]]]


class Shown(NamedTuple):
    """One frame of the tape.

    Attributes:
        pixels: as the extractor asks for them.
        words: what each extractor that it depends on says of it, as it goes over the wire.
    """

    pixels: Picture
    words: Mapping[str, bytes]

    def saw(self, name: str) -> bool:
        """Whether that extractor said anything."""
        return bool(_codec.decode(self.words[name]).observations)

    def seen(self, frame: Frame) -> Seen:
        """What a daemon would give beside the frame: objects of its own each time, of plain data."""
        said = {name: observations(_codec.decode(word), name) for name, word in self.words.items()}
        for each in (each for several in said.values() for each in several):
            each.frame_id, each.t_ns = frame.frame_id, frame.t_ns
        return said


def tape_of(path: str, view: View, depends: Sequence[str]) -> list[Shown]:
    """The tape of an extractor; `path` is "" for the kit's own, on which nobody else sees anything.

    Raises:
        Refused: the file gives what is no tape.
    """
    given = read_tape(path) if path else [scene(number) for number in range(TAPE_FRAMES)]
    return [_shown(each, f"{path}: frame {number} of tape()", view, depends) for number, each in enumerate(given)]


def _shown(given: object, what: str, view: View, depends: Sequence[str]) -> Shown:
    picture, seen = given if isinstance(given, tuple) and len(given) == 2 else (given, {})
    if not (isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim == 3):
        raise Refused(f"{what} is no uint8 array of shape (height, width, 3), nor a pair of one and what others saw")
    if not isinstance(seen, Mapping):
        raise Refused(f"{what}: what others saw must be lists of Observation by name, not {type(seen).__name__}")
    if strangers := [name for name in seen if name not in depends]:
        raise Refused(f"{what} has what {strangers[0]!r} saw, but `depends` is {tuple(depends)!r}")
    return Shown(as_seen(picture, view), {name: _word(name, seen.get(name, []), what) for name in depends})


def _word(name: str, said: object, what: str) -> bytes:
    if not (isinstance(said, (list, tuple)) and all(isinstance(each, Observation) for each in said)):
        raise Refused(f"{what}: what {name!r} saw must be a list of Observation")
    try:
        return encode(
            Obs(
                source=name, instance="kit", seq=0, stream="kit", epoch=1, frame_id=0, t_ns=0, mono_ns=0,
                observations=bodies(said), bound_ns=0,
            )
        )  # fmt: skip
    except Exception as error:
        raise Refused(f"{what}: what {name!r} saw cannot travel: {told(error)}") from error


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
        mend = ""
        if isinstance(error, ModuleNotFoundError):  # as of `av`, which reads videos, and lies in core alone
            mend = f"; it runs in the plug-in's venv: {sys.executable} -m pip install {error.name}"
        raise Refused(f"{path}: tape() cannot be had: {told(error)}{mend}", line_of_error(error, path)) from error
    if not tape:
        raise Refused(f"{path}: tape() gives nothing")
    return tape

"""What the kit says of a plug-in, and what the child that tries it tells the parent that judges."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

Level = Literal["ok", "warning", "failed", "untried"]
Kind = Literal["extractor", "fusion"]

DOING_BYTES = 256
"""Beginning of the child's file of faults: what it is doing, padded with spaces; then what faulthandler writes."""


class Refused(Exception):
    """A check is not passed; the message is the reason.

    Args:
        where: file:line of the plug-in, where it is known.
        fault: of what kind it is, where other checks may come upon the same; "": they cannot.
    """

    def __init__(self, message: str, where: str = "", fault: str = "") -> None:
        super().__init__(message)
        self.where = where
        self.fault = fault


class Doubted(Refused):
    """A check is passed, with something that the author should know."""


class Limits(msgspec.Struct, kw_only=True, frozen=True):
    """How much a plug-in is asked for, and how much it may take.

    Attributes:
        frames: of the long run.
        frame_s: for one frame; what `hang_timeout` is in visualpath.yaml by default.
        start_s: for the import, for the models, and to make an object.
        silence_s: for one check in all; only a plug-in that has disarmed the other limits comes to this one.
        memory_bytes: of its process.
        output_bytes: on stdout and stderr.
    """

    frames: int = 1000
    frame_s: float = 10.0
    start_s: float = 60.0
    silence_s: float = 600.0
    memory_bytes: int = 4 << 30
    output_bytes: int = 64 << 20


class Plan(msgspec.Struct, kw_only=True, frozen=True):
    """What a child is to try.

    Attributes:
        kind, name: the plug-in.
        config: what visualpath.yaml would give it.
        checks: by name, in order.
        tape: file with a function `tape()`; "": the kit's own pictures or sets.
        report_fd: where messages go, a line each.
        faults_fd: see DOING_BYTES.
    """

    kind: Kind
    name: str
    config: dict[str, Any]
    checks: tuple[str, ...]
    limits: Limits
    tape: str = ""
    report_fd: int = -1
    faults_fd: int = -1


class Began(msgspec.Struct, tag=True, frozen=True):
    """A check has begun."""

    check: str


class Loaded(msgspec.Struct, tag=True, frozen=True):
    """The plug-in is imported; `root` is the file or folder that its code is in."""

    root: str


class Verdict(msgspec.Struct, tag=True, frozen=True):
    """What came of a check.

    Attributes:
        check: its name.
        level: `failed` refuses the plug-in; a `warning` does not; `untried`: a fault that is told is in the way.
        text: what was found; for `failed`, what is wrong and what to do.
        where: file:line of the plug-in, where it is known.
        fault: see `Refused`.
    """

    check: str
    level: Level
    text: str
    where: str = ""
    fault: str = ""


class Busy(NamedTuple):
    """A check takes its time: what it is doing, and for how long (seconds) it has."""

    check: str
    doing: str
    for_s: float


Told = Began | Loaded | Verdict

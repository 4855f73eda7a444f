"""What each hook was told, on disk: so that a restart neither forgets a clip nor tells the same state twice."""

from __future__ import annotations

import logging
from pathlib import Path

import msgspec

from visualpath.core.health import State
from visualpath.runtime.files import write_durably

log = logging.getLogger(__name__)


class Told(msgspec.Struct):
    """What one hook was told.

    Attributes:
        outcome: number of the last outcome of a clip; None: none yet, and those that were before it do not matter.
        health: the last state of each daemon.
    """

    outcome: int | None = None
    health: dict[str, State] = {}


def load(path: Path, hooks: list[str]) -> dict[str, Told]:
    """By hook; a file that cannot be read is as none."""
    told: dict[str, Told] = {}
    try:
        told = msgspec.json.decode(path.read_bytes(), type=dict[str, Told])
    except FileNotFoundError:
        log.info("%s is not there: hooks are told what happens from now on", path)
    except (OSError, msgspec.MsgspecError) as error:
        log.error("%s cannot be read (%s): hooks are told what happens from now on", path, error)
    return {name: told.get(name, Told()) for name in hooks}


def save(path: Path, told: dict[str, Told]) -> None:
    """Keep it over a power cut; OSError: the disk refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, msgspec.json.encode(told))

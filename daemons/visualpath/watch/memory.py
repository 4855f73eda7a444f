"""What each hook was told, on disk: so that a restart neither forgets a clip nor tells the same state twice."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from visualpath.core.health import State
from visualpath.runtime.files import write_durably
from visualpath.runtime.hooks import HookConfig
from visualpath_protocol.messages import COUNT_MAX

log = logging.getLogger(__name__)


class Told(msgspec.Struct):
    """What one hook was told.

    Attributes:
        outcome: number of the last outcome of a clip; None: none yet, and those that were before it do not matter.
        health: the last state of each daemon that was taken.
    """

    outcome: Annotated[int, msgspec.Meta(ge=0, le=COUNT_MAX)] | None = None
    health: dict[str, State] = {}


def tells_clips(hook: HookConfig) -> bool:
    """Whether it is told of clips, and not of health alone."""
    return set(hook.on) != {"health"}


def load(path: Path, hooks: Mapping[str, HookConfig]) -> dict[str, Told]:
    """By hook; a file that cannot be read is as none.

    Of a hook that is told no clips it is forgotten how far it was: if it is again, it begins with what comes next.
    """
    told: dict[str, Told] = {}
    try:
        told = msgspec.json.decode(path.read_bytes(), type=dict[str, Told])
    except FileNotFoundError:
        log.info("%s is not there: hooks are told what happens from now on", path)
    except (OSError, msgspec.MsgspecError) as error:
        log.error("%s cannot be read (%s): hooks are told what happens from now on", path, error)
    found = {name: told.get(name, Told()) for name in hooks}
    for name, hook in hooks.items():
        if not tells_clips(hook):
            found[name].outcome = None
    return found


def save(path: Path, told: dict[str, Told]) -> None:
    """Keep it over a power cut; OSError: the disk refuses."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_durably(path, msgspec.json.encode(told))

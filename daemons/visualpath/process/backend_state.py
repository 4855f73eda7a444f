"""How the backends of an extractor stand, and what happens to them: for status, metrics and traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from visualpath_protocol.clock import NS_PER_S

LOAD_PATIENCE_NS = 300 * NS_PER_S
"""How long frames may wait for a backend: as long as systemd waits for the first (TimeoutStartSec)."""

State = Literal["ok", "fallback", "probation", "failed"]
"""The best is in use; a lesser one is; one that is tried again is; that in use fails, and there is no other."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to the backends.

    Attributes:
        counter: for programs, as `down.missing`.
        state: what is the case from here on, as `on mediapipe`.
        reason: for people.
    """

    counter: str
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class Shown:
    """How the backends stand.

    Attributes:
        name, rung: the one in use, 0: the best; -1: none yet.
        names: of all, the best first.
        about: what the one in use says of itself: device, model, ...
        reason: why the best is not in use, or why that in use fails; "": neither is so.
        loading: the one that is being loaded; "": none.
        blocks_ns: since when frames wait for that (monotonic); 0: none do.
        since_wall_ns: when this one came into use, or began to fail or to work again.
        retry_ns: when the next one is tried again (monotonic).
        loaded_ns: when frames were last held up by a load (monotonic).
    """

    name: str = ""
    rung: int = -1
    names: tuple[str, ...] = ()
    about: Mapping[str, str] = field(default_factory=dict)
    state: State = "ok"
    reason: str = ""
    loading: str = ""
    blocks_ns: int = 0
    since_wall_ns: int = 0
    retry_ns: int | None = None
    loaded_ns: int = 0

    def inference_ns(self, picked_ns: int, now: int) -> int:
        """For how long a frame that was picked at `picked_ns` has been inferred on (both monotonic).

        To load a backend in the middle of it is no inference, but for what is above `LOAD_PATIENCE_NS`.
        """
        if self.blocks_ns:
            return max(0, now - self.blocks_ns - LOAD_PATIENCE_NS)
        return now - max(picked_ns, self.loaded_ns)

    def as_dict(self, now: int) -> dict[str, Any]:
        """For the status of a daemon."""
        return {
            "name": self.name,
            "rung": self.rung,
            "names": self.names,
            "about": self.about,
            "state": self.state,
            "reason": self.reason,
            "loading": self.loading,
            "since_wall_ns": self.since_wall_ns,
            "retry_in_ns": None if self.retry_ns is None else max(0, self.retry_ns - now),
        }

"""Which of an extractor's backends is in use: the best that works. Pure: the caller loads them, and says the time.

Laws:
    1. The rungs are in order, the best first. One is in use; each is closed (as far as is known it works) or open.
    2. A rung opens when it cannot be loaded, and when the one in use fails on so many frames in a row.
    3. From one that opened, the caller steps down to the first below that is closed, or whose wait is over.
    4. Where there is none, it stays in use, open: each frame is still tried on it; some in a row that work close it.
    5. An open rung is tried again after a wait (half-open): one above that in use; any, if that is open itself. Once
       loaded it is in use, on probation for some frames; the first that fails sends the caller back where it came from.
    6. The wait doubles each time, up to a bound. It is short again for a rung that had worked for longer than it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from visualpath_protocol.clock import NS_PER_S

Cause = Literal["missing", "device", "load", "errors", "probation"]
"""Why a rung opened: its model or its device is missing, or it cannot be loaded for another reason; it failed on frames
in a row, or on probation."""

Move = Literal["down", "up", "failed", "recovered"]
"""Another rung is in use; or there is none to step down to; or the one in use works again."""


@dataclass(frozen=True, slots=True)
class Patience:
    """When a rung is given up, and when it is tried again.

    Attributes:
        errors: frames in a row that a rung fails on until it opens.
        retry_ns, retry_max_ns: the first wait, and the longest.
        probation: frames that a rung that is tried again, or that is open and in use, must look at without failing.
    """

    errors: int = 5
    retry_ns: int = 30 * NS_PER_S
    retry_max_ns: int = 600 * NS_PER_S
    probation: int = 10


@dataclass(slots=True)
class Rung:
    """One backend.

    Attributes:
        cause, why: of its opening, for programs and for people; None: it is closed.
        wait_ns: its last wait; 0: it never opened.
        retry_ns: when that is over (monotonic).
    """

    name: str
    cause: Cause | None = None
    why: str = ""
    wait_ns: int = 0
    retry_ns: int = 0


class Ladder:
    """The state of all rungs. A rung is called by its index.

    Args:
        names: of the rungs, the best first.

    Attributes:
        rungs: all of them.
        current: the one in use; None until the first is taken.
        probation: how many frames that one must still look at before it is trusted; 0: it is.
        back: the rung to go back to if it fails before that, which is to be kept loaded; None: there is none.
    """

    def __init__(self, names: Sequence[str], patience: Patience) -> None:
        self.rungs = [Rung(name) for name in names]
        self.current: int | None = None
        self.probation = 0
        self.back: int | None = None
        self._patience = patience
        self._errors = 0
        self._works = 0
        self._trusted_ns = 0

    @property
    def failed(self) -> bool:
        """Whether the rung in use is open, for want of another."""
        return self.current is not None and self.rungs[self.current].cause is not None

    def troubles(self) -> list[Rung]:
        """The rungs that keep the best from being in use: those above the one in use, and that itself if it is open."""
        end = len(self.rungs) if self.failed or self.current is None else self.current
        return [rung for rung in self.rungs[:end] if rung.cause is not None]

    def candidates(self, now: int) -> list[int]:
        """Where to begin, or to step down to; the first of them that can be loaded is to be taken."""
        below = range(0 if self.current is None else self.current + 1, len(self.rungs))
        found = [i for i in below if i != self.back and (self.rungs[i].cause is None or self.rungs[i].retry_ns <= now)]
        return found if self.back is None else [self.back, *found]

    def due(self, now: int) -> int | None:
        """The rung that is to be loaded now, beside the one in use, and then taken; None: none."""
        if self.current is None or self.probation:
            return None
        end = len(self.rungs) if self.failed else self.current
        return next((i for i in range(end) if self.rungs[i].cause and self.rungs[i].retry_ns <= now), None)

    def retry_ns(self) -> int | None:
        """When the next rung will be due; None: the best is in use, and works."""
        return min((rung.retry_ns for rung in self.troubles()), default=None)

    def refuse(self, index: int, cause: Cause, why: str, now: int) -> None:
        """A rung cannot be loaded."""
        self._open(index, cause, why, now, worked_ns=0)

    def take(self, index: int, now: int) -> Move | None:
        """A rung is loaded and in use from now on; None: it is the best, and the first."""
        before, came_from_open, rung = self.current, self.failed, self.rungs[index]
        half_open = before is not None and rung.cause is not None
        rung.cause, rung.why = None, ""
        self.probation = self._patience.probation if half_open else 0
        self.back = before if half_open and not came_from_open else None
        self.current, self._errors, self._trusted_ns = index, 0, now
        if before is None:
            return "down" if index else None
        return "recovered" if index == before else "down" if index > before else "up"

    def worked(self, now: int) -> Move | None:
        """The rung in use has looked at a frame."""
        self._errors = 0
        if self.probation:
            self.probation -= 1
            if not self.probation:
                self.back, self._trusted_ns = None, now
        self._works += 1
        if not self.failed or self._works < self._patience.probation:
            return None
        assert self.current is not None
        rung = self.rungs[self.current]
        rung.cause, rung.why, self._trusted_ns = None, "", now
        return "recovered"

    def erred(self, why: str, now: int) -> bool:
        """The rung in use has failed on a frame; returns whether it opened by that: then a candidate is to be taken."""
        assert self.current is not None
        self._errors, self._works = self._errors + 1, 0
        if self.failed or (not self.probation and self._errors < self._patience.errors):
            return False
        if self.probation:
            self._open(self.current, "probation", f"failed again when it was tried: {why}", now, worked_ns=0)
        else:
            text = f"{self._errors} frames in a row failed, the last by {why}"
            self._open(self.current, "errors", text, now, worked_ns=now - self._trusted_ns)
        self.probation = 0
        return True

    def _open(self, index: int, cause: Cause, why: str, now: int, worked_ns: int) -> None:
        rung, patience = self.rungs[index], self._patience
        longer_ns = min(2 * rung.wait_ns, patience.retry_max_ns)
        rung.wait_ns = longer_ns if rung.wait_ns > 0 and worked_ns <= rung.wait_ns else patience.retry_ns
        rung.cause, rung.why, rung.retry_ns = cause, why, now + rung.wait_ns

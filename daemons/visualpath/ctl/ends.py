"""Which daemons ended by themselves lately, and how, from what supervisord wrote about it."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

LATELY = timedelta(minutes=10)
READ_BYTES = 1 << 20
"""Of the end of supervisord's log; a line has some 100."""
_ENDED = re.compile(
    r"^([\d-]+ [\d:]+,\d+) \w+ (exited|stopped): (\S+) \((.+?)(?:; (?:not )?expected)?\)$", re.MULTILINE
)


@dataclass(frozen=True)
class Ends:
    """How often a daemon ended without having been told to.

    Attributes:
        last: `terminated by SIGSEGV`, `exit status 1` and the like.
        last_at: of this machine's clock and zone.
    """

    count: int
    last: str
    last_at: datetime

    def __str__(self) -> str:
        times = "once" if self.count == 1 else f"{self.count} times"
        minutes = f"{LATELY.total_seconds() / 60:.0f} min"
        return f"ended by itself {times} in {minutes}, last at {self.last_at:%H:%M:%S}: {self.last}"


def recent_ends(folder: Path, since: datetime | None = None) -> dict[str, Ends]:
    """By daemon: the ends since it was last told to stop.

    Args:
        folder: of supervisord's log.
        since: of this machine's clock and zone, as in that log; None: `LATELY`.
    """
    now = datetime.now()
    since = since or now - LATELY
    found: defaultdict[str, list[tuple[datetime, str]]] = defaultdict(list)
    for when, what, daemon, how in _ENDED.findall(_tail(folder / "supervisord.log")):
        at = datetime.strptime(when, "%Y-%m-%d %H:%M:%S,%f")
        if what == "stopped":
            found.pop(daemon, None)
        elif since <= at <= now:  # what lies ahead was written before the clock was put back
            found[daemon].append((at, how))
    return {daemon: Ends(len(each), each[-1][1], each[-1][0]) for daemon, each in found.items()}


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - READ_BYTES))
            return file.read().decode(errors="replace")
    except OSError:
        return ""

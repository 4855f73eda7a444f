"""How fast a source may talk: a bucket that holds one second's messages and is refilled evenly."""

from __future__ import annotations

from visualpath_protocol.clock import NS_PER_S


class RateCap:
    """Admits `per_s` units a second, and as many at once after a second of silence. Pure; `now` is monotonic ns."""

    def __init__(self, per_s: int, now: int) -> None:
        self._per_s = per_s
        self._full_at = now

    def admits(self, now: int, units: int = 1) -> bool:
        """Take so many units, if there is room for them.

        The bucket is kept as the time at which it will be full again: each unit moves that by 1 / rate.
        """
        full_at = max(self._full_at, now) + units * NS_PER_S // self._per_s
        if full_at - now > NS_PER_S:
            return False
        self._full_at = full_at
        return True

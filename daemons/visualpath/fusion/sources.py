"""Which sources live: registrations, leases, and what their sequence numbers tell about losses.

Pure: time is an argument, changes are return values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from visualpath.core.errors import CommandError
from visualpath.fusion.rate import RateCap
from visualpath_protocol import PROTOCOL_MAJOR, PROTOCOL_VERSION
from visualpath_protocol.clock import NS_PER_MS, NS_PER_S
from visualpath_protocol.messages import COUNT_MAX, Ping, Skip

LEASE_NS = 3 * 500 * NS_PER_MS
"""Three PINGs missed."""

LEFT = "left"
"""Why a source is down that said BYE."""

MAX_SOURCES = 64
"""As many as the aligner takes."""

MAX_NAMES = 4 * MAX_SOURCES
"""Sources that have counters of their own; peers could invent any number."""

SIGNS_PER_S = 20
"""PINGs and BYEs of one source; two a second are usual. Each may be a change that is logged."""

NEW_SIGNS_PER_S = 100
"""PINGs of all that are not known, together: as after a restart of fusion."""

FIXED = ("version", "streams", "ordered", "stride", "phase", "expected")
"""Fields of a PING that hold for the life of an instance."""


@dataclass(frozen=True)
class Up:
    """The source takes part from now on."""

    ping: Ping


@dataclass(frozen=True)
class Down:
    """The source no longer takes part."""

    source: str
    streams: tuple[str, ...]
    reason: str


Change = Up | Down


@dataclass
class _Source:
    ping: Ping
    heard_ns: int
    rate: RateCap
    signs: RateCap
    up: bool = False
    next_seq: dict[str, int] = field(default_factory=dict)


class Sources:
    """Every source that has been heard of.

    Args:
        streams: names of the configured streams.
        hang_timeouts_ns: by the name of each configured source, how long one inference may take; default 10 s.
        max_rate: OBS, BOUND and skipped frames a second that a source may send for each of its streams; those of
            all that never registered count together.
    """

    def __init__(self, streams: Iterable[str], hang_timeouts_ns: Mapping[str, int], max_rate: int) -> None:
        self._streams = frozenset(streams)
        self._hang_timeouts_ns = hang_timeouts_ns
        self._max_rate = max_rate
        self._unregistered = RateCap(max_rate, 0)
        self._new_signs = RateCap(NEW_SIGNS_PER_S, 0)
        self._sources: dict[str, _Source] = {}
        self._names = set(hang_timeouts_ns)
        self.lost: Counter[str] = Counter()
        """Messages that never came, by source, as their sequence numbers show."""

    def heard(self, ping: Ping, now: int) -> list[Change]:
        """Take a source at its registration or any PING, which is a complete one.

        Raises:
            CommandError: it is not taken: `version`, `name-taken`, `unknown-stream`, `malformed`, `changed` or
                `too-many-sources`.
        """
        self._check(ping, now)
        changes: list[Change] = []
        source = self._sources.get(ping.source)
        if source is None or source.ping.instance != ping.instance:
            changes = self._settle(source, now) if source is not None else []
            rate = RateCap(self._max_rate * len(ping.streams), now)
            source = self._sources[ping.source] = _Source(ping, now, rate, RateCap(SIGNS_PER_S, now))
            if len(self._names) < MAX_NAMES:
                self._names.add(ping.source)
        sent = {stream: ping.sent[stream] for stream in ping.streams if stream in ping.sent}
        source.ping, source.heard_ns = msgspec.structs.replace(ping, counters={}, sent=sent), now
        self._count_lost_tail(source)
        return changes + self._settle(source, now)

    def _check(self, ping: Ping, now: int) -> None:
        if ping.version.split(".")[0] != str(PROTOCOL_MAJOR):
            theirs = ping.version[:32]
            raise CommandError("version", f"{ping.source} speaks protocol {theirs}, fusion {PROTOCOL_VERSION}")
        unknown = sorted(set(ping.streams) - self._streams)
        if unknown:
            text = f"{ping.source} wants {', '.join(unknown[:3])}"
            raise CommandError("unknown-stream", text, "not in fusion's config")
        if not ping.streams or len(set(ping.streams)) < len(ping.streams):
            raise CommandError("malformed", f"{ping.source} must name each of its streams once, and at least one")
        if self._other_instance_lives(ping, now):
            raise CommandError("name-taken", f"another live instance is called {ping.source}", "stop it or rename one")
        known = self._sources.get(ping.source)
        if known is not None and known.ping.instance == ping.instance:
            changed = [name for name in FIXED if getattr(ping, name) != getattr(known.ping, name)]
            if changed:
                raise CommandError("changed", f"{ping.source} changed its {', '.join(changed)}", "start it anew")
        if not self._has_room(ping.source):
            raise CommandError("too-many-sources", f"{MAX_SOURCES} sources live already", "stop one")

    def accepts(self, source: str, instance: str) -> bool:
        """Whether messages of this instance are taken: not while another instance holds the name."""
        known = self._sources.get(source)
        return known is None or known.ping.instance == instance

    def counted_name(self, source: str) -> str:
        """The name to count a source's messages by: of those that never registered there may be any number."""
        return source if source in self._names else "unregistered"

    def frames_in(self, skip: Skip) -> int:
        """How many frames a SKIP is about: those of the run that the source looks at."""
        known = self._sources.get(skip.source)
        stride = known.ping.stride if known is not None else 1
        return (skip.last_frame_id - skip.first_frame_id) // stride + 1

    def account(self, source: str, stream: str, seq: int, now: int) -> list[Change]:
        """Take note of a message: it renews the lease, and a jump forward of its number counts what was lost."""
        known = self._sources.get(source)
        if known is None:
            return []
        expected = known.next_seq.get(stream, seq)
        self._lose(source, seq - expected)
        known.next_seq[stream] = max(expected, seq + 1)
        known.heard_ns = now
        return self._settle(known, now)

    def admits(self, source: str, now: int, units: int = 1) -> bool:
        """Whether the source keeps to its rate: one that floods must not crowd the others out."""
        known = self._sources.get(source)
        return (known.rate if known is not None else self._unregistered).admits(now, units)

    def admits_sign(self, source: str, now: int) -> bool:
        """The same for its PINGs and BYEs."""
        known = self._sources.get(source)
        return (known.signs if known is not None else self._new_signs).admits(now)

    def leave(self, source: str, instance: str) -> list[Change]:
        """An orderly end."""
        known = self._sources.get(source)
        if known is None or known.ping.instance != instance:
            return []
        del self._sources[source]
        if source not in self._names:
            self.lost.pop(source, None)
        return [Down(source, tuple(known.ping.streams), LEFT)] if known.up else []

    def expire(self, now: int) -> list[Change]:
        """End the leases of those that have been silent too long."""
        return [change for source in self._sources.values() for change in self._settle(source, now)]

    def next_deadline(self) -> int | None:
        """When `expire` has something to do."""
        return min((s.heard_ns + LEASE_NS for s in self._sources.values() if s.up), default=None)

    def table(self, now: int) -> dict[str, dict[str, object]]:
        """For people: each source's state."""
        return {
            name: {
                "state": source.ping.state if source.up or source.ping.state == "starting" else "down",
                "streams": source.ping.streams,
                "expected": source.ping.expected,
                "silent_ms": (now - source.heard_ns) // NS_PER_MS,
                "lost": self.lost[name],
            }
            for name, source in self._sources.items()
        }

    def _settle(self, source: _Source, now: int) -> list[Change]:
        reason = self._why_down(source, now)
        if reason and source.up:
            source.up = False
            return [Down(source.ping.source, tuple(source.ping.streams), reason)]
        if not reason and not source.up:
            source.up = True
            return [Up(source.ping)]
        return []

    def _why_down(self, source: _Source, now: int) -> str:
        hang_timeout_ns = self._hang_timeouts_ns.get(source.ping.source, 10 * NS_PER_S)
        if now - source.heard_ns >= LEASE_NS:
            return f"silent for {(now - source.heard_ns) / 1e9:.1f} s"
        if source.ping.busy_ns > hang_timeout_ns:
            return f"one inference has run for {source.ping.busy_ns / 1e9:.1f} s"
        return source.ping.state if source.ping.state in ("starting", "stopping") else ""

    def _other_instance_lives(self, ping: Ping, now: int) -> bool:
        known = self._sources.get(ping.source)
        return known is not None and known.ping.instance != ping.instance and now - known.heard_ns < LEASE_NS

    def _has_room(self, source: str) -> bool:
        """Whether the source is known or can be taken; those that are down make room, the longest silent first."""
        if source in self._sources or len(self._sources) < MAX_SOURCES:
            return True
        down = [known for known in self._sources.values() if not known.up]
        if down:
            oldest = min(down, key=lambda known: known.heard_ns).ping.source
            del self._sources[oldest]
            self.lost.pop(oldest, None)
        return bool(down)

    def _count_lost_tail(self, source: _Source) -> None:
        """A PING says how many numbers were used; it travels behind the messages that used them."""
        for stream in source.ping.streams:
            sent = source.ping.sent.get(stream, 0)
            expected = source.next_seq.get(stream, sent)
            self._lose(source.ping.source, sent - expected)
            source.next_seq[stream] = max(expected, sent)

    def _lose(self, source: str, messages: int) -> None:
        self.lost[source] = min(self.lost[source] + max(0, messages), COUNT_MAX)

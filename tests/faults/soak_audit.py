"""What is looked through when a soak is over: moments, messages, frames, processes, files; all else is unexplained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain as joined
from pathlib import Path

from audit import Audit, audit
from chain import Chain, FaultError, Status
from scenario import LOST_SAYING
from soak_books import Mark, Run, Strike, compare_lost, compare_silence, explained_by, failed_clips, read_runs
from soak_fit import Reading, Slope, descriptors_gained, settled, slope_within
from soak_ground import SOURCES
from soak_watch import Watch, remains

from visualpath_protocol.sockets import OBSERVATIONS

COOLDOWN_S = 1.5
GONE_S = 10.0
FULL_S = 180.0
"""By then what a daemon keeps of the past is as much as it ever will be: fusion knows of the last 4096 frames."""
LEAK_MIB_PER_H, LEAK_MIB, JUDGED_S = 4.0, 2.0, 300.0
"""Memory that is lost: a slope that is steeper by three of its standard errors, so much growth in what was watched, and
so long a watch of lives past FULL_S. What a single fault has a process take once is less, a shorter soak too short."""
FDS_GAINED = 2
LOGS_BYTES = 110 << 20
"""supervisord's: one file of 10 MiB and ten older ones for each daemon."""


@dataclass(frozen=True)
class Daemon:
    """What the processes of one daemon took.

    Attributes:
        readings, settled_s, slope: of their lives after the first minute; of resident bytes.
        late_s, late_slope: of their lives after FULL_S.
        rss_bytes, fds: at the first and the last of these readings.
        fds_gained: by the process that has gained most.
    """

    name: str
    processes: int
    readings: int = 0
    settled_s: float = 0.0
    slope: Slope | None = None
    late_s: float = 0.0
    late_slope: Slope | None = None
    rss_bytes: tuple[int, int] = (0, 0)
    fds: tuple[int, int] = (0, 0)
    fds_gained: int = 0


@dataclass
class Findings:
    """Of the whole soak."""

    moments: Audit
    runs: int = 0
    comparisons: int = 0
    lost: int = 0
    never_received: tuple[int, int] = (0, 0)
    silence: tuple[int, int] = (0, 0)
    failures: list[str] = field(default_factory=list)
    daemons: list[Daemon] = field(default_factory=list)
    files: dict[str, int] = field(default_factory=dict)
    unexplained: list[str] = field(default_factory=list)


def look_through(
    chain: Chain, watch: Watch, strikes: Sequence[Strike], marks: Sequence[Mark],
    statuses: Mapping[str, Status | None], wrong: list[str],
) -> Findings:  # fmt: skip
    """Compare everything; the chain is down."""
    found = Findings(audit(chain.config, COOLDOWN_S), unexplained=wrong)
    if watch.failure is not None:
        raise watch.failure
    found.unexplained += found.moments.wrong
    _explain_failures(found, chain, strikes)
    _compare_counters(found, chain, watch, marks, statuses)
    _look_for_remains(found, chain, watch)
    for name, lives in watch.lives.items():
        daemon = growth(name, list(lives.values()))
        found.daemons.append(daemon)
        found.unexplained += grown(daemon)
    _measure_files(found, chain)
    return found


def _explain_failures(found: Findings, chain: Chain, strikes: Sequence[Strike]) -> None:
    for clip_id, why, start_ns, end_ns in failed_clips(chain.config):
        strike = explained_by(why, start_ns, end_ns, strikes)
        said = f"clip {clip_id} failed: {why}"
        if strike is None:
            found.unexplained.append(said)
        else:
            found.failures.append(f"{said}; explained by #{strike.number} {strike.name}")


def _compare_counters(
    found: Findings, chain: Chain, watch: Watch, marks: Sequence[Mark], statuses: Mapping[str, Status | None]
) -> None:
    runs, damage = read_runs(chain.config, SOURCES)
    found.unexplained += damage
    found.runs = len(runs)
    for run in runs:
        comparisons, wrong = compare_lost(run, watch.counted)
        found.comparisons += comparisons
        found.lost += run.total_lost()
        found.unexplained += wrong
    seen, counted, wrong = compare_silence(runs, marks, SOURCES)
    found.silence = seen, counted
    found.unexplained += wrong
    extractors = {name: status for name, status in statuses.items() if name.startswith("extractor-") and status}
    found.never_received = never_received(runs, extractors)
    seen, counted = found.never_received
    in_hand = OBSERVATIONS.hwm * len(SOURCES) * (len(runs) - 1)
    if not 0 <= seen - counted <= in_hand:
        found.unexplained.append(f"of the extractors at the end {seen} messages never came, they count {counted}")


def never_received(runs: Sequence[Run], extractors: Mapping[str, Status]) -> tuple[int, int]:
    """Over all runs of fusion: messages that these extractors sent and that never came, and what they count of them."""
    seen = counted = 0
    for name, status in extractors.items():
        source = name.removeprefix("extractor-")
        key = next(run.last[source] for run in reversed(runs) if source in run.last)
        came = set[int]().union(*(run.books.numbers[key] for run in runs if key in run.books.numbers))
        seen += max(came) - min(came) + 1 - len(came)
        counted += sum(status["counters"].get(counter, 0) for counter in LOST_SAYING)
    return seen, counted


def _look_for_remains(found: Findings, chain: Chain, watch: Watch) -> None:
    found.unexplained += [f"a zombie: {zombie}" for zombie in sorted(watch.zombies)]
    try:
        chain.wait(lambda: not chain.pids() and not remains(watch), "every process has ended", GONE_S)
    except FaultError:
        left = [*chain.pids().values(), *remains(watch)]
        found.unexplained.append(f"still there after the end: {left}")


def growth(name: str, lives: Sequence[Sequence[Reading]]) -> Daemon:
    """What one daemon's processes took, each without its first minute; with all of it where none lived so long."""
    kept, late = settled(lives), settled(lives, FULL_S)
    shown = list(joined.from_iterable(kept or lives))
    return Daemon(
        name,
        processes=len(lives),
        readings=sum(map(len, kept)),
        settled_s=_seconds(kept),
        slope=_slope(kept),
        late_s=_seconds(late),
        late_slope=_slope(late),
        rss_bytes=(shown[0].rss_bytes, shown[-1].rss_bytes),
        fds=(shown[0].fds, shown[-1].fds),
        fds_gained=max(map(descriptors_gained, kept), default=0),
    )


def _seconds(lives: Sequence[Sequence[Reading]]) -> float:
    return sum(life[-1].age_s - life[0].age_s for life in lives)


def _slope(lives: Sequence[Sequence[Reading]]) -> Slope | None:
    return slope_within([[(reading.age_s, reading.rss_bytes) for reading in life] for life in lives])


def grown(daemon: Daemon) -> list[str]:
    """What of it is a leak."""
    wrong = []
    slope = daemon.late_slope
    if slope is not None and daemon.late_s >= JUDGED_S:
        least = mib_per_h(slope.rise - 3 * slope.error)
        if least > LEAK_MIB_PER_H and mib_per_h(slope.rise) * daemon.late_s / 3600 > LEAK_MIB:
            wrong.append(f"{daemon.name} grows by at least {least:.1f} MiB/h")
    if daemon.fds_gained > FDS_GAINED:
        wrong.append(f"a process of {daemon.name} has {daemon.fds_gained} file descriptors more at its end")
    return wrong


def mib_per_h(bytes_per_s: float) -> float:
    """The same in MiB an hour."""
    return bytes_per_s * 3600 / (1 << 20)


def _measure_files(found: Findings, chain: Chain) -> None:
    config = chain.config
    logs = config.state_dir / "supervisor"
    found.files = {
        "record": size_of(config.record_dir),
        "ring": size_of(config.ring_dir),
        "logs": size_of(logs),
        "outbox": size_of(config.state_dir / "fusion"),
        "ledger": size_of(config.state_dir / "clip"),
        "clips": size_of(config.clips_dir),
    }
    bounds = {
        "record": config.record.max_bytes,
        "ring": config.ring.max_bytes * 3 // 2 * len(config.streams),
        "logs": LOGS_BYTES * (len(chain.roles) + 1),
        "outbox": 4 << 20,
    }
    found.unexplained += [
        f"{name} takes {found.files[name]} bytes of {bound}"
        for name, bound in bounds.items()
        if found.files[name] > bound
    ]


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

"""What a soak shows at its end: a table of the faults, one of the daemons, the sums, and what is unexplained."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from soak_audit import Daemon, Findings, mib_per_h
from soak_books import Strike
from soak_fit import Slope

MIB = 1 << 20
BY_DESIGN = {
    "record": "bounded by record.size",
    "ring": "bounded by ring.size",
    "logs": "bounded: 10 MiB and ten older files of each daemon",
    "outbox": "bounded: triggers on their way, and the last firings",
    "ledger": "grows with each trigger, for ever",
    "clips": "grow with each clip, up to clip.quota and clip.retention",
}


def show(strikes: Sequence[Strike], found: Findings, console: Console) -> None:
    """Print it all."""
    for table in (_faults(strikes), _daemons(found.daemons)):
        console.print()
        console.print(table)
    console.print()
    _sums(found, console)
    console.print(f"\nunexplained: {len(found.unexplained)}")
    for line in found.unexplained:
        console.print(f"  {line}")


def _faults(strikes: Sequence[Strike]) -> Table:
    backs: defaultdict[str, list[float]] = defaultdict(list)
    for strike in strikes:
        backs[strike.name].append(strike.back_s)
    table = Table("fault", "times", "data flow again after", "longest", box=None, pad_edge=False)
    for name, seconds in sorted(backs.items()):
        shown = ", ".join(f"{each:.1f}" for each in seconds[:8]) + (", ..." if len(seconds) > 8 else "") + " s"
        table.add_row(name, str(len(seconds)), shown, f"{max(seconds):.1f} s")
    return table


def _daemons(daemons: Sequence[Daemon]) -> Table:
    columns = ("daemon", "processes", "MiB first, last", "MiB/h after 1 min", "after 3 min", "fds first, last", "gain")
    table = Table(*columns, box=None, pad_edge=False)
    for each in sorted(daemons, key=lambda daemon: daemon.name):
        table.add_row(
            each.name,
            str(each.processes),
            "{:.1f}, {:.1f}".format(*(rss / MIB for rss in each.rss_bytes)),
            f"{_slope(each.slope)} ({each.readings} readings in {each.settled_s:.0f} s)",
            f"{_slope(each.late_slope)} ({each.late_s:.0f} s)",
            f"{each.fds[0]}, {each.fds[1]}",
            f"{each.fds_gained:+d}",
        )
    return table


def _slope(slope: Slope | None) -> str:
    return "-" if slope is None else f"{mib_per_h(slope.rise):+.2f} ± {mib_per_h(slope.error):.2f}"


def _sums(found: Findings, console: Console) -> None:
    moments = found.moments
    console.print(
        f"{len(moments.triggers)} triggers = {len(moments.saved)} in clips + {len(moments.failed)} failed; "
        f"{moments.frames} pictures decoded, gaps: {dict(moments.gaps) or 'none'}"
    )
    for line in found.failures:
        console.print(f"  {line}")
    console.print(
        f"{found.runs} runs of fusion: {found.lost} messages lost by the records, compared with its counters "
        f"{found.comparisons} times"
    )
    seen, counted = found.silence
    console.print(f"frames that nothing was said of: {seen} in the records = {counted} counted")
    seen, counted = found.never_received
    console.print(
        f"of the extractors at the end: {seen} messages never came = {counted} counted + {seen - counted} in hand"
    )
    for name, size_bytes in found.files.items():
        console.print(f"{name}: {size_bytes / MIB:.1f} MiB; {BY_DESIGN[name]}")

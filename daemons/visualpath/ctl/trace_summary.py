"""What a trace says in numbers: times by component, delays, losses, triggers."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import msgspec

from visualpath.observability.lines import decode_line
from visualpath.observability.records import (
    DroppedRecord,
    FrameDropRecord,
    LateRecord,
    SetRecord,
    Stamped,
    SyncDelayRecord,
    TimingRecord,
    TriggerRecord,
)
from visualpath_protocol.clock import rfc3339


class TraceSummary:
    """Adds up the lines of any number of trace files; `facts` has the outcome."""

    def __init__(self) -> None:
        self._records = 0
        self._unreadable = 0
        self._missing = 0
        self._first_ns: int | None = None
        self._last_ns: int | None = None
        self._timings: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self._delays = array("d")
        self._waiting_for: Counter[str] = Counter()
        self._drops: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._sets: Counter[str] = Counter()
        self._late: Counter[str] = Counter()
        self._triggers: Counter[str] = Counter()

    def add(self, lines: Iterable[bytes]) -> None:
        """Take lines of a file; those that are no records are counted."""
        for line in lines:
            try:
                stamped = decode_line(line)
            except msgspec.MsgspecError:
                self._unreadable += 1
            else:
                self._add(stamped)

    def _add(self, stamped: Stamped) -> None:
        self._records += 1
        at_ns, record = stamped.wall_ns, stamped.record
        self._first_ns = min(at_ns, self._first_ns or at_ns)
        self._last_ns = max(at_ns, self._last_ns or at_ns)
        match record:
            case TimingRecord():
                self._timings[record.component].append(record.processing_ms)
            case SyncDelayRecord():
                self._delays.append(record.delay_ms)
                self._waiting_for.update(record.waiting_for)
            case FrameDropRecord():
                self._drops[record.component][record.reason] += record.count()
            case SetRecord():
                self._sets[record.reason] += 1
            case LateRecord():
                self._late[record.source] += 1
            case TriggerRecord():
                self._triggers[record.label] += 1
            case DroppedRecord():
                self._missing += record.count

    def facts(self) -> dict[str, Any]:
        """Everything, as builtins. Times in ms; percentiles by nearest rank; None where nothing was traced."""
        return {
            "records": self._records,
            "unreadable": self._unreadable,
            "missing": self._missing,
            "from": rfc3339(self._first_ns) if self._first_ns is not None else None,
            "to": rfc3339(self._last_ns) if self._last_ns is not None else None,
            "timings": {component: _statistics(times) for component, times in sorted(self._timings.items())},
            "sync_delays": {**_statistics(self._delays), "waiting_for": dict(self._waiting_for.most_common())},
            "drops": {component: dict(reasons.most_common()) for component, reasons in sorted(self._drops.items())},
            "sets": dict(self._sets.most_common()),
            "late": dict(self._late.most_common()),
            "triggers": dict(self._triggers.most_common()),
        }


def _statistics(values: Iterable[float]) -> dict[str, Any]:
    ordered = sorted(values)
    if not ordered:
        return {"count": 0, "avg_ms": None, "p50_ms": None, "p95_ms": None, "max_ms": None}
    return {
        "count": len(ordered),
        "avg_ms": sum(ordered) / len(ordered),
        "p50_ms": _percentile(ordered, 50),
        "p95_ms": _percentile(ordered, 95),
        "max_ms": ordered[-1],
    }


def _percentile(ordered: list[float], percent: int) -> float:
    return ordered[-(-len(ordered) * percent // 100) - 1]

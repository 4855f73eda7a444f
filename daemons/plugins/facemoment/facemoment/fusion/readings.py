"""Values against conditions, as `vpctl explain` shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from facemoment.fusion.sight import Value
from visualpath.core.conditions import Comparison, Condition, Lookup, Signal
from visualpath.core.fusion import Reading

Values = Mapping[Signal, Value]


def lookup(values: Values) -> Lookup:
    """The values as conditions look them up."""

    def look(signal: Signal) -> float | None:
        value = values.get(signal)
        return None if value is None else value.value

    return look


def readings(condition: Condition, standing: Values, last: Values, max_gap_ns: int, t_ns: int) -> tuple[Reading, ...]:
    """Every comparison of a condition.

    Args:
        standing: the values that stand at `t_ns`.
        last: the last ones; what stands no longer has lapsed after `max_gap_ns`, or gone after its last frame.
    """
    wanted = dict(condition.against(True, lookup(standing)))
    return tuple(
        _reading(comparison, standing, last, max_gap_ns, t_ns, wanted.get(comparison))
        for comparison in dict.fromkeys(condition.comparisons())
    )


def failing(all_readings: tuple[Reading, ...]) -> tuple[Reading, ...]:
    """Those because of which the condition is not true."""
    return tuple(reading for reading in all_readings if reading.wanted is not None)


def told(some: tuple[Reading, ...]) -> Iterator[str]:
    """Each in a few words."""
    for reading in some:
        name = f"{reading.source}.{reading.signal}"
        wants = reading.comparison.removeprefix(name).strip()
        yield f"{name} {'is unknown' if reading.holds is None else reading.shown} (needs {wants})"


def _reading(
    comparison: Comparison, standing: Values, last: Values, max_gap_ns: int, t_ns: int, wanted: bool | None
) -> Reading:
    reading = Reading(str(comparison), *comparison.signal, holds=comparison.holds(lookup(standing)), wanted=wanted)
    value = last.get(comparison.signal)
    if value is None:
        return reading
    lapses_ns = value.t_ns + max_gap_ns
    return replace(
        reading,
        value=value.value,
        frame_id=value.frame_id,
        t_ns=value.t_ns,
        stands_until_ns=lapses_ns if comparison.signal in standing or lapses_ns < t_ns else value.t_ns,
        shown=comparison.shown(value.value),
    )

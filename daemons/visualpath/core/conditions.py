"""Conditions over signals, in three-valued logic: unknown is not false.

`face.count >= 1` compares; a mapping with one of the keys all, any, not combines. A comparison whose
signal has no valid value is unknown (None); all/any/not follow Kleene's tables.
"""

from __future__ import annotations

import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from visualpath.core.errors import RuleError

Signal = tuple[str, str]
"""(source, signal name)"""

Lookup = Callable[[Signal], float | None]
"""The present value of a signal, None where it is unknown."""

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_SIGNAL = re.compile(r"([a-z0-9][a-z0-9_-]{0,31})\.([A-Za-z0-9_.]+)\Z")
_COMPARISON = re.compile(rf"(\S+?)\s*(>=|<=|==|!=|>|<)\s*({_NUMBER})\Z")


class Condition(ABC):
    """A condition over signals."""

    @abstractmethod
    def holds(self, lookup: Lookup) -> bool | None:
        """True, False, or None for unknown."""

    @abstractmethod
    def comparisons(self) -> Iterator[Comparison]:
        """Every comparison in it, in the order written."""

    @abstractmethod
    def against(self, wanted: bool, lookup: Lookup) -> Iterator[tuple[Comparison, bool]]:
        """The comparisons because of which it is not `wanted`, each with what it would have to be."""

    def signals(self) -> Iterator[Signal]:
        """Every signal it reads, in the order written."""
        return (comparison.signal for comparison in self.comparisons())


@dataclass(frozen=True)
class Comparison(Condition):
    """`source.signal op value`."""

    signal: Signal
    op: str
    value: float

    def holds(self, lookup: Lookup) -> bool | None:
        present = lookup(self.signal)
        return None if present is None else _OPERATORS[self.op](present, self.value)

    def comparisons(self) -> Iterator[Comparison]:
        yield self

    def against(self, wanted: bool, lookup: Lookup) -> Iterator[tuple[Comparison, bool]]:
        if self.holds(lookup) is not wanted:
            yield self, wanted

    def __str__(self) -> str:
        return f"{'.'.join(self.signal)} {self.op} {_exact(self.value)}"

    def shown(self, value: float) -> str:
        """A value of its signal in six digits, or in as many as it takes to stand to the threshold as it does."""
        rounded = float(f"{value:g}")
        apart = (rounded > self.value, rounded < self.value) == (value > self.value, value < self.value)
        return f"{value:g}" if apart else _exact(value)


@dataclass(frozen=True)
class Combination(Condition):
    """`all` or `any` of several conditions."""

    kind: str
    parts: tuple[Condition, ...]

    def holds(self, lookup: Lookup) -> bool | None:
        decisive = self.kind == "any"
        values = [part.holds(lookup) for part in self.parts]
        if decisive in values:
            return decisive
        return None if None in values else not decisive

    def comparisons(self) -> Iterator[Comparison]:
        for part in self.parts:
            yield from part.comparisons()

    def against(self, wanted: bool, lookup: Lookup) -> Iterator[tuple[Comparison, bool]]:
        if self.holds(lookup) is not wanted:
            for part in self.parts:
                yield from part.against(wanted, lookup)

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(map(str, self.parts))})"


@dataclass(frozen=True)
class Negation(Condition):
    """`not` a condition."""

    part: Condition

    def holds(self, lookup: Lookup) -> bool | None:
        value = self.part.holds(lookup)
        return None if value is None else not value

    def comparisons(self) -> Iterator[Comparison]:
        yield from self.part.comparisons()

    def against(self, wanted: bool, lookup: Lookup) -> Iterator[tuple[Comparison, bool]]:
        yield from self.part.against(not wanted, lookup)

    def __str__(self) -> str:
        return f"not({self.part})"


def _exact(value: float) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def parse_signal(text: str) -> Signal:
    """`source.signal` as a pair; RuleError if it is none."""
    match = _SIGNAL.match(text)
    if match is None:
        raise RuleError(f"{text!r} is no signal: write <source>.<signal>, e.g. face.count")
    return match[1], match[2]


def parse_condition(spec: object) -> Condition:
    """Read what stands under `when:`.

    Raises:
        RuleError: it is neither a comparison nor a mapping with one of all, any, not.
    """
    if isinstance(spec, str):
        match = _COMPARISON.match(spec.strip())
        if match is None:
            raise RuleError(f"{spec!r} is no condition: write <source>.<signal> <op> <number>, e.g. face.count >= 1")
        return Comparison(parse_signal(match[1]), match[2], float(match[3]))
    if isinstance(spec, dict) and len(spec) == 1:
        (kind, inner), *_ = spec.items()
        if kind == "not":
            return Negation(parse_condition(inner))
        if kind in ("all", "any") and isinstance(inner, list) and inner:
            return Combination(kind, tuple(parse_condition(part) for part in inner))
    raise RuleError(f"{spec!r} is no condition: write a comparison, or all: [...], any: [...], not: ...")

"""Which signals a rule reads, and how it is told that nothing gives one."""

from __future__ import annotations

from collections.abc import Iterable

from visualpath.core.conditions import Signal
from visualpath.core.rules import RuleConfig


def signals_of(rule: RuleConfig) -> list[Signal]:
    """Each signal that a rule reads, once: those of its condition, then its score."""
    score = rule.score_signal()
    return list(dict.fromkeys([*rule.condition().signals(), *([score] if score else [])]))


def reads(rule: RuleConfig, signal: Signal) -> str:
    """E.g. `rule 'red' reads colour.red`."""
    return f"rule {rule.label!r} reads {'.'.join(signal)}"


def never_gave(rule: RuleConfig, signal: Signal, given: Iterable[str]) -> str:
    """What is told of a signal that its extractor, which gave those others, never gave."""
    return f"{reads(rule, signal)}, which {signal[0]} never gave; it gave {', '.join(sorted(given)) or 'none'}"

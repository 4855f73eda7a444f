"""How much of a text was read. Pure.

Accuracy is 1 - (characters to insert, delete or replace) / (characters of the truth), not below 0; letter case and
punctuation count. White space does not in `characters`; in `spaced` any run of it is one space.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class TextScore:
    """Of some pictures.

    Attributes:
        characters: accuracy without white space.
        spaced: accuracy with it.
        pictures: how many.
        worst: what was read where most was wrong: (seconds, truth, read); None: all is right.
    """

    characters: float
    spaced: float
    pictures: int
    worst: tuple[float, str, str] | None


def score(readings: Sequence[tuple[float, str, str]], whole: bool) -> TextScore:
    """Compare what was read with what stands there.

    Args:
        readings: of each picture: its time in seconds, the truth, what was read, in the order it was reported.
        whole: the truth is all text of the picture; else other text around it is no error.
    """
    errors = [distance(squeezed(truth, ""), squeezed(read, ""), whole) for _, truth, read in readings]
    spaced = [distance(squeezed(truth, " "), squeezed(read, " "), whole) for _, truth, read in readings]
    worst = max(range(len(readings)), key=lambda i: (errors[i], spaced[i]))
    return TextScore(
        characters=accuracy(sum(errors), sum(len(squeezed(truth, "")) for _, truth, _ in readings)),
        spaced=accuracy(sum(spaced), sum(len(squeezed(truth, " ")) for _, truth, _ in readings)),
        pictures=len(readings),
        worst=readings[worst] if errors[worst] or spaced[worst] else None,
    )


def accuracy(errors: int, length: int) -> float:
    """See the head of this file."""
    return max(1 - errors / length, 0.0)


def squeezed(text: str, space: str) -> str:
    """The text with `space` for each run of white space, and none at its ends."""
    return re.sub(r"\s+", space, text.strip())


def distance(truth: str, read: str, whole: bool) -> int:
    """Levenshtein's distance; without `whole`, to the part of `read` that is nearest (Sellers, 1980)."""
    row = list(range(len(read) + 1)) if whole else [0] * (len(read) + 1)
    for i, wanted in enumerate(truth, start=1):
        before, row = row, [i]
        for j, got in enumerate(read, start=1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (wanted != got)))
    return row[-1] if whole else min(row)

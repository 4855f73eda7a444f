"""Whether the text of a picture is what somebody waits for. Pure Python."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate


def match_confidence(pattern: re.Pattern[str], lines: Sequence[tuple[str, float]]) -> float:
    """How sure it is that a pattern stands there.

    The lines are put in a row with a space between each two, since words that stand apart come as lines of their own.

    Args:
        pattern: to be found anywhere in that.
        lines: text and confidence of each, in the order they are read.

    Returns:
        The lowest confidence of the lines that make up the match; of several matches, the best. 0.0: there is none.
    """
    ends = list(accumulate(len(text) + 1 for text, _ in lines))
    parts = [(end - len(text) - 1, end - 1, confidence) for end, (text, confidence) in zip(ends, lines, strict=True)]
    return max(
        (
            min((sure for start, end, sure in parts if start < found.end() and found.start() < end), default=0.0)
            for found in pattern.finditer(" ".join(text for text, _ in lines))
        ),
        default=0.0,
    )

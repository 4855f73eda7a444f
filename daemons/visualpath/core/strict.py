"""What msgspec says of a value that does not fit its type, taken apart: which key, and what is wrong with it."""

from __future__ import annotations

import re

import msgspec

UNKNOWN_KEY = "unknown key"

Key = tuple[str | int, ...]
"""Place of a value: mapping keys and list indexes from the root."""


def misfit(error: msgspec.ValidationError) -> tuple[Key, str]:
    """The key that does not fit and why; an unknown key is named itself, and UNKNOWN_KEY is why."""
    message, _, where = str(error).partition(" - at `$")
    place = tuple(int(i) if i else name for name, i in re.findall(r"\.([^.\[`]+)|\[(\d+)\]", where))
    unknown = re.search(r"unknown field `([^`]*)`", message)
    return ((*place, unknown[1]), UNKNOWN_KEY) if unknown else (place, message)

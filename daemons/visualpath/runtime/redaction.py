"""Keeps secrets out of what people read: logs, errors, answers, and files that are handed on.

A secret comes by `${NAME}` from the environment, or stands in the address of a camera.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
SHORTEST = 6
"""Characters of a secret. What is shorter, or a number with its unit, stands everywhere and hides nothing."""
_NUMBER = re.compile(r"[-+.\d]+\w{0,3}")


class Redaction:
    """Writes something else in the place of secrets.

    Args:
        instead: by secret, what is written.
    """

    def __init__(self, instead: Mapping[str, str]) -> None:
        self._instead = {secret: other for secret, other in instead.items() if _hides(secret)}
        longest_first = sorted(self._instead, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """The text as it may be shown."""
        return text if self._pattern is None else self._pattern.sub(lambda found: self._instead[found[0]], text)

    def of(self, value: Any) -> Any:
        """The same for every text in a tree of builtins; keys stay."""
        if isinstance(value, str):
            return self(value)
        if isinstance(value, Mapping):
            return {key: self.of(each) for key, each in value.items()}
        return [self.of(each) for each in value] if isinstance(value, (list, tuple)) else value


def variables(values: Mapping[str, str]) -> dict[str, str]:
    """By the value of each variable its `${NAME}`."""
    return {value: f"${{{name}}}" for name, value in values.items()}


def passwords(addresses: Iterable[str]) -> dict[str, str]:
    """By the password in each address, as it is written and as it is meant, three dots."""
    found: dict[str, str] = {}
    for address in addresses:
        before_host, at, _ = address.partition("://")[2].rpartition("@")
        _, colon, password = before_host.partition(":")
        if at and colon:
            found |= {password: "...", unquote(password): "..."}
    return found


def filled(value: Any, environ: Mapping[str, str]) -> Any:
    """A tree of builtins in which each `${NAME}` is replaced from the environment; KeyError where that has it not."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: environ[found[1]], value)
    if isinstance(value, Mapping):
        return {key: filled(each, environ) for key, each in value.items()}
    return [filled(each, environ) for each in value] if isinstance(value, list) else value


def _hides(value: str) -> bool:
    return len(value) >= SHORTEST and _NUMBER.fullmatch(value) is None

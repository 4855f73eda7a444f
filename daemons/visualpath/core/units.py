"""Durations and sizes as people write them in visualpath.yaml: `500ms`, `2s`, `256MiB`."""

from __future__ import annotations

import re

_NS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000, "h": 3_600_000_000_000}
_BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_TOO_LARGE = 2**63  # 64-bit integers on the wire and in databases
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)\Z")


class Duration(int):
    """A time span in ns."""

    @classmethod
    def parse(cls, text: object) -> Duration:
        """Read a span such as `500ms`, `1.5s`, `2m`; ValueError if it is none."""
        return cls(_quantity(text, _NS, "duration", "500ms, 2s, 1m"))


class Size(int):
    """A number of bytes."""

    @classmethod
    def parse(cls, text: object) -> Size:
        """Read a size such as `256MiB`; ValueError if it is none."""
        return cls(_quantity(text, _BYTES, "size", "64KiB, 256MiB, 2GiB"))


def _quantity(text: object, units: dict[str, int], what: str, examples: str) -> int:
    if text == 0 and not isinstance(text, bool):
        return 0
    match = _QUANTITY.match(text.strip()) if isinstance(text, str) else None
    if match is None or match[2] not in units:
        raise ValueError(f"{text!r} is no {what}: write a number and a unit ({', '.join(units)}), e.g. {examples}")
    quantity = float(match[1]) * units[match[2]]
    if quantity >= _TOO_LARGE:
        raise ValueError(f"{match[0][:32]!r} is no {what}: it is too large")
    return round(quantity)


def decode_quantity(kind: type, value: object) -> object:
    """msgspec `dec_hook` for the types of this module."""
    if kind in (Duration, Size):
        return value if isinstance(value, kind) else kind.parse(value)
    raise NotImplementedError(f"no way to read a {kind}")


def decode_number(kind: type, value: object) -> object:
    """msgspec `dec_hook` for the types of this module where they stand as plain numbers: ns, or bytes."""
    if kind not in (Duration, Size):
        raise NotImplementedError(f"no way to read a {kind}")
    if type(value) is not int or not 0 <= value < _TOO_LARGE:
        raise ValueError(f"{str(value)[:32]!r} is no whole number of ns or bytes")
    return kind(value)

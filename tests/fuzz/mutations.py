"""Changes a valid input into one that may not be: its structure, its bytes, its parts.

All chance comes from the generator that is handed in, so that a seed, or hypothesis, says everything again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from random import Random
from typing import Any

import msgspec

MAX_EDITS = 4
MAX_PLACES = 100
MAX_REPEATED = 4
MAX_BYTES = 1 << 16
DEEP = 1200
"""Levels of nesting: beyond what a decoder written in C allows."""

INTEGERS = (-(2**63), -1, 0, 1, 2, 63, 64, 255, 4096, 2**31, 2**32 - 1, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1)
FLOATS = (0.0, -0.0, 0.5, 1.0, 1.1, -1e308, 1e308, 5e-324, float("inf"), float("-inf"), float("nan"))
TEXTS = (
    "", "a", "cam1", "cam2", "face", "quality", "smile", "../../etc/passwd", "/etc/passwd", "..", ".", "a/b", "a\0b",
    "cam1\n", "Cam", "é", "\u202e", "\ud7ff", "%s%n", "$(id)", "${HOME}", "-", "a" * 32, "a" * 33, "x" * 2000,
    "x" * 2001, "y" * 20_000, "0-0.seg", "1-1.seg", "9" * 300 + "-0.seg", "9" * 5000 + "-0.seg",
    "0123456789abcdef", "0123456789ABCDEF", "live", "ended", "stalled", "ready", "starting", "jpeg", "bgr", "gap",
    "backpressure", "accepted", "duplicate", "refused", "status", "register", "trigger", "clips", "metrics", "trace",
    "verbose", "off", "OBS", "SKIP", "BOUND", "PING", "BYE", "TRIG", "ACK", "COMMAND", "REPLY", "EVENT", "FRAME",
    "STREAM", "NONE", "1.0", "2.0", "v1", "1" * 5000,
)  # fmt: skip
ARRAYS = (
    ("|u1", [4], b"abcd"), ("<f4", [1, 2], b"\0" * 8), ("<f8", [1], b"\xff" * 8), ("|u1", [5], b"abcd"),
    ("|O", [1], b"\0" * 8), ("|u1", [-1], b""), ("|u1", [0, 2**62, 2**62], b""), ("|u1", [1] * 9, b"a"),
    ("|b1", [2], b"\x07\x09"), ("|u1", [], b"a"), ("|V8", [1], b"\0" * 8), ("", [], b""), ("|u1", [2**63], b""),
)  # fmt: skip


def mutate(data: bytes, chance: Random) -> bytes:
    """One message, as MessagePack, changed in its structure or in its bytes."""
    if chance.random() < 0.7:
        try:
            tree = msgspec.msgpack.decode(data)
        except (msgspec.DecodeError, ValueError, RecursionError):
            return mutate_bytes(data, chance)
        for _ in range(chance.randint(1, MAX_EDITS)):
            tree = edit(tree, chance)
        try:
            changed = msgspec.msgpack.encode(tree)
        except (OverflowError, RecursionError, TypeError, ValueError):  # what has no form is no input
            return mutate_bytes(data, chance)
        if chance.random() < 0.9 and len(changed) <= MAX_BYTES:
            return changed
        data = changed
    return mutate_bytes(data, chance)


def edit(tree: Any, chance: Random) -> Any:
    """One change somewhere in a tree of builtins."""
    places = list(islice(_places(tree, ()), MAX_PLACES))
    if not places:
        return value(chance)
    return _replaced(tree, chance.choice(places), chance)


def value(chance: Random) -> Any:
    """Something that may stand anywhere."""
    makers: tuple[Callable[[], Any], ...] = (
        lambda: chance.choice(INTEGERS),
        lambda: chance.choice(FLOATS),
        lambda: chance.choice(TEXTS),
        lambda: chance.choice((None, True, False, [], {}, b"", b"\0" * 100)),
        lambda: [value(chance) for _ in range(chance.randint(0, 3))],
        lambda: {chance.choice(TEXTS): value(chance) for _ in range(chance.randint(0, 3))},
        lambda: {chance.choice(INTEGERS): 1, None: 2, (1, 2): 3},
        lambda: msgspec.msgpack.Ext(chance.choice((-1, 0, 1, 2, 127)), chance.randbytes(chance.randint(0, 12))),
        lambda: msgspec.msgpack.Ext(1, msgspec.msgpack.encode(list(chance.choice(ARRAYS)))),
        lambda: _deep(chance.choice((40, DEEP))),
        lambda: [0] * chance.choice((100, 10_000)),
        lambda: {f"k{n}": n for n in range(chance.choice((10, 3000)))},
    )
    return chance.choices(makers, weights=(6, 3, 6, 3, 2, 2, 1, 2, 2, 1, 1, 1))[0]()


def mutate_bytes(data: bytes, chance: Random) -> bytes:
    """Any bytes, changed: flipped, cut, doubled, put together with others."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, MAX_EDITS)):
        at = chance.randint(0, len(changed))
        end = min(len(changed), at + chance.choice((1, 1, 2, 4, 16, 256)))
        what = chance.randrange(7)
        if what == 0 and changed:
            changed[at % len(changed)] ^= 1 << chance.randrange(8)
        elif what == 1:
            changed[at:end] = b""
        elif what == 2:
            changed[at:at] = chance.randbytes(chance.choice((1, 2, 8, 64)))
        elif what == 3:
            changed[at:at] = changed[at:end] * chance.choice((1, 2, 50))
        elif what == 4:
            changed[at:] = b""
        elif what == 5:
            changed[at:end] = chance.choice((b"\0", b"\xff", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"))
        else:
            number = chance.choice(INTEGERS) & (2**64 - 1)
            changed[at : at + 8] = number.to_bytes(8, chance.choice(("little", "big")))
    return bytes(changed[:MAX_BYTES])


def mutate_parts(parts: list[bytes], chance: Random) -> list[bytes]:
    """A message of several parts: mostly one part is changed, sometimes their number or order."""
    parts = list(parts)
    what = chance.randrange(12)
    if what == 0:
        parts.insert(chance.randint(0, len(parts)), b"")
    elif what == 1:
        parts.append(chance.randbytes(8))
    elif what == 2 and len(parts) > 1:
        del parts[chance.randrange(len(parts))]
    elif what == 3:
        chance.shuffle(parts)
    elif what == 4:
        parts = [*parts, *parts] * chance.choice((1, 30))
    elif what == 5:
        parts[0] = mutate_bytes(parts[0], chance)
    else:
        parts[-1] = mutate(parts[-1], chance)
    return parts


def _places(tree: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Keys and indexes of the tree, from its root down."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, below in islice(items, MAX_PLACES):
        yield (*path, key)
        if len(path) < 6:
            yield from _places(below, (*path, key))


def _replaced(tree: Any, path: tuple[Any, ...], chance: Random) -> Any:
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    key, below = path[0], path[1:]
    if below:
        copy[key] = _replaced(copy[key], below, chance)
        return copy
    what = chance.randrange(10)
    if what == 0:
        del copy[key]
    elif what == 1 and isinstance(copy, dict):
        copy[chance.choice(TEXTS)] = copy[key]
    elif what == 2 and isinstance(copy, list) and len(copy) < MAX_REPEATED:
        copy *= chance.choice((2, 2, 300))
    elif what == 3 and isinstance(copy[key], (int, float)) and not isinstance(copy[key], bool):
        copy[key] += chance.choice((-1, 1, 2, 1000, 10**9))
    elif what == 4 and isinstance(copy[key], str):
        copy[key] = copy[key] + chance.choice(("1", "/", "\0", "x" * 40))
    elif what == 5:
        copy[key] = chance.choice(list(copy.values()) if isinstance(copy, dict) else copy)
    else:
        copy[key] = value(chance)
    return copy


def _deep(levels: int) -> Any:
    nested: Any = 1
    for _ in range(levels):
        nested = [nested]
    return nested

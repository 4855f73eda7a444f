"""Runs alignment vectors: `python -m visualpath.testing.vectors FILE.jsonl`.

The format is described in the alignment contract; the runner drives any engine with the public face of
`visualpath.core.align.Aligner`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

from visualpath.core.align import Aligner, AlignParams

Vector = dict[str, Any]
Outcome = tuple[int, dict[str, Any]]  # index of the event that caused it, the output

# Where the vectors' words differ from the engine's, by kind of event: method and renamed fields.
_METHOD = {"up": "source_up", "down": "source_down"}
_ARGUMENT = {"frame": "frame_id", "t": "t_ns"}


def load(path: Path) -> Iterator[Vector]:
    """The vectors of a file, one JSON object a line; blank lines are skipped.

    Raises:
        ValueError: a line is not JSON; the message names file and line.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path}:{number}: not a JSON object: {error}") from error


def feed(engine: Any, event: dict[str, Any]) -> list[Any]:
    """Hand one event of a vector to an engine; returns the engine's outputs."""
    kind = event["in"]
    arguments = {_ARGUMENT.get(name, name): value for name, value in event.items() if name != "in"}
    if kind == "epoch":
        arguments["n"] = arguments.pop("epoch")
    return getattr(engine, _METHOD.get(kind, kind))(**arguments)  # type: ignore[no-any-return]


def run(vector: Vector, make: Callable[[AlignParams], Any] = Aligner) -> list[Outcome]:
    """All outputs of a vector's events."""
    engine = make(AlignParams(**vector.get("params", {})))
    return [(index, output.as_dict()) for index, event in enumerate(vector["events"]) for output in feed(engine, event)]


def differences(vector: Vector, make: Callable[[AlignParams], Any] = Aligner) -> list[str]:
    """What is not as the vector expects, one text per output; empty: passed."""
    expected = [(index, output) for index, output in vector["expect"]]
    pairs = zip_longest(expected, run(vector, make))
    return [f"expected {_text(want)}\n     got {_text(got)}" for want, got in pairs if want != got]


def _text(outcome: Outcome | None) -> str:
    return "nothing more" if outcome is None else f"at event {outcome[0]}: {json.dumps(outcome[1])}"


def main(argv: list[str]) -> int:
    """Run a file; returns the exit status."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m visualpath.testing.vectors FILE.jsonl\n")
        return 2
    passed = failed = 0
    for vector in load(Path(argv[0])):
        found = differences(vector)
        for difference in found:
            sys.stdout.write(f"{vector['name']}: {difference}\n")
        passed += not found
        failed += bool(found)
    sys.stdout.write(f"{passed} passed, {failed} failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

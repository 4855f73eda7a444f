"""The public vectors of the alignment contract, and the runner of vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from visualpath.core.align import Aligner
from visualpath.testing import vectors
from visualpath.testing.slow_aligner import SlowAligner

PUBLIC_VECTORS = Path(__file__).parents[3] / "shared" / "spec" / "vectors_public.jsonl"


def public_vectors() -> list[Any]:
    if not PUBLIC_VECTORS.exists():
        missing = pytest.mark.skip(reason=f"no public vectors: {PUBLIC_VECTORS} is not there")
        return [pytest.param({}, marks=missing)]
    return [pytest.param(vector, id=vector["name"]) for vector in vectors.load(PUBLIC_VECTORS)]


@pytest.mark.parametrize("vector", public_vectors())
@pytest.mark.parametrize("make", [Aligner, SlowAligner])
def test_public_vector(vector: vectors.Vector, make: Any) -> None:
    assert vectors.differences(vector, make) == []


# The runner.


VECTOR = (
    '{"name": "v", "desc": "", "params": {}, "events": [{"in": "up", "source": "a", "now": 0},'
    ' {"in": "obs", "source": "a", "frame": -1, "t": 0, "arrival": 0}],'
    ' "expect": [[1, {"out": "drop", "source": "a", "frame": -1, "t": 0, "reason": "REASON"}]]}\n'
)


def test_the_vector_runner_passes_what_matches(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "v.jsonl"
    file.write_text(VECTOR.replace("REASON", "invalid"))
    assert vectors.main([str(file)]) == 0
    assert capsys.readouterr().out == "1 passed, 0 failed\n"


def test_the_vector_runner_prints_each_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "v.jsonl"
    file.write_text(VECTOR.replace("REASON", "past") + "\n" + VECTOR.replace("REASON", "invalid"))
    assert vectors.main([str(file)]) == 1
    out = capsys.readouterr().out
    assert out.startswith("v: expected at event 1:")
    assert out.endswith("1 passed, 1 failed\n")


def test_the_vector_runner_notices_an_output_too_few(tmp_path: Path) -> None:
    vector = next(vectors.load(_written(tmp_path, VECTOR)))
    vector["expect"].append([1, {"out": "idle", "source": "a"}])
    assert len(vectors.differences(vector)) == 2


def test_a_line_that_is_no_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"v\.jsonl:2"):
        list(vectors.load(_written(tmp_path, VECTOR + "{")))


def _written(folder: Path, text: str) -> Path:
    file = folder / "v.jsonl"
    file.write_text(text)
    return file

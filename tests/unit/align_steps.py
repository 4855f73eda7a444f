"""Short ways to drive an aligner and to read its outputs, for the tests of the alignment contract."""

from __future__ import annotations

from visualpath.core.align import AlignedSet, Aligner, AlignParams, Drop, Output

MS = 1_000_000


def engine(*expected: str, **params: int) -> Aligner:
    """An engine with these expected, ordered sources up since 0."""
    aligner = Aligner(AlignParams(**params))
    for source in expected:
        aligner.source_up(source, 0)
    return aligner


def obs(aligner: Aligner, source: str, frame: int, t_ms: int, at_ms: int, epoch: int | None = None) -> list[Output]:
    return aligner.obs(source, frame, t_ms * MS, at_ms * MS, epoch, payload=f"{source}{frame}")


def sets(outputs: list[Output]) -> list[tuple[int, tuple[str, ...], str]]:
    return [(out.frame_id, out.obs, out.reason) for out in outputs if isinstance(out, AlignedSet)]


def reasons(outputs: list[Output]) -> list[str]:
    return [out.reason for out in outputs if isinstance(out, Drop)]

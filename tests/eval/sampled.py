"""What `make eval-ocr` and `make eval-scene` share: a file's pictures, through one extractor in its own venv."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from visualbase.errors import SourceError
from visualbase.sources import open_source
from visualpath.core.observation import Observation
from visualpath.process.offline import Pipeline
from visualpath.process.subprocess_worker import VenvWorker
from visualpath.process.view import JpegFrame

ROOT = Path(__file__).parents[2]
MEDIA = ROOT.parent / "shared/media"
MOST_S = 60.0
"""Of each file from its first picture on: the one file that is longer is black all through."""


def parser(description: str) -> argparse.ArgumentParser:
    """The arguments that both take."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--media", type=Path, default=MEDIA)
    made.add_argument("--out", type=Path, default=ROOT / "var/eval")
    made.add_argument("file", nargs="*", help="names of files; default: all")
    return made


def truths(folder: Path, names: Iterable[str]) -> dict[Path, Mapping[str, Any]]:
    """What is known, by file: all of them, or those that are named.

    Raises:
        SystemExit: a name of which nothing is known, or no such folder.
    """
    if not folder.is_dir():
        raise SystemExit(f"{folder} is absent: nothing to look at")
    known = json.loads((folder / "ground_truth.json").read_text())
    found = {
        (folder / "crafted" if group == "crafted" else folder) / name: entry["truth"]
        for group in ("images", "videos", "crafted")
        for name, entry in known[group].items()
        if entry["truth"]
    }
    wanted = set(names)
    if unknown := wanted - {path.name for path in found}:
        raise SystemExit(f"nothing is known of {', '.join(sorted(unknown))}")
    return {path: truth for path, truth in found.items() if not wanted or path.name in wanted}


def frames(path: Path, epoch: int, every: int = 1, interval_s: float = 0.0) -> Iterator[JpegFrame]:
    """Its pictures, for `MOST_S`; `t_ns` is the file's own time.

    Args:
        every: of so many, one.
        interval_s: none sooner than this after the one before.

    Raises:
        SourceError: it cannot be read.
    """
    with open_source(str(path)) as source:
        for number, picture in enumerate(source.pictures()):
            if number == 0:
                due_ns, end_ns = picture.t_ns, picture.t_ns + round(MOST_S * 1e9)
            if picture.t_ns >= end_ns:
                return
            if number % every == 0 and picture.t_ns >= due_ns:
                due_ns = picture.t_ns + round(interval_s * 1e9)
                yield JpegFrame(
                    jpeg=picture.jpeg, frame_id=number, t_ns=picture.t_ns, stream="eval", epoch=epoch,
                    width=picture.width, height=picture.height,
                )  # fmt: skip


class Looker:
    """One extractor, for all files.

    Attributes:
        errors: what could not be read or looked at.
        times_ms: of each frame.
    """

    def __init__(self, worker: VenvWorker) -> None:
        self._worker = worker
        self._pipeline = Pipeline([worker])
        self._epoch = 0
        self.errors: list[str] = []
        self.times_ms: list[float] = []

    def look(self, path: Path, every: int = 1, interval_s: float = 0.0) -> Iterator[tuple[JpegFrame, Observation[Any]]]:
        """A file's frames and what was seen on each; each file is an epoch of its own."""
        self._epoch += 1
        print(f"\r{path.name[:70]:70}", end="", file=sys.stderr, flush=True)
        try:
            for looked in self._pipeline.look(frames(path, self._epoch, every, interval_s)):
                result = looked.results[self._worker.source]
                self.times_ms.append(result.timing_ms)
                if result.error is None:
                    yield looked.frame, result.observations[0]
                else:
                    self.errors.append(f"{path.name} at {looked.frame.t_ns / 1e9:.2f} s: {result.error}")
        except SourceError as error:
            self.errors.append(f"{path.name}: {error}")


@contextmanager
def looker(name: str, config: Mapping[str, Any] | None = None) -> Iterator[Looker]:
    """The extractor of this name, at work in the venv of this name."""
    with VenvWorker(name, ROOT / ".venvs" / name, config=dict(config or {})) as worker:
        yield Looker(worker)
    print(file=sys.stderr)

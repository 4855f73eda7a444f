"""After damage to the ledger: what it no longer knows is taken from memory, and from the sidecars beside the clips.

Without that, clips that nobody knows of would be kept for ever, and fill the disk beyond every bound.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import msgspec

from visualpath.clip.ledger import Ledger, LedgerError
from visualpath.clip.order import ClipOrder
from visualpath.clip.outcomes import Outcomes, size_of
from visualpath.clip.sidecar import Sidecar, read_sidecar
from visualpath.clip.worker import Worker
from visualpath_protocol.messages import Trig

log = logging.getLogger(__name__)

AT_ONCE = 100
"""Sidecars read in one go; the next follows."""

Found = tuple[Path, Sidecar, int]
"""A clip on disk, what its sidecar says, and its bytes."""


class Adoption:
    """Looks whether the ledger was made anew. Belongs to the loop's thread; the worker reads.

    Args:
        clips_dir: holds a folder per day.
        making: the clips in the making.
    """

    def __init__(
        self,
        clips_dir: Path,
        ledger: Ledger,
        outcomes: Outcomes,
        worker: Worker,
        making: Callable[[], Iterable[ClipOrder]],
    ) -> None:
        self._clips_dir = clips_dir
        self._ledger = ledger
        self._outcomes = outcomes
        self._worker = worker
        self._making = making
        self._seen = -1 if ledger.is_new else 0

    def look(self) -> None:
        """Begin to fill the ledger, should that have been replaced since the last look."""
        if self._seen == self._ledger.replaced or not self._worker.has_room:
            return
        self._seen = self._ledger.replaced
        for order in self._making():
            self._outcomes.commit(order.clip_id, partial(self._ledger.restore, order))
        self._worker.submit(lambda: sorted(self._clips_dir.glob("????-??-??/*.mp4")), self._listed)

    def _listed(self, clips: list[Path]) -> None:
        self._read_some([path for path in clips if not self._is_known(path)])

    def _is_known(self, clip: Path) -> bool:
        try:
            return self._ledger.has_clip(clip.stem.rpartition("_")[2])
        except LedgerError:  # counted by whoever writes to it
            return True

    def _read_some(self, clips: list[Path]) -> None:
        if clips:
            self._worker.submit(partial(_read, clips[:AT_ONCE]), partial(self._adopt, clips[AT_ONCE:]))

    def _adopt(self, rest: list[Path], found: list[Found]) -> None:
        for path, sidecar, size_bytes in found:
            try:
                order = order_of(sidecar)
            except (ValueError, KeyError, TypeError) as error:  # msgspec's errors are ValueErrors
                log.warning("the sidecar of %s cannot be read (%s): the ledger does not know this clip", path, error)
                continue
            self._outcomes.found(order, path, sidecar, size_bytes)
        self._read_some(rest)


def order_of(sidecar: Sidecar) -> ClipOrder:
    """What was asked for, as the sidecar tells.

    Raises:
        ValueError, KeyError, TypeError: it is no sidecar of ours.
    """
    triggers = tuple(msgspec.convert(trig, Trig) for trig in sidecar["triggers"])
    start_ns, end_ns = sidecar["asked"]
    facts = {name: sidecar[name] for name in ("clip_id", "stream", "epoch")}
    if not triggers:
        raise ValueError("it names no trigger")
    return msgspec.convert({**facts, "asked": (start_ns, end_ns), "triggers": triggers}, ClipOrder)


def _read(clips: list[Path]) -> list[Found]:
    """In the worker: those of the clips that have a sidecar."""
    found: list[Found] = []
    for path in clips:
        try:
            found.append((path, read_sidecar(path), size_of(path)))
        except (OSError, ValueError) as error:
            log.warning("%s has no readable sidecar (%s): the ledger does not know it", path, error)
    return found

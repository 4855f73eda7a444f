"""After damage to the ledger: what it no longer knows is taken from memory, and from the sidecars beside the clips.

Without that, clips that nobody knows of would be kept for ever, and fill the disk beyond every bound. So it is looked
for them at each start, too: the last run may have ended before it had found all.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
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
"""Clips looked at in one go; the next follows."""
TIME = re.compile(r"_\d{8}T\d{6}Z_")

Found = tuple[ClipOrder, Path, Sidecar, int]
"""A clip on disk: what was asked for, where it lies, what its sidecar says, its bytes."""


class Adoption:
    """Looks for what the ledger lacks. Belongs to the loop's thread; the worker reads.

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
        self._seen = -1
        self._left: Iterator[Path] = iter(())
        self._batch: list[Path] = []
        """Waits to be looked up in the ledger."""
        self._is_over = False
        self._is_reading = False

    def look(self) -> None:
        """Begin to fill the ledger, should that have been replaced since the last look, or go on with it."""
        try:
            self._ledger.look()
        except LedgerError as error:
            self._outcomes.unreadable(error)
        if self._seen != self._ledger.replaced:
            self._seen = self._ledger.replaced
            for order in self._making():
                self._outcomes.commit(order.clip_id, partial(self._ledger.restore, order))
            self._left, self._batch, self._is_over = newest_first(self._clips_dir), [], False
        self._go_on()

    def _go_on(self) -> None:
        """Read the next sidecars, unless the ledger does not take what was found: what waits for it is in memory."""
        if self._is_over or self._is_reading or self._outcomes.is_behind or not self._worker.has_room:
            return
        try:
            unknown = [path for path in self._batch if not self._ledger.has_clip(id_of(path))]
        except LedgerError as error:
            self._outcomes.unreadable(error)
            return
        self._batch = []
        self._is_reading = True
        self._worker.submit(partial(_read, unknown, self._left), partial(self._adopt, self._left))

    def _adopt(self, left: Iterator[Path], read: tuple[list[Found], list[Path]]) -> None:
        found, batch = read
        self._is_reading = False
        self._outcomes.found(found)
        if left is self._left:  # else it has begun anew meanwhile
            self._batch, self._is_over = batch, not batch
        self._go_on()


def newest_first(clips_dir: Path) -> Iterator[Path]:
    """The clips on disk, by the times in their names."""
    for day in sorted(clips_dir.glob("????-??-??"), reverse=True):
        yield from sorted(day.glob("*.mp4"), key=lambda path: TIME.findall(path.name), reverse=True)


def id_of(clip: Path) -> str:
    """The id in a clip's name."""
    return clip.stem.rpartition("_")[2]


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


def _read(unknown: list[Path], left: Iterator[Path]) -> tuple[list[Found], list[Path]]:
    """In the worker: those of the unknown clips that have a sidecar, and the clips to be looked up next."""
    found: list[Found] = []
    for path in unknown:
        try:
            sidecar = read_sidecar(path)
            order = order_of(sidecar)
            if order.clip_id != id_of(path):
                raise ValueError(f"it is that of {order.clip_id}")
            found.append((order, path, sidecar, size_of(path)))
        except (OSError, ValueError, KeyError, TypeError) as error:  # msgspec's errors are ValueErrors
            log.warning("%s has no readable sidecar (%s): the ledger does not know it", path, error)
    try:
        return found, list(islice(left, AT_ONCE))
    except OSError as error:
        log.warning("there may be clips that the ledger does not know: %s", error)
        return found, []

"""Drives the decision from a record: the same inputs, at the same times, to objects made the same way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from visualpath.core.fusion import BaseFusion
from visualpath.core.stream_fusion import StreamFusion
from visualpath.core.stream_types import Fused, Input, Outcome
from visualpath.process.decision import make_stream_fusion
from visualpath.process.record import Entry, Head, RecordReader, trig_body
from visualpath.runtime.sections import FusionConfig
from visualpath_protocol.clock import rfc3339
from visualpath_protocol.messages import Trig


@dataclass(frozen=True, slots=True)
class Step:
    """One input, and what came of it.

    Attributes:
        now_ns: when it was fed, monotonic ns.
    """

    now_ns: int
    stream: str
    message: Input
    outcomes: list[Outcome]


@dataclass(frozen=True, slots=True)
class Decided:
    """A TRIG and its bytes."""

    trig: Trig
    body: bytes


class Replay:
    """Feeds a record once more. It neither waits nor looks at a clock: how fast it runs, its user says.

    Args:
        paths: the files, in order.
        fusion: the section `fusion` of another configuration, to be tried in place of the record's.
        watch: may put itself between a stream and its decision.

    Attributes:
        recorded: the TRIGs in the record, so far.
        decided: the TRIGs decided here, so far.
        notes: why the two may differ: what the record lacks.
        whole: nothing is damaged, and nothing is missing in between, so far.
        head: of the present file.
    """

    def __init__(
        self,
        paths: Iterable[Path],
        fusion: FusionConfig | None = None,
        watch: Callable[[str, BaseFusion], BaseFusion] = lambda _stream, fusion: fusion,
    ) -> None:
        self.recorded: list[Decided] = []
        self.decided: list[Decided] = []
        self.notes: list[str] = []
        self.whole = True
        self.head: Head | None = None
        self._fusion = fusion
        self._watch = watch
        self._reader = RecordReader(paths)
        self._streams: dict[str, StreamFusion] = {}
        self._first_t_ns: dict[str, int] = {}
        """By stream: of the first frame fused, where the record began in the middle."""

    def steps(self) -> Iterator[Step]:
        """Each input and its outcomes.

        Raises:
            RecordError, PluginError, ConfigError: the record or its fusion plug-in cannot be used.
        """
        for said in self._reader:
            if isinstance(said, Head):
                if not said.carries_on(self.head):
                    yield from self._begin(said)
                self.head = said
            elif isinstance(said.message, Trig):
                self._compare(said, said.message)
            else:
                yield self._feed(said.stream, said.message, said.now_ns)
        self.notes += self._reader.damage
        self.whole = self.whole and not self._reader.damage

    def _begin(self, head: Head) -> Iterator[Step]:
        """Make all decisions anew; tell those that begin in the middle what was known then."""
        fusion = self._fusion or head.fusion_config()
        self._streams = {
            name: make_stream_fusion(fusion, name, stream.setup, dict(stream.firings), head.mono_ns)
            for name, stream in head.streams.items()
        }
        for name, made in self._streams.items():
            made.fusion = self._watch(name, made.fusion)
        self._first_t_ns.clear()
        self.whole = self.whole and self.head is None
        if self.head is not None or head.number:
            self.notes.append(_what_is_missing(self.head, head))
            self._first_t_ns = dict.fromkeys(self._streams, -1)
        for name, stream in head.streams.items():
            known: list[Input] = [stream.state] if stream.state is not None else []
            for message in [*known, *stream.sources]:
                yield self._feed(name, message, head.mono_ns)

    def _feed(self, stream: str, message: Input, now_ns: int) -> Step:
        outcomes = self._streams[stream].feed(message, now_ns)
        for outcome in outcomes:
            if isinstance(outcome, Trig) and (body := trig_body(outcome)) is not None:
                self.decided.append(Decided(outcome, body))
            elif isinstance(outcome, Fused) and self._first_t_ns.get(stream) == -1:
                self._first_t_ns[stream] = outcome.aligned.t_ns
        return Step(now_ns, stream, message, outcomes)

    def _compare(self, said: Entry, trig: Trig) -> None:
        """Take note of a recorded TRIG. One that began before the record cannot be found here: it is believed."""
        stream = self._streams[said.stream]
        if self._fusion is None and trig.t_start_ns < self._first_t_ns.get(said.stream, -1):
            stream.firings[trig.label] = trig.epoch, trig.t_end_ns
            stream.fusion.resume(trig.label, trig.t_end_ns)
            self.notes.append(f"{trig} began before the record: taken as it is")
        else:
            self.recorded.append(Decided(trig, said.body))


def _what_is_missing(before: Head | None, head: Head) -> str:
    where = rfc3339(head.wall_ns)
    if before is None:
        return f"the record begins in the middle of a run, at {where}: the first moments may differ"
    what = f"at least {head.lost} inputs before it are missing" if head.lost else "what came before it is not there"
    return f"the record goes on at {where}, and {what}: the moments after may differ"


@dataclass(frozen=True, slots=True)
class Difference:
    """How the TRIGs of two runs differ, by trig_id and revision.

    Attributes:
        same: to the byte.
        gone: only in the first.
        added: only in the second.
        changed: in both, but not the same: as the second has them.
    """

    same: list[Trig]
    gone: list[Trig]
    added: list[Trig]
    changed: list[Trig]

    @property
    def none(self) -> bool:
        """Whether there is no difference."""
        return not (self.gone or self.added or self.changed)


def compare(before: Sequence[Decided], after: Sequence[Decided]) -> Difference:
    """What changed from one run to another."""
    first, second = _by_id(before), _by_id(after)
    both = [(each, first[key]) for key, each in second.items() if key in first]
    return Difference(
        same=[new.trig for new, old in both if new.body == old.body],
        gone=[each.trig for key, each in first.items() if key not in second],
        added=[each.trig for key, each in second.items() if key not in first],
        changed=[new.trig for new, old in both if new.body != old.body],
    )


def _by_id(decided: Sequence[Decided]) -> dict[tuple[str, int, int], Decided]:
    """By id and revision, and by which of several it is: by hand one moment may be asked for twice."""
    seen: Counter[tuple[str, int]] = Counter()
    found = {}
    for each in decided:
        trig_id, revision = each.trig.trig_id, each.trig.revision
        found[trig_id, revision, seen[trig_id, revision]] = each
        seen[trig_id, revision] += 1
    return found

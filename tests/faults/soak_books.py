"""The sums of a soak: what each run of fusion counted beside what its record tells, and what explains a failed clip."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from audit import rows
from books import Books, enter
from soak_watch import Counted

from visualpath.process.record import Entry, RecordReader, runs_in
from visualpath.runtime.config import Config
from visualpath_protocol.messages import Bound, Obs, Skip

SLACK_NS = 2_000_000_000
"""A PING may tell of a loss before the next message shows it; and a kill costs the record its last 0.2 s."""
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Strike:
    """One fault that was played.

    Attributes:
        began_ns, back_ns: when it began, and when data had flowed through every link again.
        back_s: how long that took, from its end, or from a kill or the start of a restart.
        explains: words of the reasons for which a clip may fail by it.
    """

    number: int
    name: str
    began_ns: int
    back_ns: int
    back_s: float
    explains: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mark:
    """An epoch has just begun, and this is what this process of fusion had counted of silence until then."""

    pid: int
    epoch: int
    unreported: int


@dataclass
class Run:
    """What one run of fusion was told, in the order in which it was.

    Attributes:
        books: all of it but for what came too late to be spoken: after the next epoch had begun.
        lost: for each source, when a gap in its numbers showed, and how many messages were missing then in all.
        last: who spoke last for each source.
        began_ns, ended_ns: its first and its last message.
    """

    books: Books = field(default_factory=Books)
    lost: defaultdict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(lambda: [(0, 0)]))
    last: dict[str, Key] = field(default_factory=dict)
    began_ns: int = 0
    ended_ns: int = 0
    _next: dict[Key, int] = field(default_factory=dict)

    def enter(self, entry: Entry, sources: tuple[str, ...]) -> None:
        """Take the next message."""
        self.began_ns, self.ended_ns = self.began_ns or entry.now_ns, entry.now_ns
        message = entry.message
        if isinstance(message, (Obs, Skip, Bound)):
            if message.source not in sources:
                return
            self._follow(entry.now_ns, message)
        enter(self.books, entry, sources)

    def _follow(self, now_ns: int, message: Obs | Skip | Bound) -> None:
        key = self.last[message.source] = message.source, message.instance, message.stream
        expected = self._next.get(key, message.seq)
        if message.seq > expected:
            total = self.lost[message.source][-1][1]
            self.lost[message.source].append((now_ns, total + message.seq - expected))
        self._next[key] = max(expected, message.seq + 1)
        self.books.numbers[key].add(message.seq)

    def lost_by(self, source: str, when_ns: int) -> int:
        """How many messages of a source were missing at a moment."""
        gaps = self.lost[source]
        return gaps[bisect_right(gaps, when_ns, key=lambda gap: gap[0]) - 1][1]

    def total_lost(self) -> int:
        """How many messages were missing in the end."""
        return sum(gaps[-1][1] for gaps in self.lost.values())


def read_runs(config: Config, sources: tuple[str, ...]) -> tuple[list[Run], list[str]]:
    """Every run of fusion that has a record, the oldest first, and what of them cannot be read."""
    runs: list[Run] = []
    damage: list[str] = []
    for files in runs_in(config.record_dir).values():
        run = Run()
        begun = [path for path in files if path.stat().st_size]
        reader: Iterable[object] = RecordReader(begun) if begun else ()
        for said in reader:
            if isinstance(said, Entry):
                run.enter(said, sources)
        damage += getattr(reader, "damage", [])
        runs.append(run)
    return [run for run in runs if run.began_ns], damage


def compare_lost(run: Run, counted: Sequence[Counted]) -> tuple[int, list[str]]:
    """How often fusion said what it had lost while this run lasted, and where that is not what the record shows."""
    asked = [each for each in counted if run.began_ns <= each.asked_ns and each.answered_ns <= run.ended_ns - SLACK_NS]
    wrong = []
    for each in asked:
        for source, lost in each.lost.items():
            least, most = run.lost_by(source, each.asked_ns), run.lost_by(source, each.answered_ns + SLACK_NS)
            if source in run.lost and not least <= lost <= most:
                seen = f"{least}" if least == most else f"{least} to {most}"
                wrong.append(f"fusion counts {lost} messages of {source} as lost, its record shows {seen}")
    return len(asked), list(dict.fromkeys(wrong))


def compare_silence(runs: Sequence[Run], marks: Sequence[Mark], sources: tuple[str, ...]) -> tuple[int, int, list[str]]:
    """Frames that nothing was said of, as the records show and as counted, between the marks of each fusion."""
    seen = counted = 0
    wrong = []
    for pid in dict.fromkeys(mark.pid for mark in marks):
        own = [mark for mark in marks if mark.pid == pid]
        first, last = own[0], own[-1]
        epochs = range(first.epoch, last.epoch)
        run = next((run for run in runs if set(epochs) <= set(run.books.published)), None)
        if run is None:
            wrong.append(f"no record has all epochs from {first.epoch} on that the fusion with pid {pid} saw")
            continue
        shown, told = run.books.unreported(sources, epochs), last.unreported - first.unreported
        seen, counted = seen + shown, counted + told
        if shown != told:
            wrong.append(f"of {shown} frames of epochs {first.epoch} to {last.epoch} nothing was said, {told} counted")
    return seen, counted, wrong


def failed_clips(config: Config) -> list[tuple[str, str, int, int]]:
    """Of each: its id, why, and the event time that was asked for."""
    query = "SELECT clip_id, why, start_ns, end_ns FROM clips WHERE state = 'failed' ORDER BY start_ns"
    return [(str(clip_id), str(why), start, end) for clip_id, why, start, end in
            rows(config.state_dir / "clip/ledger.db", query)]  # fmt: skip


def explained_by(why: str, start_ns: int, end_ns: int, strikes: Iterable[Strike]) -> Strike | None:
    """The fault that explains why there is no clip of this span: one that met it, and that has such outcomes."""
    for strike in strikes:
        met = start_ns <= strike.back_ns + SLACK_NS and strike.began_ns - SLACK_NS <= end_ns
        if met and any(word in why for word in strike.explains):
            return strike
    return None

"""What fusion was told, from its record on disk: which messages never came, and which frames nobody spoke of.

The other side of fusion's own counters, and of the extractors': both must come to the same numbers.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from visualpath.process.record import Entry, RecordReader, runs_in
from visualpath.runtime.config import Config
from visualpath_protocol.messages import Bound, Obs, Skip, StreamState


@dataclass
class Books:
    """Everything that the record tells of the sources, over all runs of fusion.

    Attributes:
        numbers: the sequence numbers that came, by (source, instance, stream).
        spoken: the frames that a source has said OBS or SKIP of, by (source, epoch).
        published: the last frame that the stream itself told of, by epoch.
        damage: what of the record cannot be read.
        epoch: the stream's present one; what is said of an earlier one comes too late to count, here as in fusion.
    """

    numbers: defaultdict[tuple[str, str, str], set[int]] = field(default_factory=lambda: defaultdict(set))
    spoken: defaultdict[tuple[str, int], set[int]] = field(default_factory=lambda: defaultdict(set))
    published: dict[int, int] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    epoch: int = 0

    def lost_messages(self) -> int:
        """Numbers that are missing between the first and the last that came."""
        return sum(max(seqs) - min(seqs) + 1 - len(seqs) for seqs in self.numbers.values())

    def unreported(self, sources: tuple[str, ...], epochs: range) -> int:
        """Frames x sources of these epochs that nothing was said about."""
        silent = 0
        for epoch in epochs:
            frames = set(range(self.published.get(epoch, -1) + 1))
            silent += sum(len(frames - self.spoken[source, epoch]) for source in sources)
        return silent


def read_books(config: Config, sources: tuple[str, ...], until_ns: int) -> Books:
    """Read the record up to a moment (monotonic); what others than `sources` have said is left out."""
    books = Books()
    for files in runs_in(config.record_dir).values():
        begun = [path for path in files if path.stat().st_size]
        if not begun:
            continue  # a kill just after its start
        reader = RecordReader(begun)
        for said in reader:
            if isinstance(said, Entry) and said.now_ns <= until_ns:
                enter(books, said, sources)
        books.damage += reader.damage
    return books


def enter(books: Books, entry: Entry, sources: tuple[str, ...]) -> None:
    """Take the next message of the record."""
    message = entry.message
    if isinstance(message, StreamState):
        books.epoch = max(books.epoch, message.epoch)
        if message.last_frame_id is not None and message.epoch == books.epoch:
            before = books.published.get(message.epoch, -1)
            books.published[message.epoch] = max(before, message.last_frame_id)
    elif isinstance(message, (Obs, Skip, Bound)) and message.source in sources:
        books.numbers[message.source, message.instance, message.stream].add(message.seq)
        if message.epoch < books.epoch:
            return
        if isinstance(message, Obs):
            books.spoken[message.source, message.epoch].add(message.frame_id)
        elif isinstance(message, Skip):
            frames = range(message.first_frame_id, message.last_frame_id + 1)
            books.spoken[message.source, message.epoch].update(frames)

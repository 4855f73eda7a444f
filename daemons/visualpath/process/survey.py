"""What a record holds, without deciding anything; and where on its time lines a moment is that people name."""

from __future__ import annotations

import re
from bisect import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

from visualpath.core.align import Aligner, AlignParams, Drop
from visualpath.core.errors import RecordError
from visualpath.process.decision import align_params
from visualpath.process.record import Entry, Head, RecordReader
from visualpath_protocol.clock import NS_PER_S
from visualpath_protocol.messages import Obs, StreamState, Trig, seconds

SLACK_NS = NS_PER_S
"""So far outside of what was seen a moment may be: the frames near it are shown."""

_SECONDS = re.compile(r"(-?)([0-9]{1,10}(?:\.[0-9]+)?)s?")


class Seen(NamedTuple):
    """A frame that some source has seen.

    Attributes:
        mono_ns: when it was captured.
    """

    mono_ns: int
    epoch: int
    t_ns: int


class Moment(NamedTuple):
    """A point on a stream's time line."""

    epoch: int
    t_ns: int


@dataclass
class StreamSurvey:
    """One stream in a record.

    Attributes:
        seen: its frames, in rising order of epoch and event time, without those that no alignment takes.
    """

    params: AlignParams = field(default_factory=AlignParams)
    seen: list[Seen] = field(default_factory=list)
    inputs: int = 0
    trigs: int = 0

    def __post_init__(self) -> None:
        self._aligner = Aligner(self.params)

    def add(self, entry: Entry) -> None:
        """Take one message."""
        if isinstance(entry.message, Trig):
            self.trigs += 1
            return
        self.inputs += 1
        if isinstance(entry.message, StreamState):
            self.tell(entry.message, entry.now_ns)
        elif isinstance(entry.message, Obs):
            self._take(entry.message, entry.now_ns)

    def tell(self, state: StreamState, now_ns: int) -> None:
        """Take the frame daemon's word on the epoch."""
        self._aligner.epoch(state.epoch, now_ns)

    def _take(self, obs: Obs, now_ns: int) -> None:
        """One source may say anything; that it is of the stream's time line, the aligner decides, as it did then."""
        outputs = self._aligner.obs(obs.source, obs.frame_id, obs.t_ns, now_ns, epoch=obs.epoch)
        frame = Seen(obs.mono_ns, obs.epoch, obs.t_ns)
        if not any(isinstance(each, Drop) for each in outputs) and (not self.seen or frame[1:] > self.seen[-1][1:]):
            self.seen.append(frame)

    def spans(self) -> dict[int, tuple[int, int]]:
        """By epoch: event time of the first and of the last frame."""
        spans: dict[int, tuple[int, int]] = {}
        for _, epoch, t_ns in self.seen:
            spans[epoch] = spans.get(epoch, (t_ns, t_ns))[0], t_ns
        return spans


@dataclass
class Survey:
    """A whole record.

    Attributes:
        heads: of its files.
        first_ns, last_ns: when the first and the last input were fed, monotonic ns.
        missing: how often something is missing between two files.
    """

    heads: list[Head]
    streams: dict[str, StreamSurvey]
    first_ns: int
    last_ns: int
    missing: int
    damage: list[str]

    def wall_ns(self, mono_ns: int) -> int:
        """UTC at a monotonic time, by the clocks of the file that it lies in."""
        head = next((head for head in reversed(self.heads) if head.mono_ns <= mono_ns), self.heads[0])
        return head.wall_ns + mono_ns - head.mono_ns

    def mono_ns(self, wall_ns: int) -> int:
        """The monotonic time at a UTC time."""
        head = next((head for head in reversed(self.heads) if head.wall_ns <= wall_ns), self.heads[0])
        return head.mono_ns + wall_ns - head.wall_ns


def survey(paths: Iterable[Path]) -> Survey:
    """Read all of a record.

    Raises:
        RecordError: it cannot be read.
    """
    reader = RecordReader(paths)
    heads: list[Head] = []
    streams: dict[str, StreamSurvey] = {}
    stamps: list[int] = []
    missing = 0
    for said in reader:
        if isinstance(said, Head):
            missing += bool(heads) and not said.carries_on(heads[-1])
            heads.append(said)
            for name, stream in said.streams.items():
                if name not in streams:
                    streams[name] = StreamSurvey(align_params(said.fusion_config(), stream.setup.pace))
                if stream.state is not None:
                    streams[name].tell(stream.state, said.mono_ns)
        else:
            streams[said.stream].add(said)
            stamps = [*stamps[:1], said.now_ns]
    first_ns, last_ns = (stamps[0], stamps[-1]) if stamps else (heads[0].mono_ns, heads[-1].mono_ns)
    return Survey(heads, streams, first_ns, last_ns, missing, reader.damage)


def find(record: Survey, stream: str, at: str, epoch: int | None = None) -> Moment:
    """The moment that somebody names.

    Args:
        at: seconds of event time (`12.5`, `12.5s`), seconds before the end (`-5s`), or UTC (`14:03:05`, RFC 3339).
        epoch: which; default: the last one, or that of the UTC time.

    Raises:
        RecordError: the record does not reach so far, or knows no such stream, epoch or time.
    """
    if stream not in record.streams:
        raise RecordError(f"no stream {stream!r} in the record; there are {', '.join(record.streams)}")
    spans = record.streams[stream].spans()
    if not spans:
        raise RecordError(f"the record has no frame of {stream}: no source has reported any")
    if epoch is not None and epoch not in spans:
        raise RecordError(f"no epoch {epoch} of {stream} in the record; there are {', '.join(map(str, spans))}")
    if named := _SECONDS.fullmatch(at.strip()):
        chosen = max(spans) if epoch is None else epoch
        offset_ns = round(float(named[2]) * NS_PER_S)
        moment = Moment(chosen, spans[chosen][1] - offset_ns if named[1] else offset_ns)
    else:
        moment = _at_utc(record, record.streams[stream].seen, _utc_ns(at, record), epoch)
    return _within(stream, moment, spans)


def _at_utc(record: Survey, seen: Sequence[Seen], wall_ns: int, epoch: int | None) -> Moment:
    """By the frame that was captured last before it."""
    mono_ns = record.mono_ns(wall_ns)
    frames = sorted(frame for frame in seen if epoch in (None, frame.epoch))
    frame = frames[max(0, bisect(frames, mono_ns, key=lambda frame: frame.mono_ns) - 1)]
    return Moment(frame.epoch, frame.t_ns + mono_ns - frame.mono_ns)


def _utc_ns(at: str, record: Survey) -> int:
    end = datetime.fromtimestamp(record.wall_ns(record.last_ns) / NS_PER_S, tz=timezone.utc)
    try:
        of_day = time.fromisoformat(at)
        zone = of_day.tzinfo or timezone.utc
        named = datetime.combine(end.astimezone(zone).date(), of_day, tzinfo=zone)
        if named > end + timedelta(seconds=1):  # of the day before
            named -= timedelta(days=1)
    except ValueError:
        named = _rfc3339(at)
    return round(named.timestamp() * NS_PER_S)


def _rfc3339(at: str) -> datetime:
    try:
        named = datetime.fromisoformat(at.replace("Z", "+00:00"))
    except ValueError:
        raise RecordError(
            f"{at!r} is no time: write seconds of event time (12.5s), seconds before the end (-5s), or UTC "
            "(14:03:05, 2026-01-31T14:03:05Z)"
        ) from None
    return named if named.tzinfo is not None else named.replace(tzinfo=timezone.utc)


def _within(stream: str, moment: Moment, spans: dict[int, tuple[int, int]]) -> Moment:
    first_ns, last_ns = spans[moment.epoch]
    if first_ns - SLACK_NS <= moment.t_ns <= last_ns + SLACK_NS:
        return moment
    others = [f"epoch {epoch} has it (--epoch {epoch})" for epoch, (a, b) in spans.items() if a <= moment.t_ns <= b]
    where = "before the record" if moment.t_ns < first_ns else "after the end"
    raise RecordError(
        f"{seconds(moment.t_ns)} is {where}: of {stream}, epoch {moment.epoch}, it has {seconds(first_ns)} to "
        f"{seconds(last_ns)}{''.join(f'; {other}' for other in others)}"
    )

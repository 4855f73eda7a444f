"""Which frames of one stream each source has spoken about, so that its silence is counted too. Pure.

Every frame of an epoch, for every source that was there when it came or before, is one of two: the source has said
OBS or SKIP of it, or it has kept silent. That is certain when the frame is `HORIZON` frames old, or the epoch is over.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_EARLY = 256
"""Words of one source about an epoch that the stream has not announced yet."""

HORIZON = 4096
"""Frames after which nobody speaks of one any more; also how far ahead of the stream's own word a source may speak."""

Silence = list[tuple[str, int]]
"""Sources, and how many frames more each has kept silent about."""


@dataclass(slots=True)
class _Account:
    """One source: all its frames below `done` are dealt with; of the others it has spoken about those in `said`."""

    stride: int
    phase: int
    done: int = 0
    said: set[int] = field(default_factory=set)
    early: list[tuple[int, int, int]] = field(default_factory=list)

    def begin(self, frame_id: int) -> None:
        """The first frame that counts is the source's first from this one on."""
        self.done = self._own_from(frame_id)
        self.said.clear()

    def say(self, first: int, last: int) -> None:
        self.said.update(range(self._own_from(max(first, self.done)), last + 1, self.stride))
        while self.done in self.said:
            self.said.remove(self.done)
            self.done += self.stride

    def close(self, until: int) -> int:
        """Deal with all frames below `until`; returns how many of them nothing was said about."""
        if until <= self.done:
            return 0
        frames = -(-(until - self.done) // self.stride)
        spoken = {frame_id for frame_id in self.said if frame_id < until}
        self.said -= spoken
        self.done += frames * self.stride
        return frames - len(spoken)

    def _own_from(self, frame_id: int) -> int:
        return frame_id + (self.phase - frame_id) % self.stride


class FrameLedger:
    """Counts the silence of the sources of one stream, at most `max_sources` of them: the first that come."""

    def __init__(self, max_sources: int) -> None:
        self._max_sources = max_sources
        self._epoch = 0
        self._next = 0  # first frame of the epoch that is not published yet, as far as is known
        self._accounts: dict[str, _Account] = {}

    def join(self, source: str, stride: int, phase: int) -> None:
        """A source is there; one that was there before goes on where it was."""
        known = self._accounts.get(source)
        if known is None and len(self._accounts) >= self._max_sources:
            return
        if known is None or (known.stride, known.phase) != (stride, phase):
            account = self._accounts[source] = _Account(stride, phase)
            account.begin(self._next)

    def spoke(self, source: str, epoch: int, first: int, last: int) -> None:
        """A source has said OBS or SKIP of the frames from `first` to `last` that it looks at."""
        account = self._accounts.get(source)
        if account is None or epoch < self._epoch:
            return
        if epoch > self._epoch:  # the stream's own word comes by another way
            if len(account.early) < MAX_EARLY:
                account.early.append((epoch, first, last))
        elif last < self._next + HORIZON:
            account.say(first, last)

    def published(self, epoch: int, last_frame_id: int | None) -> Silence:
        """The stream's own word: its epoch, and how far it is."""
        silence: Silence = []
        if epoch < self._epoch:
            return silence
        upcoming = 0 if last_frame_id is None else last_frame_id + 1
        if epoch > self._epoch:
            silence = self.settle()
            first_word = self._epoch == 0
            self._epoch, self._next = epoch, upcoming
            for source, account in self._accounts.items():
                account.begin(upcoming if first_word else 0)
                early, account.early = account.early, []
                for said in early:
                    self.spoke(source, *said)
        self._next = max(self._next, upcoming)
        return silence + self._close(self._next - HORIZON)

    def settle(self) -> Silence:
        """Nothing more will be said of this epoch's frames."""
        return self._close(self._next)

    def _close(self, until: int) -> Silence:
        counted = [(source, account.close(until)) for source, account in self._accounts.items()]
        return [(source, frames) for source, frames in counted if frames]

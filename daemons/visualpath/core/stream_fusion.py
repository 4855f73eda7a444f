"""One stream's decision: messages in, aligned sets and triggers out. Pure; every way to run fusion drives this object.

The daemon, the replay of a record and the library all call `feed(message, now)`, and nothing else changes its
state. So the same inputs give the same outcomes, triggers to the byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import starmap
from typing import Any

import msgspec

from visualpath.core.align import Active, AlignedSet, Aligner, AlignParams, Idle, Output, Reset
from visualpath.core.errors import told
from visualpath.core.frame_ledger import FrameLedger
from visualpath.core.fusion import BaseFusion, Decision, FrameObservations, GateChange
from visualpath.core.observation import observations
from visualpath.core.stream_types import (
    ByHand,
    Doubt,
    Firings,
    Fused,
    FusionFailed,
    Input,
    Noted,
    Outcome,
    SourceDown,
    Tick,
    Unreported,
    WildBound,
)
from visualpath.core.trigger import Trigger
from visualpath_protocol.clock import NS_PER_S
from visualpath_protocol.codec import fit_text
from visualpath_protocol.messages import (
    COUNT_MAX,
    Bound,
    Evidence,
    Message,
    Obs,
    Ping,
    Skip,
    StreamState,
    Trig,
    make_trig_id,
)

MAX_SKIPPED_AT_ONCE = 256
"""Only the newest frames of a long skip matter: the aligner keeps no more."""

NOBODY: Mapping[str, tuple[int, int]] = {}


class StreamFusion:
    """Aligns and decides for one stream.

    Args:
        stream: its name.
        params: of the aligner.
        fusion: the decision, an object of this stream's own.
        firings: the last firing of each label, from before a restart; kept up to date.
        expected: configured sources, with stride and phase: one which never comes counts as missing.
        group_of: the name by which the decision knows a source: replicas of one extractor are one to it.
        now: monotonic ns.
    """

    def __init__(
        self,
        stream: str,
        params: AlignParams,
        fusion: BaseFusion,
        firings: Firings,
        expected: Mapping[str, tuple[int, int]] = NOBODY,
        group_of: Callable[[str], str] = str,
        now: int = 0,
    ) -> None:
        self.stream = stream
        self.state: StreamState | None = None
        self.frames_fused = 0
        self.epoch = 0
        self.fusion = fusion
        self.firings = firings
        self._aligner = Aligner(params)
        self._ledger = FrameLedger(params.max_sources)
        self._group_of = group_of
        self._presence: dict[str, str] = {}
        self._strides: dict[str, int] = {}
        self._max_sources = params.max_sources
        self._guard_ns = params.future_guard_ns
        self._now = now
        self._newest: tuple[int, int] | None = None  # event time of the newest frame known, and since when
        self._quiet_ns = params.window_ns + params.idle_timeout_ns
        self._close_at: int | None = None
        for source, (stride, phase) in expected.items():
            self._aligner.source_up(source, now, stride=stride, phase=phase)
            self._aligner.source_down(source, now)
        self._feeders: Mapping[type[Message], Callable[[Any, int], list[Outcome]]] = {
            Obs: self._obs,
            Skip: self._skip,
            Bound: self._bound,
            Tick: self._tick,
            Ping: self._source_up,
            SourceDown: self._source_down,
            StreamState: self._stream_state,
            ByHand: self._by_hand,
        }

    def feed(self, message: Input, now: int) -> list[Outcome]:
        """Take what has come, or let time pass; `now` is monotonic ns. Returns what came of it, in order."""
        self._now = now
        return self._feeders[type(message)](message, now)

    def next_deadline(self) -> int | None:
        """When a `Tick` has something to do, in monotonic ns; one before it does nothing."""
        due = self._aligner.next_deadline()
        if self._close_at is None:
            return due
        return self._close_at if due is None else min(due, self._close_at)

    @property
    def drained(self) -> bool:
        """The stream has ended and nothing of it waits here."""
        return self.state is not None and self.state.state == "ended" and self._close_at is None

    # Inputs.

    def _obs(self, obs: Obs, now: int) -> list[Outcome]:
        self._ledger.spoke(obs.source, obs.epoch, obs.frame_id, obs.frame_id)
        outputs = self._aligner.obs(obs.source, obs.frame_id, obs.t_ns, now, epoch=obs.epoch, payload=obs)
        outcomes = self._decide(outputs)
        if obs.bound_ns > obs.t_ns:  # from an ordered source an OBS implies as much
            outcomes += self._promise(obs.source, obs.bound_ns, obs.epoch, now)
        return outcomes

    def _skip(self, skip: Skip, now: int) -> list[Outcome]:
        """Both ends of the run, and every `stride`-th frame between them, are frames that the source looks at."""
        self._ledger.spoke(skip.source, skip.epoch, skip.first_frame_id, skip.last_frame_id)
        outcomes: list[Outcome] = []
        stride = self._strides.get(skip.source, 1)
        first = max(skip.first_frame_id, skip.last_frame_id - (MAX_SKIPPED_AT_ONCE - 1) * stride)
        for frame_id in range(first, skip.last_frame_id + 1, stride):
            t_ns = skip.t_ns if frame_id == skip.last_frame_id else skip.first_t_ns
            outcomes += self._decide(self._aligner.skip(skip.source, frame_id, t_ns, now, epoch=skip.epoch))
        return outcomes

    def _bound(self, bound: Bound, now: int) -> list[Outcome]:
        return self._promise(bound.source, bound.t_ns, bound.epoch, now)

    def _promise(self, source: str, t_ns: int, epoch: int, now: int) -> list[Outcome]:
        """The aligner believes every bound, and one wild one would settle all frames to come."""
        if self._newest is not None and epoch == self.epoch:
            newest_t_ns, since = self._newest
            if t_ns > newest_t_ns + (now - since) + self._guard_ns:
                return [WildBound(source, t_ns)]
        return self._decide(self._aligner.bound(source, t_ns, now, epoch=epoch))

    def _tick(self, _tick: Tick, now: int) -> list[Outcome]:
        outcomes = self._decide(self._aligner.tick(now))
        if self._close_at is not None and now >= self._close_at:
            self._close_at = None
            outcomes += self._decide(self._aligner.close(now))
            outcomes += starmap(Unreported, self._ledger.settle())
        return outcomes

    def _source_up(self, ping: Ping, now: int) -> list[Outcome]:
        if ping.source in self._strides or len(self._strides) < self._max_sources:
            self._presence[ping.source] = "up"
            self._strides[ping.source] = ping.stride
        self._ledger.join(ping.source, ping.stride, ping.phase)
        return self._decide(
            self._aligner.source_up(
                ping.source, now, expected=ping.expected, ordered=ping.ordered, stride=ping.stride, phase=ping.phase
            )
        )

    def _source_down(self, down: SourceDown, now: int) -> list[Outcome]:
        if down.source in self._strides:
            self._presence[down.source] = "down"
        return self._decide(self._aligner.source_down(down.source, now))

    def _stream_state(self, state: StreamState, now: int) -> list[Outcome]:
        """The frame daemon's is the trusted word on epochs and on the end."""
        ended_before = self.state is not None and self.state.state == "ended" and self.state.epoch == state.epoch
        self.state = state
        if state.state != "ended":
            self._close_at = None
        elif not ended_before:
            self._close_at = now + self._quiet_ns
        outcomes: list[Outcome] = []
        if state.epoch > self.epoch and state.fps:
            frame_ns = round(min(NS_PER_S / state.fps, COUNT_MAX))
            outcomes += self._guarded(lambda: map(Doubt, self.fusion.doubts(frame_ns)))
        outcomes += self._decide(self._aligner.epoch(state.epoch, now))
        outcomes += self._begin(state.epoch)
        outcomes += starmap(Unreported, self._ledger.published(state.epoch, state.last_frame_id))
        if state.last_t_ns is not None and state.epoch == self.epoch:
            self._saw(state.last_t_ns)
        return outcomes

    def _by_hand(self, asked: ByHand, _now: int) -> list[Outcome]:
        """No firing of a rule, whatever its label: no cooldown comes of it."""
        moment = Trigger(asked.label, asked.t_ns, asked.t_ns, asked.frame_id, reason=asked.reason)
        return [trig_of(self.stream, self.epoch, moment)]

    # What came of them.

    def _decide(self, outputs: list[Output]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for output in outputs:
            if isinstance(output, AlignedSet):
                outcomes += self._fuse(output)
                continue
            outcomes.append(output)
            if isinstance(output, Idle):
                self._presence[output.source] = "idle"
            elif isinstance(output, Active):
                self._presence[output.source] = "up"
            elif isinstance(output, Reset) and output.kind != "epoch":
                self._newest = None
                outcomes += self._restart_fusion()
        return outcomes

    def _fuse(self, aligned: AlignedSet) -> list[Outcome]:
        self.frames_fused += 1
        obs: list[Obs] = list(aligned.payloads.values())
        epoch = obs[0].epoch
        outcomes = self._begin(epoch)
        self._saw(aligned.t_ns)
        outcomes.append(Fused(epoch, aligned, {who: self._why_missing(who) for who in aligned.missing}))
        frame = self._frame(aligned, obs)
        outcomes += self._guarded(lambda: self._ask(frame, epoch), aligned.frame_id)
        return outcomes

    def _ask(self, frame: FrameObservations, epoch: int) -> Iterator[Outcome]:
        result = self.fusion.update(frame)
        for trigger in result.triggers:
            yield self._fire(trigger, epoch)
        for note in result.notes:
            if not isinstance(note, (GateChange, Decision)):
                raise TypeError(f"a note is a GateChange or a Decision, not a {type(note).__name__}")
            yield Noted(epoch, frame.frame_id, frame.t_ns, note)

    def _guarded(self, ask: Callable[[], Iterable[Outcome]], frame_id: int = -1) -> list[Outcome]:
        """A plug-in's failure costs what it was asked for, never the daemon; what it gave before counts."""
        outcomes: list[Outcome] = []
        try:
            for outcome in ask():
                outcomes.append(outcome)  # one by one: what came before a failure stays
        except Exception as error:
            outcomes.append(FusionFailed(frame_id, told(error)))
        return outcomes

    def _frame(self, aligned: AlignedSet, obs: list[Obs]) -> FrameObservations:
        """What the decision sees: sources by group. One replica's OBS stands for its group."""
        group_of = self._group_of
        reported = {group_of(each.source): observations(each, group_of(each.source)) for each in obs}
        missing = {group_of(source) for source in aligned.missing} - reported.keys()
        skipped = {group_of(source) for source in aligned.skipped} - reported.keys() - missing
        return FrameObservations(
            frame_id=aligned.frame_id,
            t_ns=aligned.t_ns,
            observations=reported,
            missing=tuple(sorted(missing)),
            skipped=tuple(sorted(skipped)),
        )

    def _why_missing(self, source: str) -> str:
        presence = self._presence.get(source, "down")
        return "slow" if presence == "up" else presence

    def _saw(self, t_ns: int) -> None:
        if self._newest is None or t_ns > self._newest[0]:
            self._newest = t_ns, self._now

    def _begin(self, epoch: int) -> list[Outcome]:
        if epoch <= self.epoch:
            return []
        self.epoch = epoch
        self._newest = None
        return self._restart_fusion()

    def _restart_fusion(self) -> list[Outcome]:
        """Nothing that was seen before counts any more, but cooldowns of this epoch do."""

        def restart() -> Iterable[Outcome]:
            self.fusion.reset()
            for label, (fired_epoch, t_end_ns) in self.firings.items():
                if fired_epoch == self.epoch:
                    self.fusion.resume(label, t_end_ns)
            return ()

        return self._guarded(restart)

    def _fire(self, trigger: Trigger, epoch: int) -> Trig:
        """What a plug-in says may have no form on the wire: that is refused later, and here not remembered."""
        trig = trig_of(self.stream, epoch, trigger)
        if _is_sound(trig):
            self.firings[trig.label] = epoch, trig.t_end_ns
        return trig


def _is_sound(trig: Trig) -> bool:
    try:
        msgspec.convert(msgspec.to_builtins(trig, enc_hook=lambda _: None), Trig)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return False
    return True


def trig_of(stream: str, epoch: int, trigger: Trigger) -> Trig:
    """What goes to the clip daemon of a trigger; one that a plug-in made wrong may have no form on the wire."""
    return Trig(
        trig_id=make_trig_id(stream, epoch, trigger.label, trigger.t_start_ns),
        stream=stream,
        epoch=epoch,
        label=trigger.label,
        reason=fit_text(trigger.reason),
        score=trigger.score,
        frame_id=trigger.frame_id,
        t_start_ns=trigger.t_start_ns,
        t_end_ns=trigger.t_end_ns,
        evidence=[
            Evidence(source=e.source, frame_id=e.frame_id, signal=e.signal, value=e.value) for e in trigger.evidence
        ],
        metadata=trigger.metadata,
    )

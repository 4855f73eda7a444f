"""One stream in fusion: its aligner, its decision, its epoch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from visualpath.core.align import Active, AlignedSet, Aligner, AlignParams, Drop, Idle, Late, Output, Reset
from visualpath.core.fusion import BaseFusion, FrameObservations
from visualpath.core.observation import Observation
from visualpath.core.trigger import Trigger
from visualpath.fusion.events import about_set
from visualpath.runtime.refusals import Refusals
from visualpath_protocol.clock import NS_PER_S
from visualpath_protocol.messages import (
    TEXT_MAX,
    Bound,
    Evidence,
    Obs,
    Ping,
    Skip,
    StreamState,
    Trig,
    make_trig_id,
    seconds,
)

log = logging.getLogger(__name__)

MAX_SKIPPED_AT_ONCE = 256
"""Only the newest frames of a long skip matter: the aligner keeps no more."""

Firings = dict[str, tuple[int, int]]
"""By label: epoch and t_end_ns of the last firing."""


class StreamFusion:
    """Aligns and decides for one stream; returns the triggers of each step.

    Args:
        stream: its name.
        params: of the aligner.
        fusion: the decision, an object of this stream's own.
        firings: the last firing of each label, from before a restart; kept up to date.
        refusals: of the daemon, with its counters.
        tell: takes the kind of an event and what makes its body: sets, and sources going idle and active.
    """

    def __init__(
        self,
        stream: str,
        params: AlignParams,
        fusion: BaseFusion,
        firings: Firings,
        refusals: Refusals,
        tell: Callable[[str, Callable[[], dict[str, Any]]], None],
    ) -> None:
        self.stream = stream
        self.state: StreamState | None = None
        self.frames_fused = 0
        self._aligner = Aligner(params)
        self._fusion = fusion
        self._firings = firings
        self._refusals = refusals
        self._counters = refusals.counters
        self._tell = tell
        self._epoch = 0
        self._quiet_ns = params.window_ns + params.idle_timeout_ns
        self._close_at: int | None = None

    def expect(self, sources: Iterable[str], now: int) -> None:
        """Name the configured sources, so that one which never comes counts as missing."""
        for source in sources:
            self._aligner.source_up(source, now)
            self._aligner.source_down(source, now)

    def source_up(self, ping: Ping, now: int) -> list[Trig]:
        """A source takes part."""
        return self._decide(
            self._aligner.source_up(
                ping.source, now, expected=ping.expected, ordered=ping.ordered, stride=ping.stride, phase=ping.phase
            )
        )

    def source_down(self, source: str, now: int) -> list[Trig]:
        """A source no longer takes part."""
        return self._decide(self._aligner.source_down(source, now))

    def stream_state(self, state: StreamState, now: int) -> list[Trig]:
        """The frame daemon says how the stream is: the trusted word on epochs and on the end."""
        ended_before = self.state is not None and self.state.state == "ended" and self.state.epoch == state.epoch
        self.state = state
        if state.state != "ended":
            self._close_at = None
        elif not ended_before:
            self._close_at = now + self._quiet_ns
        return self._enter(state, now)

    def obs(self, obs: Obs, now: int) -> list[Trig]:
        """One source's observations of one frame."""
        outputs = self._aligner.obs(obs.source, obs.frame_id, obs.t_ns, now, epoch=obs.epoch, payload=obs)
        if obs.bound_ns > obs.t_ns:  # from an ordered source an OBS implies as much
            outputs += self._aligner.bound(obs.source, obs.bound_ns, now, epoch=obs.epoch)
        return self._decide(outputs)

    def skip(self, skip: Skip, now: int) -> list[Trig]:
        """Frames that a source will not report."""
        triggers: list[Trig] = []
        first = max(skip.first_frame_id, skip.last_frame_id - MAX_SKIPPED_AT_ONCE + 1)
        for frame_id in range(first, skip.last_frame_id + 1):
            t_ns = skip.t_ns if frame_id == skip.last_frame_id else skip.first_t_ns
            triggers += self._decide(self._aligner.skip(skip.source, frame_id, t_ns, now, epoch=skip.epoch))
        return triggers

    def bound(self, bound: Bound, now: int) -> list[Trig]:
        """A source promises to say nothing about earlier frames."""
        return self._decide(self._aligner.bound(bound.source, bound.t_ns, now, epoch=bound.epoch))

    def tick(self, now: int) -> list[Trig]:
        """Let time pass."""
        triggers = self._decide(self._aligner.tick(now))
        if self._close_at is not None and now >= self._close_at:
            self._close_at = None
            triggers += self._decide(self._aligner.close(now))
        return triggers

    def next_deadline(self) -> int | None:
        """When `tick` has something to do."""
        return min(
            (due for due in (self._aligner.next_deadline(), self._close_at) if due is not None),
            default=None,
        )

    @property
    def drained(self) -> bool:
        """The stream has ended and nothing of it waits here."""
        return self.state is not None and self.state.state == "ended" and self._close_at is None

    def manual(self, label: str, t_ns: int, frame_id: int, reason: str) -> Trig:
        """A trigger that a person asks for."""
        moment = Trigger(label=label, t_start_ns=t_ns, t_end_ns=t_ns, frame_id=frame_id, reason=reason)
        return self._trig(moment, self._epoch)

    def _enter(self, state: StreamState, now: int) -> list[Trig]:
        if state.epoch > self._epoch and state.fps:
            for doubt in self._fusion.doubts(round(NS_PER_S / state.fps)):
                log.warning("stream %s: %s", self.stream, doubt)
        triggers = self._decide(self._aligner.epoch(state.epoch, now))
        self._begin(state.epoch)
        return triggers

    def _begin(self, epoch: int) -> None:
        if epoch > self._epoch:
            self._epoch = epoch
            self._restart_fusion()

    def _restart_fusion(self) -> None:
        """Nothing that was seen before counts any more, but cooldowns of this epoch do."""
        self._fusion.reset()
        for label, (fired_epoch, t_end_ns) in self._firings.items():
            if fired_epoch == self._epoch:
                self._fusion.resume(label, t_end_ns)

    def _decide(self, outputs: list[Output]) -> list[Trig]:
        triggers: list[Trig] = []
        for output in outputs:
            if isinstance(output, AlignedSet):
                triggers += self._fuse(output)
            elif isinstance(output, Late):
                self._counters["late"] += 1
            elif isinstance(output, Drop):
                detail = f"{output.source} on {self.stream} #{output.frame_id} {seconds(output.t_ns)}"
                self._refusals.add(f"dropped.{output.reason}", detail)
            elif isinstance(output, (Idle, Active)):
                self._changed(output.source, "idle" if isinstance(output, Idle) else "active")
            elif isinstance(output, Reset):
                self._counters[f"resets.{output.kind}"] += 1
                if output.kind != "epoch":
                    log.warning("stream %s: time jumped (%s)", self.stream, output.kind)
                    self._restart_fusion()
        return triggers

    def _changed(self, source: str, state: str) -> None:
        log.info("stream %s: source %s is %s", self.stream, source, state)
        self._tell("state", lambda: {"stream": self.stream, "source": source, "state": state})

    def _fuse(self, aligned: AlignedSet) -> list[Trig]:
        self._counters["sets"] += 1
        self._counters[f"sets.{aligned.reason}"] += 1
        for source in aligned.missing:
            self._counters[f"missing.{source}"] += 1
        self.frames_fused += 1
        obs: list[Obs] = list(aligned.payloads.values())
        epoch = obs[0].epoch
        self._begin(epoch)
        self._tell("set", partial(about_set, self.stream, epoch, aligned))
        frame = FrameObservations(
            frame_id=aligned.frame_id,
            t_ns=aligned.t_ns,
            observations={each.source: _observations(each) for each in obs},
            missing=tuple(aligned.missing),
            skipped=tuple(aligned.skipped),
        )
        try:
            return [self._trig(trigger, epoch) for trigger in self._fusion.update(frame).triggers]
        except Exception as error:  # a plug-in's failure costs this frame's decision, never the daemon
            detail = f"{self.stream} #{frame.frame_id}: {type(error).__name__}: {error}"
            self._refusals.add("failed.fusion", detail)
            return []

    def _trig(self, trigger: Trigger, epoch: int) -> Trig:
        self._firings[trigger.label] = epoch, trigger.t_end_ns
        return Trig(
            trig_id=make_trig_id(self.stream, epoch, trigger.label, trigger.t_start_ns),
            stream=self.stream,
            epoch=epoch,
            label=trigger.label,
            reason=trigger.reason[:TEXT_MAX],
            score=trigger.score,
            frame_id=trigger.frame_id,
            t_start_ns=trigger.t_start_ns,
            t_end_ns=trigger.t_end_ns,
            evidence=[
                Evidence(source=e.source, frame_id=e.frame_id, signal=e.signal, value=e.value) for e in trigger.evidence
            ],
            metadata=trigger.metadata,
        )


def _observations(obs: Obs) -> list[Observation[Any]]:
    return [
        Observation(
            source=obs.source,
            frame_id=obs.frame_id,
            t_ns=obs.t_ns,
            signals=body.signals,
            data=body.data,
            metadata=body.metadata,
            timing=obs.timing,
        )
        for body in obs.observations
    ]

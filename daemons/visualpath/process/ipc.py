"""Fusion in this process: the aligner and the decision of the daemon, without sockets."""

from __future__ import annotations

from typing import Any

from visualpath.core.fusion import BaseFusion, FrameObservations, FusionResult
from visualpath.core.observation import Observation
from visualpath.core.stream_fusion import StreamFusion
from visualpath.core.stream_types import Input, Outcome, SourceDown, Tick
from visualpath.core.units import Duration
from visualpath.process.decision import align_params
from visualpath.runtime.sections import FusionConfig
from visualpath_protocol.messages import Obs, ObservationBody, Ping, StreamState

ALIGNMENT_WINDOW_NS = 100_000_000

INSTANCE = "in-process"


class FusionProcess:
    """Aligns and decides for one stream.

    Each method returns what came of the call, in order: aligned sets as `Fused`, triggers as `Trig`, and whatever
    `visualpath.core.stream_types` names besides. `now_ns` is monotonic ns.

    Args:
        alignment_window_ns: how long a frame waits for its observations.
        late_arrival_threshold: up to window x this an observation is still surfaced, as `Late`.
        fusion: the decision; None: there are sets and no triggers.
        stream: its name.
    """

    def __init__(
        self,
        alignment_window_ns: int = ALIGNMENT_WINDOW_NS,
        late_arrival_threshold: float = 1.5,
        fusion: BaseFusion | None = None,
        stream: str = "default",
    ) -> None:
        if alignment_window_ns <= 0:
            raise ValueError(f"alignment_window_ns is {alignment_window_ns}; give at least 1")
        config = FusionConfig(window_ns=Duration(alignment_window_ns), late_arrival_threshold=late_arrival_threshold)
        self._stream = StreamFusion(stream, align_params(config, "realtime"), fusion or NoDecision(), {})

    def source_up(self, source: str, now_ns: int) -> list[Outcome]:
        """From now on frames wait for this source."""
        ping = Ping(source=source, instance=INSTANCE, streams=[self._stream.stream], state="ready")
        return self.add(ping, now_ns)

    def source_down(self, source: str, now_ns: int) -> list[Outcome]:
        """Nothing waits for this source any more."""
        return self.add(SourceDown(source=source), now_ns)

    def add(self, said: Observation[Any] | Input, now_ns: int) -> list[Outcome]:
        """Take an observation, or any message that a source or the frame daemon might send."""
        return self._stream.feed(self._obs(said) if isinstance(said, Observation) else said, now_ns)

    def tick(self, now_ns: int) -> list[Outcome]:
        """Let time pass. Needed at `next_deadline`, harmless before."""
        return self.add(Tick(), now_ns)

    def next_deadline(self) -> int | None:
        """When `tick` has something to do, in monotonic ns."""
        return self._stream.next_deadline()

    def close(self, now_ns: int) -> list[Outcome]:
        """The stream has ended: let everything that waits leave."""
        ended = StreamState(stream=self._stream.stream, epoch=self._stream.epoch, state="ended")
        outcomes = self.add(ended, now_ns)
        while (due := self.next_deadline()) is not None:
            outcomes += self.tick(due)
        return outcomes

    def _obs(self, observation: Observation[Any]) -> Obs:
        return Obs(
            source=observation.source,
            instance=INSTANCE,
            seq=0,
            stream=self._stream.stream,
            epoch=self._stream.epoch,
            frame_id=observation.frame_id,
            t_ns=observation.t_ns,
            mono_ns=0,
            observations=[
                ObservationBody(signals=observation.signals, data=observation.data, metadata=observation.metadata)
            ],
            bound_ns=observation.t_ns,
            timing=observation.timing or {},
        )


class NoDecision(BaseFusion):
    """Finds no moments."""

    def update(self, frame: FrameObservations) -> FusionResult:
        return FusionResult()

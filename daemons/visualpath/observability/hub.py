"""The hub: takes records, keeps those of its level, hands them to its sinks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import ClassVar

from visualpath.observability.records import Stamped, TraceLevel, TraceRecord
from visualpath.observability.sinks import Sink
from visualpath.observability.troubles import LoggedTroubles, Troubles


class ObservabilityHub:
    """Traces one process. `emit` may be called from any thread; it neither waits nor raises.

    A record that costs something to make is made only if it is wanted:

        if hub.enabled(TimingRecord.level):
            hub.emit(TimingRecord(frame_id=7, component="face", processing_ms=42.0))

    Args:
        level: how much is kept.
        sinks: where it goes.
        daemon: the name that all records get.
        refusals: where failing sinks are told.

    Attributes:
        level: how much is kept at present; `configure` changes it.
    """

    _shared: ClassVar[ObservabilityHub | None] = None
    _shared_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(
        self,
        level: TraceLevel = TraceLevel.OFF,
        sinks: Iterable[Sink] = (),
        *,
        daemon: str = "",
        refusals: Troubles | None = None,
    ) -> None:
        self.level = level
        self._sinks = tuple(sinks)
        self._daemon = daemon
        self._refusals = refusals if refusals is not None else LoggedTroubles()

    @classmethod
    def get_instance(cls) -> ObservabilityHub:
        """The hub that all users in this process share; OFF and without sinks until it is configured."""
        with cls._shared_lock:
            if ObservabilityHub._shared is None:
                ObservabilityHub._shared = cls()
            return ObservabilityHub._shared

    def configure(self, *, level: TraceLevel | None = None, sinks: Iterable[Sink] | None = None) -> None:
        """Change the level, or replace the sinks: those that go are closed."""
        if sinks is not None:
            before, self._sinks = self._sinks, tuple(sinks)
            for sink in before:
                if sink not in self._sinks:
                    self._close(sink)
        if level is not None:
            self.level = level

    def add_sink(self, sink: Sink) -> None:
        """Hand records to this sink too."""
        self._sinks = (*self._sinks, sink)

    def enabled(self, level: TraceLevel) -> bool:
        """Whether records of this level are kept."""
        return level <= self.level

    def emit(self, record: TraceRecord) -> None:
        """Keep a record if its level is enabled. It must not be changed any more."""
        if record.level > self.level or not self._sinks:
            return
        stamped = Stamped(record, time.monotonic_ns(), time.time_ns(), self._daemon)
        for sink in self._sinks:
            try:
                sink.write(stamped)
            except Exception as error:  # whatever a sink does, who is traced goes on
                self._refusals.add("failed.trace", f"{type(sink).__name__}: {type(error).__name__}: {error}")

    def close(self) -> None:
        """Keep nothing any more, and close all sinks: what they have not written yet is written first."""
        self.configure(level=TraceLevel.OFF, sinks=())

    def _close(self, sink: Sink) -> None:
        try:
            sink.close()
        except Exception as error:  # as in emit
            self._refusals.add("failed.trace", f"{type(sink).__name__}: {type(error).__name__}: {error}")

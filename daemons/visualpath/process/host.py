"""The one host of extractors: open, handle(frame, seen), close.

Every way to run an extractor (daemon, worker, library) drives this object. One extractor object per
stream; models are loaded once and shared.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from visualbase.frame import Frame
from visualpath.core.errors import ExtractionError, PluginConfigError, PluginError, told
from visualpath.core.extractor import BaseExtractor, Extracted
from visualpath.core.observation import Observation
from visualpath.plugin.backends import choose
from visualpath.process.backend_state import Change, Shown
from visualpath.process.backends import Backends
from visualpath.process.mailbox import Seen
from visualpath.process.view import View

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Handled:
    """What came of one frame."""

    observations: list[Observation[Any]]
    extract_ms: float


class ExtractorHost:
    """Holds one extractor class, its models, and an object per stream.

    Args:
        extractor: the plug-in's class.
        source: the name its observations carry.
        config: the plug-in's configuration.
        on_change: told when another of its backends comes into use, or one cannot.
        redact: takes secrets of the configuration out of what an error says.
    """

    def __init__(
        self,
        extractor: type[BaseExtractor],
        source: str,
        config: Mapping[str, Any],
        on_change: Callable[[Change], None] = lambda _: None,
        redact: Callable[[str], str] = str,
    ) -> None:
        self.extractor = extractor
        self.source = source
        self._config = config
        self._on_change = on_change
        self._redact = redact
        self._view = View(extractor.input_width, extractor.pixel_format)
        self._backends: Backends | None = None
        self._spare: BaseExtractor | None = None
        self._by_stream: dict[str, BaseExtractor] = {}
        self._epochs: dict[str, int] = {}

    @property
    def view(self) -> View:
        """How it wants its pictures, whichever of its backends is in use."""
        return self._view

    @property
    def backends(self) -> Shown | None:
        """How its backends stand, for any thread; None: its class has none, or they are not known yet."""
        return self._backends.shown if self._backends is not None and self.extractor.backends else None

    def open(self, first: BaseExtractor | None = None) -> None:
        """Load the models and try the configuration.

        Args:
            first: the object for the first stream; None: it is made.

        Raises:
            PluginError: with the plug-in's own reason.
        """
        try:
            choice = choose(self.extractor, self._config)
            self._config = choice.config
            self._view = View(choice.input_width, choice.pixel_format)
            self._backends = Backends(self.source, choice, self._on_change, redact=self._redact)
            self._backends.open()
            self._spare = self._make(first)
        except (PluginError, PluginConfigError) as error:
            raise PluginError(f"extractor {self.source!r} cannot start: {error}") from error.__cause__
        except Exception as error:
            raise PluginError(f"extractor {self.source!r} cannot start: {told(error)}") from error

    def handle(self, frame: Frame, seen: Seen | None = None) -> Handled:
        """Let the extractor look at one frame.

        Args:
            seen: what the extractors that it depends on saw on this frame; given to one that depends on some.

        Raises:
            ExtractionError: the extractor, or what it returned, raised; or it returned what cannot go on.
        """
        backends = self._opened()
        if backends.step_up():
            self._hand_out(backends.models)
        while True:
            try:
                handled = self._look(frame, seen)
            except Exception as error:
                if not backends.failed(error):
                    raise ExtractionError(self._redact(told(error))) from error
                self._hand_out(backends.models)
            else:
                backends.worked()
                for observation in handled.observations:
                    observation.metadata |= backends.mark
                return handled

    def _look(self, frame: Frame, seen: Seen | None) -> Handled:
        started = time.perf_counter_ns()
        extract: Callable[..., Extracted] = self._of_stream(frame).extract
        extracted = extract(frame, seen or {}) if self.extractor.depends else extract(frame)
        extract_ms = (time.perf_counter_ns() - started) / 1e6
        several = extracted if isinstance(extracted, (list, tuple)) else [] if extracted is None else [extracted]
        return Handled([self._complete(observation, frame) for observation in several], extract_ms)

    def close(self) -> None:
        """Close all extractor objects, then the shared models."""
        closes = [extractor.close for extractor in (self._spare, *self._by_stream.values()) if extractor is not None]
        self._spare = None
        self._by_stream.clear()
        for close in closes:
            try:
                close()
            except Exception:
                log.exception("extractor %r cannot be closed", self.source)
        if self._backends is not None:
            self._backends.close()

    def _opened(self) -> Backends:
        assert self._backends is not None, "open() comes first"
        return self._backends

    def _hand_out(self, models: Any) -> None:
        """Other models for all objects, which keep what they remember."""
        for extractor in (self._spare, *self._by_stream.values()):
            if extractor is not None:
                extractor.models = models

    def _make(self, made: BaseExtractor | None = None) -> BaseExtractor:
        extractor = made or self.extractor(self._config)
        extractor.models = self._opened().models
        return extractor

    def _of_stream(self, frame: Frame) -> BaseExtractor:
        """The stream's object: the one that `open` made goes to the first stream; reset at a new epoch."""
        extractor = self._by_stream.get(frame.stream)
        if extractor is None:
            extractor, self._spare = self._spare or self._make(), None
            self._by_stream[frame.stream] = extractor
        elif self._epochs[frame.stream] != frame.epoch:
            extractor.reset()
        self._epochs[frame.stream] = frame.epoch
        return extractor

    def _complete(self, observation: Observation[Any], frame: Frame) -> Observation[Any]:
        if not isinstance(observation, Observation):
            raise ExtractionError(f"extract() returned {type(observation).__name__}, not Observation")
        try:
            signals = {name: float(value) for name, value in observation.signals.items()}
        except Exception as error:
            raise ExtractionError(f"signals must be numbers by name: {told(error)}") from error
        _check_names("signals must be numbers", signals)
        for name, value in signals.items():
            if not math.isfinite(value):
                raise ExtractionError(f"signal {name!r} is {value}; signals must be finite")
        if not isinstance(observation.metadata, Mapping):
            raise ExtractionError(f"metadata must be values by name, not {type(observation.metadata).__name__}")
        _check_names("metadata must be values", observation.metadata)
        # Another object: an extractor may return the same one for several frames.
        return Observation(
            source=self.source,
            frame_id=frame.frame_id,
            t_ns=frame.t_ns,
            signals=signals,
            data=observation.data,
            metadata=dict(observation.metadata),
            timing=observation.timing,
        )


def _check_names(what: str, names: Iterable[object]) -> None:
    for name in names:
        if not isinstance(name, str):
            raise ExtractionError(f"{what} by name, not by {type(name).__name__}")

"""The backends of one extractor: loaded, changed when one fails, and loaded again in the background when it is time.

When that is, `core.ladder` says. All belongs to the thread of `extract`, but for the loading in the background and for
`shown`, which any thread may read.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from visualpath.core.errors import DeviceUnavailable, ModelMissingError, PluginError, told
from visualpath.core.ladder import Cause, Ladder, Move
from visualpath.plugin.backends import Choice
from visualpath.process.backend_state import Change, Shown, State
from visualpath.process.background_load import BackgroundLoad
from visualpath_protocol.clock import mono_ns, wall_ns

log = logging.getLogger(__name__)

REASON_MAX = 300
"""Characters of a reason, which stands in one line."""
MARK_MAX = 120
"""Characters of a reason in the metadata of each observation."""
END_PATIENCE_S = 1.5
"""How long `close` waits for a load in the background; below the daemons' patience with a stop."""

CAUSES: dict[type[Exception], Cause] = {ModelMissingError: "missing", DeviceUnavailable: "device"}


class Backends:
    """What `models` of an extractor's objects is at present.

    Args:
        source: the extractor's name.
        choice: what may be loaded; of a class without backends nothing is counted, changed or loaded again.
        on_change: told of each change, in the thread of `extract`.
        clock: monotonic, in ns.
        redact: takes secrets out of a reason.

    Attributes:
        shown: how they stand.
        mark: what goes into the metadata of each observation: `backend`, and `degraded` with the reason.
    """

    def __init__(
        self,
        source: str,
        choice: Choice,
        on_change: Callable[[Change], None] = lambda _: None,
        clock: Callable[[], int] = mono_ns,
        redact: Callable[[str], str] = str,
    ) -> None:
        self.shown = Shown(names=tuple(choice.loaders))
        self.mark: dict[str, str] = {}
        self._source = source
        self._loaders = list(choice.loaders.values())
        self._named = "" not in choice.loaders
        self._probation = choice.patience.probation
        self._ladder = Ladder(self.shown.names, choice.patience)
        self._on_change = on_change
        self._clock = clock
        self._redact = redact
        self._loaded: dict[int, Any] = {}
        self._background: BackgroundLoad | None = None

    @property
    def models(self) -> Any:
        """Of the backend in use."""
        return self._loaded[self._current]

    @property
    def _current(self) -> int:
        assert self._ladder.current is not None
        return self._ladder.current

    def open(self) -> None:
        """Load the best that can be loaded.

        Raises:
            PluginError: none can; the message has the reason of each.
        """
        errors: list[Exception] = []
        if self._step(errors):
            return
        cause = next((error for error in errors if not isinstance(error, ModelMissingError)), None)
        if not self._named:
            raise PluginError(told(errors[0])) from cause
        raise PluginError(f"no backend can be loaded: {self._reason()}") from cause

    def step_up(self) -> bool:
        """Between two frames: go on with what is loaded in the background; returns whether `models` has changed."""
        if self._background is None:
            index = self._ladder.due(self._clock())
            if index is not None:
                self._background = BackgroundLoad(index, self._loaders[index])
                self._show()
            return False
        if not self._background.future.done():
            return False
        index, future, self._background = self._background.index, self._background.future, None
        try:
            models = future.result()
        except Exception as error:
            self._refuse(index, error)
            return False
        if not (self._ladder.failed or index < self._current):  # what failed works again meanwhile
            self._close([models])
            self._show()
            return False
        self._take(index, models)
        return True

    def worked(self) -> None:
        """A frame was looked at."""
        if not self._named:
            return
        on_probation = self._ladder.probation
        if self._ladder.worked(self._clock()) is not None:
            self._tell("recovered.frame", f"works again on {self._name()}")
        elif on_probation == 1:
            log.info("extractor %r: %s is no longer on probation", self._source, self._name())
            self._let_go()
            self._show()

    def failed(self, error: Exception) -> bool:
        """A frame was not looked at; returns whether `models` has changed by that: try the frame again."""
        if not self._named or not self._ladder.erred(_line(error), self._clock()):
            return False
        cause = self._ladder.rungs[self._current].cause
        if self._step([]):
            return True
        self._tell(f"failed.{cause}", "has no backend left that works")
        return False

    def close(self) -> None:
        """Close all that is loaded, and what is being loaded as soon as it is; wait some time for that."""
        self._close(self._loaded.values())
        self._loaded.clear()
        if self._background is not None:
            self._background.future.add_done_callback(self._close_late)
            self._background.wait(END_PATIENCE_S)

    def _step(self, errors: list[Exception]) -> bool:
        """Take the first candidate that can be loaded, if there is one; why the others cannot goes into `errors`."""
        for index in self._ladder.candidates(self._clock()):
            try:
                models = self._loaded[index] if index in self._loaded else self._load(index)
            except Exception as error:
                self._refuse(index, error)
                errors.append(error)
            else:
                self._take(index, models)
                return True
        return False

    def _load(self, index: int) -> Any:
        self._show(loading=self.shown.names[index], blocks_ns=self._clock())
        try:
            if self._background is None or self._background.index != index:
                return self._loaders[index]()
            background, self._background = self._background, None
            return background.future.result()
        finally:
            self._show(loaded_ns=self._clock())

    def _refuse(self, index: int, error: Exception) -> None:
        cause: Cause = next((cause for kind, cause in CAUSES.items() if isinstance(error, kind)), "load")
        self._ladder.refuse(index, cause, _line(error), self._clock())
        rung = self._ladder.rungs[index]
        if not self._named:
            return
        if self._ladder.current is not None:  # at the start one line says it of all
            told_why = f"{rung.why}; tried again in {rung.wait_ns / 1e9:g} s"
            log.warning("extractor %r: %s cannot be loaded: %s", self._source, rung.name, told_why)
        self._show()
        self._on_change(Change(f"refused.{cause}", "", rung.why))

    def _take(self, index: int, models: Any) -> None:
        ladder = self._ladder
        cause = ladder.rungs[ladder.current or 0].cause
        replaced = [self._loaded[index]] if self._loaded.get(index, models) is not models else []
        move: Move | None = ladder.take(index, self._clock())
        self._loaded[index] = models
        self._close(replaced)
        self._let_go()
        match move:
            case "down":
                self._tell(f"down.{cause}", f"runs on {self._name()}")
            case "up":
                self._tell("up.probe", f"runs on {self._name()} again, {self._probation} frames on probation")
            case "recovered":
                self._tell("recovered.reload", f"runs on {self._name()}, which was loaded again")
            case _:
                self._show(since_wall_ns=wall_ns())

    def _let_go(self) -> None:
        """Close what is neither in use nor to be gone back to."""
        kept = (self._ladder.current, self._ladder.back)
        for index in [index for index in self._loaded if index not in kept]:
            self._close([self._loaded.pop(index)])

    def _tell(self, counter: str, what: str) -> None:
        """One line, and whoever listens."""
        self._show(since_wall_ns=wall_ns())
        reason = self.shown.reason
        log.warning("extractor %r %s%s", self._source, what, f": {reason}" if reason else "")
        state = "failed" if self._ladder.failed else f"on {self._name()}"
        self._on_change(Change(counter, state, reason))

    def _show(self, **changed: Any) -> None:
        ladder, reason = self._ladder, self._reason()
        if not self._named or ladder.current is None:
            self.shown = replace(self.shown, **{"loading": "", "blocks_ns": 0, **changed})
            return
        state: State = "fallback" if ladder.troubles() else "ok"
        state = "failed" if ladder.failed else "probation" if ladder.probation else state
        background = self.shown.names[self._background.index] if self._background is not None else ""
        now_so: dict[str, Any] = {
            "name": self._name(),
            "rung": ladder.current,
            "about": _about(self.models),
            "state": state,
            "reason": reason,
            "retry_ns": ladder.retry_ns(),
            "loading": background,
            "blocks_ns": 0,
        }
        self.shown = replace(self.shown, **{**now_so, **changed})
        self.mark = {"backend": self._name(), **({"degraded": reason[:MARK_MAX]} if reason else {})}

    def _name(self) -> str:
        return self.shown.names[self._current]

    def _reason(self) -> str:
        return self._redact("; ".join(f"{rung.name}: {rung.why}" for rung in self._ladder.troubles()))

    def _close(self, several: Iterable[Any]) -> None:
        for models in several:
            try:
                close = getattr(models, "close", None)
                if callable(close):
                    close()
            except Exception:
                log.exception("models of extractor %r cannot be closed", self._source)

    def _close_late(self, future: Future[Any]) -> None:
        if future.exception() is None:
            self._close([future.result()])


def _about(models: Any) -> dict[str, str]:
    """What a backend says of itself; see `core.backends.Backend`."""
    try:
        return {str(key): str(value)[:REASON_MAX] for key, value in getattr(models, "about", {}).items()}
    except Exception as error:  # a plug-in may give anything
        return {"about": _line(error)}


def _line(error: Exception) -> str:
    """What an exception says, in one short line."""
    return " ".join(told(error).split())[:REASON_MAX]

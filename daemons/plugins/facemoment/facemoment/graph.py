"""One of MediaPipe's graphs, which outlives a picture that it fails on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Graph:
    """A picture that MediaPipe fails on breaks its graph for good; so the next picture has another one.

    Args:
        make: makes one of MediaPipe's solutions; it may be called again at any picture.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: Any = make()

    def process(self, given: Any) -> Any:
        """What the solution's `process` gives; one after a failure takes as long as the first did."""
        if self._made is None:
            self._made = self._make()
        try:
            return self._made.process(given)
        except RuntimeError:  # of the graph; input that its Python side refuses is another error, and breaks nothing
            self.close()
            raise

    def reset(self) -> None:
        """Forget the pictures so far."""
        if self._made is not None:
            self._made.reset()

    def close(self) -> None:
        """Free it."""
        made, self._made = self._made, None
        if made is not None:
            try:
                made.close()
            except RuntimeError:  # what it failed on, once more; the second call frees it, with its threads
                made.close()

"""Where in its own code a plug-in fails, and the traceback of each failure once."""

from __future__ import annotations

import logging
import traceback

from visualpath.process.host import ExtractorHost

log = logging.getLogger(__name__)

MAX_TRACEBACKS = 20
"""Of different failures; a plug-in could invent any number."""


class Failures:
    """Tells of one plug-in's exceptions. Belongs to the main thread.

    Args:
        plugin: its class.
    """

    def __init__(self, plugin: type) -> None:
        self._package = plugin.__module__.partition(".")[0]
        self._told: set[tuple[type[BaseException], str]] = set()

    def place(self, error: BaseException) -> str:
        """Return `FILE:LINE` of the innermost line of the plug-in that led to an error of the host, "" if none did.

        The traceback of one that is the first of its kind at its place is logged.
        """
        cause = error.__cause__
        place = self._place(cause) if cause is not None else ""
        if cause is None or not place:
            return ""
        kind = type(cause), place
        if kind not in self._told and len(self._told) < MAX_TRACEBACKS:
            self._told.add(kind)
            log.warning("extract() failed at %s; this traceback is not told again", place, exc_info=cause)
        return place

    def _place(self, cause: BaseException) -> str:
        place = ""
        for frame, line in traceback.walk_tb(cause.__traceback__):
            module = frame.f_globals.get("__name__", "")
            if module.partition(".")[0] == self._package and module != ExtractorHost.__module__:
                place = f"{frame.f_code.co_filename}:{line}"
        return place

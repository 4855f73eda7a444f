"""What a child prints, drained into the log: a full pipe must not stop it, nor a talkative one fill the disk."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections import deque
from typing import IO

log = logging.getLogger(__name__)

LINES_PER_S = 20
LINE_BYTES = 1000
KEPT_LINES = 5
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class OutputDrain:
    """A thread that reads one child's output to its end.

    Args:
        pipe: the reading end; it is closed at the end.
        name: of the child, for the log.
    """

    def __init__(self, pipe: IO[bytes], name: str) -> None:
        self._pipe = pipe
        self._name = name
        self._last: deque[bytes] = deque(maxlen=KEPT_LINES)
        self._second = 0
        self._lines = 0
        self._unreported = 0
        self._thread = threading.Thread(target=self._run, name=f"output-{name}", daemon=True)
        self._thread.start()

    def last_words(self, timeout_s: float) -> str:
        """The last lines of a child that has ended; "" if it printed none. Waits for them no longer than that."""
        self._thread.join(timeout_s)
        return "\n".join(map(_text, tuple(self._last)))

    def _run(self) -> None:
        with self._pipe:
            while line := self._pipe.readline(LINE_BYTES):
                self._take(line)
        self._report()

    def _take(self, line: bytes) -> None:
        second = int(time.monotonic())
        if second != self._second:
            self._report()
            self._second, self._lines = second, 0
        if not line.strip():
            return
        self._last.append(line)
        self._lines += 1
        if self._lines > LINES_PER_S:
            self._unreported += len(line)
        else:
            log.info("%s: %s", self._name, _text(line))

    def _report(self) -> None:
        if self._unreported:
            log.warning("%s prints too much: %d bytes more in a second are not logged", self._name, self._unreported)
            self._unreported = 0


def _text(line: bytes) -> str:
    """A line as a log takes it: no colours, no cursor that goes back."""
    return _CONTROL.sub(" ", line.decode(errors="replace").rstrip())

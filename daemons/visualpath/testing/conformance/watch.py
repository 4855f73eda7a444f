"""What the child is doing, told to the parent in a way that outlives the child; and how long it may take."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from visualpath.testing.conformance.verdict import DOING_BYTES, Limits


class Watch:
    """Ends the process, with every thread's stack in the file of faults, when something takes too long.

    faulthandler does it by a thread that needs no GIL: a plug-in that holds it is seen, too.
    """

    def __init__(self, faults_fd: int, limits: Limits) -> None:
        self._faults_fd = faults_fd
        self._limits = limits
        os.lseek(faults_fd, DOING_BYTES, os.SEEK_SET)
        faulthandler.enable(file=faults_fd, all_threads=False)

    def doing(self, what: str) -> AbstractContextManager[None]:
        """While the plug-in does `what`, which may take as long as a frame."""
        return self._at_most(what, self._limits.frame_s)

    def starting(self, what: str) -> AbstractContextManager[None]:
        """While the plug-in does `what`, which may take as long as a start."""
        return self._at_most(what, self._limits.start_s)

    @contextmanager
    def _at_most(self, what: str, at_most_s: float) -> Iterator[None]:
        self._tell(f"{what}|{at_most_s:g}")
        faulthandler.dump_traceback_later(at_most_s, exit=True, file=self._faults_fd)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            self._tell("")

    def _tell(self, what: str) -> None:
        os.pwrite(self._faults_fd, what.encode()[:DOING_BYTES].ljust(DOING_BYTES), 0)

"""H.264 in the place of JPEGs: one clip after another, in a process of its own at the lowest priority.

The sidecar says what is coming before the clip is replaced, and what it replaces: so it is true at every moment, and
after a crash the JPEGs are still there, or the H.264 is complete.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

from visualbase.mux import is_no_space
from visualbase.transcode import EXIT_NO_SPACE
from visualbase.verify import sha256_of
from visualpath.clip.files import ClipFolder, delete
from visualpath.clip.ledger import Ledger, LedgerError, SavedClip
from visualpath.clip.outcomes import Outcomes
from visualpath.clip.sidecar import Sidecar, read_sidecar, with_file, write_sidecar
from visualpath.clip.worker import Worker
from visualpath.runtime.files import publish
from visualpath_protocol.clock import NS_PER_S, mono_ns

log = logging.getLogger(__name__)

PAUSE_NS = 30 * NS_PER_S
"""After a full disk, or a ledger that cannot be read."""
TIMEOUT_NS = 3600 * NS_PER_S
"""For one clip: a minute of video takes minutes of a core; beyond an hour the process hangs."""
REPLACED = ("codec", "sha256", "size_bytes")


class H264Maker:
    """Belongs to the loop's thread.

    Attributes:
        clip_id: of the clip at hand; empty: none.
    """

    def __init__(self, folder: ClipFolder, ledger: Ledger, outcomes: Outcomes, worker: Worker) -> None:
        self.clip_id = ""
        self._folder = folder
        self._ledger = ledger
        self._outcomes = outcomes
        self._worker = worker
        self._clip: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._kill_at_ns = 0
        self._pause_until_ns = 0
        self._is_idle = False

    def wake(self) -> None:
        """There may be something to do."""
        self._is_idle = False

    def tick(self, now: int) -> None:
        """Look whether the process has ended, or another can be begun."""
        if self._process is not None:
            code = self._process.poll()
            if code is not None:
                self._ended(code, now)
            elif now >= self._kill_at_ns:
                log.warning("the encoder of %s takes longer than %g s: killed", self._clip, TIMEOUT_NS / NS_PER_S)
                self._process.kill()  # the next ticks see it end
                self._kill_at_ns = now + TIMEOUT_NS
        elif not self.clip_id and not self._is_idle and now >= self._pause_until_ns and self._worker.has_room:
            try:
                wanted = self._ledger.next_for_h264()
            except LedgerError as error:
                self._outcomes.unreadable(error)
                self._pause_until_ns = now + PAUSE_NS
                return
            if wanted is None:
                self._is_idle = True
            else:
                self._begin(wanted)

    def stop(self) -> None:
        """End the process; the next run begins this clip again."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._close()

    def _begin(self, wanted: SavedClip) -> None:
        self.clip_id, self._clip = wanted.clip_id, self._folder.path / wanted.path
        target = self._folder.h264(wanted.clip_id)
        try:
            if read_sidecar(self._clip)["codec"] != "mjpeg":  # a crash came in between
                self._worker.submit(partial(_check, self._clip), self._checked)
                return
            target.parent.mkdir(parents=True, exist_ok=True)
        except (OSError, ValueError) as error:
            self._end(str(error))
            return
        self._spawn()

    def _spawn(self) -> None:
        assert self._clip is not None
        target = self._folder.h264(self.clip_id)
        command = [sys.executable, "-m", "visualbase.transcode", str(self._clip), str(target), str(os.getpid())]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        except OSError as error:
            self._end(f"no process can be started: {error}")
        self._kill_at_ns = mono_ns() + TIMEOUT_NS

    def _checked(self, sidecar: Sidecar | None) -> None:
        if sidecar is None:
            self._spawn()
        else:
            self._installed(sidecar)

    def _ended(self, code: int, now: int) -> None:
        said = self._close()
        if code == 0:
            assert self._clip is not None
            self._worker.submit(partial(_install, self._clip, self._folder.h264(self.clip_id)), self._installed)
        elif code == EXIT_NO_SPACE:
            self._wait_for_room(said, now)
        else:
            self._end(said or f"the encoder ended with {code}")

    def _wait_for_room(self, said: str, now: int) -> None:
        delete([self._folder.h264(self.clip_id)])
        log.warning("no space for H.264: tried again later: %s", said)
        self._pause_until_ns = now + PAUSE_NS
        self.clip_id = ""

    def _close(self) -> str:
        """Let go of the process; returns the last line it wrote."""
        assert self._process is not None
        assert self._process.stderr is not None
        with self._process.stderr as stderr:
            said = os.read(stderr.fileno(), 4096).decode(errors="replace").strip()
        self._process = None
        return said.rpartition("\n")[2]

    def _installed(self, result: Sidecar | Exception) -> None:
        assert self._clip is not None
        if isinstance(result, OSError) and is_no_space(result):
            self._wait_for_room(str(result), mono_ns())
        elif isinstance(result, Exception):
            self._end(str(result))
        else:
            self._outcomes.is_h264(self.clip_id, self._clip, result)
            self.clip_id = ""

    def _end(self, why: str) -> None:
        delete([self._folder.h264(self.clip_id)])
        self._outcomes.no_h264(self.clip_id, why)
        self.clip_id = ""


def _check(clip: Path) -> Sidecar | None:
    """In the worker: the sidecar, if the clip is what it says."""
    try:
        sidecar = read_sidecar(clip)
        return sidecar if sha256_of(clip) == sidecar["sha256"] else None
    except (OSError, ValueError):
        return None  # the encoder will say what is wrong


def _install(clip: Path, h264: Path) -> Sidecar | Exception:
    """In the worker: put the H.264 into the clip's place; the sidecar, or why not."""
    try:
        sidecar = read_sidecar(clip)
        before = sidecar.pop("replaces", None) or {key: sidecar[key] for key in REPLACED}
        if not clip.exists():
            return FileNotFoundError("the clip was deleted")
        sidecar = {**with_file(sidecar, h264, clip, "h264"), "replaces": before}
        write_sidecar(sidecar, clip)
        publish(h264, clip)
    except (OSError, ValueError, KeyError) as error:
        return error
    return sidecar

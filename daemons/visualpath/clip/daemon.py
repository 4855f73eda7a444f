"""The clip daemon: a trigger is acknowledged when it is in the ledger; then its clip is made.

What becomes of the clip is a state in the ledger and an event on the tap, never an ACK.
"""

from __future__ import annotations

import logging
import shutil
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from visualbase.errors import MediaError
from visualpath.clip.ledger import Ledger, LedgerError
from visualpath.clip.recording import Recording, find_saved, temporary_path
from visualpath.clip.stream import ClipStream
from visualpath.core.errors import CommandError, StorageError
from visualpath.observability import ClipRecord
from visualpath.runtime.main import run_daemon
from visualpath.runtime.poll import Parts
from visualpath.runtime.service import Service
from visualpath_protocol.clock import NS_PER_S, mono_ns
from visualpath_protocol.codec import Codec
from visualpath_protocol.endpoints import CLIP, frame_daemon
from visualpath_protocol.messages import Ack, FrameHeader, StreamState, Trig
from visualpath_protocol.sockets import HEADERS, TRIGGERS, topic

log = logging.getLogger(__name__)

DEFAULT_LIMIT = 100
"""How many clips are listed unless told."""
MAX_LIMIT = 10_000
MAX_UNCOMMITTED = 1000


class ClipDaemon:
    """Keeps the moments."""

    def __init__(self, service: Service, _name: str = "") -> None:
        self._service = service
        config = service.config
        try:
            self._ledger = Ledger(config.state_dir / CLIP / "ledger.db")
            config.clips_dir.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(temporary_path(config.clips_dir, "").parent, ignore_errors=True)
        except (OSError, LedgerError) as error:
            raise StorageError(f"cannot use {config.state_dir} and {config.clips_dir}: {error}") from error
        self._streams = {
            name: ClipStream(name, config.ring_dir, config.ring.length_ns, config.clip, config.clips_dir)
            for name in config.streams
        }
        self._uncommitted: deque[tuple[Trig, Callable[[], None]]] = deque(maxlen=MAX_UNCOMMITTED)
        self._received_ns: dict[str, int] = {}
        """When this process took the TRIG of each clip in the making (monotonic)."""
        self._trig_codec = Codec(Trig, max_bytes=TRIGGERS.max_bytes)
        self._frame_codec = Codec(FrameHeader, StreamState, max_bytes=HEADERS.max_bytes)
        self._triggers = service.bind(TRIGGERS)
        service.status = self._status
        service.command("clips", self._list_clips)
        service.loop.watch(self._triggers, self._on_trigger)
        for stream in config.streams:
            socket = service.connect(HEADERS, frame_daemon(stream))
            for kind in "hs":
                socket.subscribe(topic(stream, kind))
            service.loop.watch(socket, self._on_frame)
        service.loop.every(NS_PER_S, self._commit_again)
        service.loop.on_tick(self._tick, self._next_deadline)

    def run(self) -> None:
        """Take up what a crash interrupted, then work until stopped."""
        for trig in self._ledger.unfinished():
            log.info("taking up again: %s", trig)
            found = find_saved(self._service.config.clips_dir, trig)
            if found is None:
                self._start(trig)
            else:
                self._saved(trig, *found)
        self._service.ready()
        self._service.loop.run()

    def close(self) -> None:
        """Leave unfinished recordings to the next run."""
        for stream in self._streams.values():
            stream.stop()
        self._ledger.close()

    def _on_trigger(self, parts: Parts) -> None:
        trig = self._service.decode(self._trig_codec, parts[-1], "trig")
        if trig is None:
            return
        ack, is_new = self._accept(trig)
        if ack is None:
            return
        self._service.counters[f"triggers.{ack.result}"] += 1
        if not self._service.send(self._triggers, parts[0], ack):
            self._service.counters["dropped.ack"] += 1
        if is_new:
            log.info("%s", trig)
            self._received_ns[trig.trig_id] = mono_ns()
            self._start(trig)

    def _accept(self, trig: Trig) -> tuple[Ack | None, bool]:
        """The answer, and whether a clip is to be made. No answer when the ledger cannot be written: it comes again."""
        if trig.stream not in self._streams:
            why = f"no stream {trig.stream!r} here"
            return Ack(trig_id=trig.trig_id, revision=trig.revision, result="refused", why=why), False
        try:
            if self._ledger.knows(trig.trig_id, trig.revision):
                return Ack(trig_id=trig.trig_id, revision=trig.revision, result="duplicate"), False
            is_new = self._ledger.accept(trig)
        except LedgerError as error:
            self._service.refusals.add("failed.ledger", f"{trig}: {error}")
            return None, False
        return Ack(trig_id=trig.trig_id, revision=trig.revision, result="accepted"), is_new

    def _start(self, trig: Trig) -> None:
        stream = self._streams.get(trig.stream)
        if stream is None:
            self._fail(trig, f"no stream {trig.stream!r} in the configuration any more")
            return
        try:
            self._save(stream.start(trig, mono_ns()))
        except (MediaError, OSError) as error:
            self._fail(trig, str(error))

    def _on_frame(self, parts: Parts) -> None:
        message = self._service.decode(self._frame_codec, parts[-1], "headers")
        stream = self._streams.get(message.stream) if message is not None else None
        if stream is None:
            return
        if isinstance(message, FrameHeader):
            self._service.counters["frames"] += 1
            self._save(stream.frame(message, mono_ns()))
        else:
            self._save(stream.state(message))

    def _save(self, recordings: list[Recording]) -> None:
        for recording in recordings:
            try:
                path, sidecar = recording.save()
            except MediaError as error:
                recording.abort()
                self._fail(recording.trig, str(error))
                continue
            self._saved(recording.trig, path, sidecar)
            self._time(recording, mono_ns())

    def _time(self, recording: Recording, now: int) -> None:
        """How long the clip took from its TRIG, and from the frame that completed it."""
        observe, trig = self._service.histograms.observe, recording.trig
        received_ns = self._received_ns.pop(trig.trig_id, None)
        if received_ns is not None:  # not for a clip of an earlier run
            observe("trigger_to_clip", now - received_ns, stream=trig.stream)
        if recording.completed_by is not None:
            observe("capture_to_clip", now - recording.completed_by.mono_ns, stream=trig.stream)

    def _saved(self, trig: Trig, path: Path, sidecar: dict[str, Any]) -> None:
        relative = str(path.relative_to(self._service.config.clips_dir))
        self._commit(trig, lambda: self._ledger.saved(trig.trig_id, relative, sidecar))
        self._service.counters["clips.saved"] += 1
        gaps = ", ".join(f"{g['reason']} {(g['to'] - g['from']) / 1e9:.3f} s" for g in sidecar["gaps"])
        log.info("saved %s: %d frames%s", relative, sidecar["frames"], f"; lacks {gaps}" if gaps else "")
        self._service.emit("clip", {"trig_id": trig.trig_id, "state": "saved", "path": relative})
        self._service.trace.emit(ClipRecord(trig.trig_id, "saved", relative, stream=trig.stream, epoch=trig.epoch))

    def _fail(self, trig: Trig, why: str) -> None:
        self._received_ns.pop(trig.trig_id, None)
        log.error("no clip for %s: %s", trig, why)
        self._commit(trig, lambda: self._ledger.failed(trig.trig_id, why))
        self._service.counters["clips.failed"] += 1
        self._service.emit("clip", {"trig_id": trig.trig_id, "state": "failed", "why": why})
        self._service.trace.emit(ClipRecord(trig.trig_id, "failed", why=why, stream=trig.stream, epoch=trig.epoch))

    def _commit(self, trig: Trig, outcome: Callable[[], None]) -> None:
        """Put an outcome into the ledger; where the disk refuses, again later. A crash before that repeats the clip."""
        try:
            outcome()
        except LedgerError as error:
            self._service.refusals.add("failed.ledger", f"{trig}: {error}")
            self._uncommitted.append((trig, outcome))

    def _commit_again(self, _now: int) -> None:
        for _ in range(len(self._uncommitted)):
            self._commit(*self._uncommitted.popleft())

    def _tick(self, now: int) -> None:
        for stream in self._streams.values():
            self._save(stream.tick(now))

    def _next_deadline(self) -> int | None:
        deadlines = (stream.next_deadline() for stream in self._streams.values())
        return min((due for due in deadlines if due is not None), default=None)

    def _list_clips(self, args: dict[str, Any]) -> dict[str, Any]:
        limit = args.get("limit", DEFAULT_LIMIT)
        if not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
            raise CommandError("malformed", f"limit {limit!r} is no number from 1 to {MAX_LIMIT}")
        try:
            triggers, clips = self._ledger.triggers(limit), self._ledger.clips(limit)
        except LedgerError as error:
            raise CommandError("ledger", f"the ledger cannot be read: {error}") from error
        return {"dir": str(self._service.config.clips_dir), "triggers": triggers, "clips": clips}

    def _status(self) -> dict[str, Any]:
        return {
            "streams": {
                name: {"recording": len(stream.recordings), "damaged_records": stream.damaged_records}
                for name, stream in self._streams.items()
            }
        }


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    return run_daemon(argv, lambda _: CLIP, ClipDaemon, named=False)

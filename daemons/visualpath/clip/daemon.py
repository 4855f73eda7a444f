"""The clip daemon: a trigger is acknowledged when it is in the ledger; then its clip is made.

What becomes of the clip is a state in the ledger and an event on the tap, never an ACK.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from typing import Any

from visualpath.clip.adoption import Adoption
from visualpath.clip.files import ClipFolder
from visualpath.clip.h264 import H264Maker
from visualpath.clip.housekeeping import Housekeeper
from visualpath.clip.ledger import Ledger, LedgerError
from visualpath.clip.maker import ClipMaker
from visualpath.clip.order import ClipOrder
from visualpath.clip.outcomes import Outcomes
from visualpath.clip.recording import Recording
from visualpath.clip.stream import ClipStream
from visualpath.clip.worker import Worker
from visualpath.core.errors import CommandError, StorageError
from visualpath.runtime.main import run_daemon
from visualpath.runtime.poll import Parts
from visualpath.runtime.service import Service
from visualpath_protocol.clock import NS_PER_MS, NS_PER_S, mono_ns
from visualpath_protocol.codec import Codec
from visualpath_protocol.endpoints import CLIP, frame_daemon
from visualpath_protocol.messages import COUNT_MAX, Ack, FrameHeader, StreamState, Trig
from visualpath_protocol.sockets import HEADERS, TRIGGERS, topic

log = logging.getLogger(__name__)

DEFAULT_LIMIT = 100
"""How many clips are listed unless told."""
MAX_LIMIT = 10_000
MAX_OUTCOMES = 20
TIDY_EVERY_NS = 5 * NS_PER_S
H264_EVERY_NS = 100 * NS_PER_MS


class ClipDaemon:
    """Keeps the moments."""

    def __init__(self, service: Service, _name: str = "") -> None:
        self._service = service
        config = service.config
        self._folder = ClipFolder(config.clips_dir)
        try:
            self._ledger = Ledger(config.state_dir / CLIP / "ledger.db", service.counters)
            config.clips_dir.mkdir(parents=True, exist_ok=True)
        except (OSError, LedgerError) as error:
            raise StorageError(f"cannot use {config.state_dir} and {config.clips_dir}: {error}") from error
        self._streams = {
            name: ClipStream(name, config.ring_dir, config.ring.length_ns, config.clip, self._folder)
            for name in config.streams
        }
        h264 = "wanted" if config.clip.format == "h264" else ""
        self._worker = Worker(service.loop.call_soon)
        self._outcomes = Outcomes(service, self._ledger, config.clips_dir, h264)
        self._maker = ClipMaker(
            self._streams, config.clip, self._folder, self._ledger, self._outcomes, self._worker
        )  # fmt: skip
        self._h264 = H264Maker(self._folder, self._ledger, self._outcomes, self._worker)
        self._adoption = Adoption(
            config.clips_dir, self._ledger, self._outcomes, self._worker, self._maker.orders
        )  # fmt: skip
        self._housekeeper = Housekeeper(config.clip, self._folder, self._ledger, self._outcomes, self._worker)
        self._maker.on_saved = self._on_saved
        self._maker.on_no_space = self._tidy
        self._maker.on_failed = self._on_failed
        self._heard_ns = dict.fromkeys(config.streams, mono_ns())
        self._received_ns: dict[str, int] = {}
        """When this process took the first TRIG of each clip in the making, by the clip's id (monotonic)."""
        self._connect()

    def _connect(self) -> None:
        service = self._service
        self._trig_codec = Codec(Trig, max_bytes=TRIGGERS.max_bytes)
        self._frame_codec = Codec(FrameHeader, StreamState, max_bytes=HEADERS.max_bytes)
        self._triggers = service.bind(TRIGGERS)
        service.status = self._status
        service.command("clips", self._list_clips)
        service.command("outcomes", self._list_outcomes)
        service.loop.watch(self._triggers, self._on_trigger)
        for stream in self._streams:
            socket = service.connect(HEADERS, frame_daemon(stream))
            for kind in "hs":
                socket.subscribe(topic(stream, kind))
            service.loop.watch(socket, self._on_frame)
        service.loop.every(NS_PER_S, lambda _now: self._adoption.look())
        service.loop.every(TIDY_EVERY_NS, lambda _now: self._tidy())
        service.loop.every(H264_EVERY_NS, self._h264.tick)
        service.loop.on_tick(self._maker.tick, self._maker.next_deadline)

    def run(self) -> None:
        """Take up what a crash interrupted, then work until stopped."""
        try:
            unfinished = self._ledger.unfinished()
            self._housekeeper.finish_deletions()
        except LedgerError as error:
            raise StorageError(f"the ledger cannot be read: {error}") from error
        self._service.counters["swept"] += self._folder.sweep(order.clip_id for order in unfinished)
        for order in unfinished:
            log.info("taking up again: %s", order)
            self._maker.take_up(order)
        self._service.ready()
        self._service.loop.run()

    def close(self) -> None:
        """Save what is complete, and leave unfinished recordings to the next run."""
        self._maker.stop()
        self._h264.stop()
        self._worker.close()
        self._h264.stop()
        self._outcomes.commit_again()
        self._ledger.close()

    def _on_trigger(self, parts: Parts) -> None:
        trig = self._service.decode(self._trig_codec, parts[-1], "trig")
        if trig is None:
            return
        ack, begin = self._accept(trig)
        if ack is None:
            return
        self._service.counters[f"triggers.{ack.result}"] += 1
        if not self._service.send(self._triggers, parts[0], ack):
            self._service.counters["dropped.ack"] += 1
        begin()

    def _accept(self, trig: Trig) -> tuple[Ack | None, Callable[[], None]]:
        """The answer, and what is to be done then. No answer when the ledger cannot take it: the TRIG comes again."""
        if trig.stream not in self._streams:
            why = f"no stream {trig.stream!r} here"
            return Ack(trig_id=trig.trig_id, revision=trig.revision, result="refused", why=why), _nothing
        try:
            if self._ledger.knows(trig.trig_id, trig.revision):
                return Ack(trig_id=trig.trig_id, revision=trig.revision, result="duplicate"), _nothing
            if self._maker.is_far_ahead(trig):
                why = "it ends more than clip.max_length after the newest frame: a moment is over when it is told of"
                return Ack(trig_id=trig.trig_id, revision=trig.revision, result="refused", why=why), _nothing
            if self._maker.is_overloaded:
                self._service.refusals.add("deferred.trigger", trig)
                return None, _nothing
            order = self._maker.place(trig)
            is_new = self._ledger.accept(trig, order)
        except LedgerError as error:
            self._service.refusals.add("failed.ledger", f"{trig}: {error}")
            return None, _nothing
        log.info("%s: %s", trig, order)
        ack = Ack(trig_id=trig.trig_id, revision=trig.revision, result="accepted")
        return ack, lambda: self._begin(order, is_new)

    def _begin(self, order: ClipOrder, is_new: bool) -> None:
        if is_new and not self._maker.makes(order.clip_id):  # else a damaged ledger has forgotten it
            self._received_ns[order.clip_id] = mono_ns()
            self._maker.begin(order)
        else:
            self._maker.grow(order)

    def _on_frame(self, parts: Parts) -> None:
        message = self._service.decode(self._frame_codec, parts[-1], "headers")
        if message is None or message.stream not in self._streams:
            return
        if isinstance(message, FrameHeader):
            self._service.counters["frames"] += 1
            now = self._heard_ns[message.stream] = mono_ns()
            self._maker.frame(message, now)
        else:
            self._maker.state(message)

    def _on_saved(self, recording: Recording) -> None:
        """How long the clip took from its first TRIG, and from the frame that completed it."""
        now, order = mono_ns(), recording.order
        observe = self._service.histograms.observe
        received_ns = self._received_ns.pop(order.clip_id, None)
        if received_ns is not None:  # not for a clip of an earlier run
            observe("trigger_to_clip", now - received_ns, stream=order.stream)
        if recording.completed_by is not None:
            observe("capture_to_clip", now - recording.completed_by.mono_ns, stream=order.stream)
        self._h264.wake()
        self._tidy()

    def _on_failed(self, order: ClipOrder) -> None:
        self._received_ns.pop(order.clip_id, None)

    def _tidy(self) -> None:
        try:
            self._housekeeper.tidy(self._maker, self._h264)
        except OSError as error:
            self._service.refusals.add("failed.disk", error)

    def _list_clips(self, args: dict[str, Any]) -> dict[str, Any]:
        limit, wanted, brief = args.get("limit", DEFAULT_LIMIT), args.get("id", ""), args.get("brief", False)
        if not isinstance(limit, int) or not 1 <= limit <= MAX_LIMIT:
            raise CommandError("malformed", f"limit {limit!r} is no number from 1 to {MAX_LIMIT}")
        if not isinstance(wanted, str):
            raise CommandError("malformed", f"id {wanted!r} is no text")
        if not isinstance(brief, bool):
            raise CommandError("malformed", f"brief {brief!r} is neither true nor false")
        try:
            clips = self._ledger.clips(limit, wanted)
            triggers = [] if brief else self._ledger.triggers(limit)
        except LedgerError as error:
            raise CommandError("ledger", f"the ledger cannot be read: {error}") from error
        if brief:
            clips = [{**clip, "sidecar": {}} for clip in clips]
        return {"dir": str(self._folder.path), "triggers": triggers, "clips": clips}

    def _list_outcomes(self, args: dict[str, Any]) -> dict[str, Any]:
        """Args: `after`, the number of the last outcome that is known; without it nothing is listed."""
        after = args.get("after", COUNT_MAX)
        if type(after) is not int or not 0 <= after <= COUNT_MAX:
            raise CommandError("malformed", f"after {after!r} is no number of an outcome")
        try:
            last = self._ledger.last_outcome()
            outcomes = self._ledger.outcomes_after(after, MAX_OUTCOMES)
        except LedgerError as error:
            raise CommandError("ledger", f"the ledger cannot be read: {error}") from error
        return {"dir": str(self._folder.path), "last": last, "outcomes": outcomes}

    def _status(self) -> dict[str, Any]:
        now, disk = mono_ns(), self._disk()
        return {
            "unfinished": self._maker.unfinished,
            "waiting": self._maker.waiting,
            "streams": {
                name: {
                    "recording": len(stream.recordings),
                    "damaged_records": stream.damaged_records,
                    "silent_ns": now - self._heard_ns[name],
                }
                for name, stream in self._streams.items()
            },
            "disk_busy_ns": self._worker.busy_ns,
            "disk": {"total_bytes": disk.total, "free_bytes": disk.free} if disk is not None else None,
        }

    def _disk(self) -> shutil._ntuple_diskusage | None:
        try:
            return shutil.disk_usage(self._folder.path)
        except OSError as error:
            self._service.refusals.add("failed.disk", error)
            return None


def _nothing() -> None:
    """What follows a TRIG that changes nothing."""


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    return run_daemon(argv, lambda _: CLIP, ClipDaemon, named=False)

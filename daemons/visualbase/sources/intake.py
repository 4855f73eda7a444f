"""Takes a live stream's packets off the network as they come, so that none of them grows old in a socket."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.stream import VideoStream

from visualpath_protocol.clock import NS_PER_S, mono_ns

MAX_AGE_NS = 2 * NS_PER_S
MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet and when it came, on CLOCK_MONOTONIC."""

    packet: Packet[VideoStream]
    t_ns: int


class Intake(threading.Thread):
    """Reads packets into a bounded queue. Whoever takes them decodes; demuxing and decoding share no state in FFmpeg.

    When the oldest packet that waits is more than 2 s old, or more than 64 MiB wait, all are thrown away, and what
    follows up to the next keyframe: the decoder could make nothing of it.

    Attributes:
        dropped: packets thrown away.
        ended: nothing more will come.
        error: why it has ended; None if the stream just ended.
    """

    def __init__(self, container: InputContainer, stream: VideoStream) -> None:
        super().__init__(name="intake", daemon=True)
        self.dropped = 0
        self.ended = False
        self.error: FFmpegError | None = None
        self._defect: BaseException | None = None
        self._container = container
        self._stream = stream
        self._waiting: deque[Arrival] = deque()
        self._waiting_bytes = 0
        self._until_keyframe = False
        self._changed = threading.Condition()
        self._stopping = False

    def run(self) -> None:
        """Thread body."""
        try:
            for packet in self._container.demux(self._stream):
                if self._stopping:
                    break
                if packet.size:  # the last one is empty
                    self._add(Arrival(packet, mono_ns()))
        except FFmpegError as error:
            self.error = error
        except BaseException as error:  # raised in the thread that takes the packets
            self._defect = error
        with self._changed:
            self.ended = True
            self._changed.notify()

    def take(self, timeout_s: float) -> Arrival | None:
        """The oldest packet; None if none comes in time, or ever again (`ended`).

        Raises:
            BaseException: the thread has died of a defect.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self.ended, timeout_s)
            if self._waiting:
                arrival = self._waiting.popleft()
                self._waiting_bytes -= arrival.packet.size
                return arrival
        if self._defect is not None:
            raise self._defect
        return None

    def more_waiting(self) -> bool:
        """Whether a newer packet is there already."""
        return bool(self._waiting)

    def stop(self) -> None:
        """End and wait for it: until the next packet, at most as long as the container's read timeout."""
        self._stopping = True
        if self.is_alive():
            self.join()

    def _add(self, arrival: Arrival) -> None:
        with self._changed:
            if self._waiting and (arrival.t_ns - self._waiting[0].t_ns > MAX_AGE_NS or self._waiting_bytes > MAX_BYTES):
                self.dropped += len(self._waiting)
                self._waiting.clear()
                self._waiting_bytes = 0
                self._until_keyframe = True
            if self._until_keyframe and not arrival.packet.is_keyframe:
                self.dropped += 1
                return
            self._until_keyframe = False
            self._waiting.append(arrival)
            self._waiting_bytes += arrival.packet.size
            self._changed.notify()

"""JPEGs into an MP4 as they are, each at its own time: Motion JPEG with variable frame rate.

Nothing is decoded or encoded, so that a clip is safe on disk in milliseconds. The index comes last
in the file: to put it first (faststart) would write every byte twice.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream

from visualbase import jpeg as jpegs
from visualbase.errors import MuxError, NoSpace, OtherSize

_TIME_BASE = Fraction(1, 1_000_000)
_NS_PER_TICK = 1000
HEADER_BYTES = 4096
"""More than what stands before an MP4's first picture."""
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


def is_no_space(error: OSError | FFmpegError) -> bool:
    """Whether a disk, or somebody's share of it, is full."""
    return error.errno in _NO_SPACE


class MjpegMp4Writer:
    """Writes one clip. The caller owns the name: syncing and renaming are its business.

    What is written goes to the kernel at once, so that a kill of the process loses only the frame held back.

    Args:
        path: file to write; an existing one is replaced.
        width: of every picture, in pixels.
        height: of every picture, in pixels.

    Attributes:
        next_offset: where in the file the next picture's bytes will lie.

    Raises:
        MuxError: the file cannot be created.
        NoSpace: for want of room.
    """

    def __init__(self, path: Path, *, width: int, height: int) -> None:
        self._path = path
        self._size = (width, height)
        self._first_t_ns = 0
        self._held: tuple[bytes, int, int] | None = None  # picture, t_ns, tick: it is written when its end is known
        try:
            path.write_bytes(bytes(HEADER_BYTES))  # a file whose header finds no room stays open, even if closed
            self._container: OutputContainer = av.open(
                f"file:{path}", "w", format="mp4", container_options={"flush_packets": "1"}
            )
            self._stream: Stream = self._container.add_mux_stream(
                "mjpeg", width=width, height=height, time_base=_TIME_BASE
            )
            self._container.start_encoding()  # creates the file now rather than at the first frame
            self.next_offset = path.stat().st_size
        except (FFmpegError, OSError) as error:
            raise self._failed(error) from error

    def add(self, jpeg: bytes, t_ns: int) -> None:
        """Append a frame, shown from `t_ns` until the next frame's. Times are kept to 1 µs, and stay 1 µs apart.

        Raises:
            MuxError: a time not above the one before, or a failing disk.
            OtherSize: another picture size.
            NoSpace: the disk is full.
            DamagedJpeg: no JPEG.
        """
        if jpegs.size(jpeg) != self._size:
            raise OtherSize(
                f"{self._path}: a picture of {_by(jpegs.size(jpeg))} in a clip of {_by(self._size)}: "
                "begin a new clip where the size changes"
            )
        if self._held is None:
            self._first_t_ns, tick = t_ns, 0
        else:
            tick = self._write_held(until_ns=t_ns)
        self._held = (jpeg, t_ns, tick)
        self.next_offset += len(jpeg)

    def finish(self, end_t_ns: int) -> None:
        """Write the index and close. The last frame is shown until `end_t_ns`.

        Raises:
            MuxError: no frame was added, the end is not above the last frame, or a failing disk.
        """
        if self._held is None:
            raise MuxError(f"{self._path}: a clip without a frame; abort() it")
        self._write_held(until_ns=end_t_ns)
        self._held = None
        try:
            self._container.close()
        except FFmpegError as error:
            raise self._failed(error) from error

    def abort(self) -> None:
        """Give up: close and delete the file. Never fails."""
        self.leave()
        with suppress(OSError):
            self._path.unlink()

    def leave(self) -> None:
        """Close the file as it is; the pictures stay where they are. Never fails."""
        with suppress(FFmpegError):
            self._container.close()

    def _write_held(self, *, until_ns: int) -> int:
        """Returns the tick at which the frame ends."""
        assert self._held is not None
        jpeg, t_ns, start = self._held
        if until_ns <= t_ns:
            raise MuxError(f"{self._path}: {until_ns} ns does not come after the frame at {t_ns} ns")
        end = max((until_ns - self._first_t_ns) // _NS_PER_TICK, start + 1)  # pictures of one packet are 1 ns apart
        packet = Packet(jpeg)
        packet.stream = self._stream
        packet.time_base = _TIME_BASE
        packet.pts = packet.dts = start
        packet.duration = end - start
        packet.is_keyframe = True
        try:
            self._container.mux_one(packet)
        except FFmpegError as error:
            raise self._failed(error) from error
        return end

    def _failed(self, error: FFmpegError | OSError) -> MuxError:
        kind = NoSpace if is_no_space(error) else MuxError
        return kind(f"{self._path}: {error.strerror}: check the folder and the space on its disk")


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"

"""The ring of recent frames: how pictures get from the frame daemon to everybody on the same host.

One folder per stream, one writer, append-only segments `<epoch>-<n>.seg`. A segment is never
overwritten; the oldest is deleted when time or bytes run out. A segment is a row of records:

    offset          bytes
    0               4       magic b"VPR1"
    4               4       header length H, little-endian
    8               4       payload length P, little-endian
    12              P       payload: the JPEG
    12 + P          H       the FRAME message, as on the wire

The header comes after the payload because it says where the payload lies. A record counts when
all its bytes are within the file; the first that is not whole ends the segment for who scans it.

Readers use pread, not mmap: a page of a mapped file that is cut short kills the process (SIGBUS),
and one copy of a JPEG is nothing beside decoding it.
"""

from __future__ import annotations

import errno
import os
import re
import struct
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import msgspec

from visualbase.errors import Evicted, RingFull
from visualpath_protocol import codec
from visualpath_protocol.clock import NS_PER_S
from visualpath_protocol.errors import ProtocolError
from visualpath_protocol.messages import FrameHeader, Payload, check_name
from visualpath_protocol.security import FOLDER_MODE, set_mode

MAGIC = b"VPR1"
PREFIX = struct.Struct("<4sII")
HEADER_MAX_BYTES = 4096

_SEGMENT_SHARE = 8  # a segment is at most this part of the ring, so that deleting one frees little
_SEGMENT_NAME = re.compile(r"(0|[1-9][0-9]*)-(0|[1-9][0-9]*)\.seg\Z")
_OPEN_SEGMENTS = 4
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


@dataclass
class _Segment:
    """A segment as the writer knows it. Times are event time; those of older epochs do not count."""

    path: Path
    epoch: int
    size_bytes: int = 0
    first_t_ns: int = 0
    last_t_ns: int = 0


class RingWriter:
    """Appends the frames of one epoch of one stream, and deletes what is too old or too much.

    All segments in the stream's folder together, those of older epochs included, never exceed
    `max_bytes`. Older epochs go first: when bytes run out, when this epoch has itself covered
    `max_seconds`, or at once up to `gone_epoch`.

    Args:
        ring_dir: holds one folder per stream; made if absent. It should be a tmpfs.
        stream: name of the stream.
        epoch: above that of every segment there is.
        max_seconds: of event time to keep.
        max_bytes: to keep.
        segment_seconds: of event time in one segment, at most.
        gone_epoch: what this epoch and older ones left is too old.

    Attributes:
        counters: `frames_written`, `bytes_written`, `segments_deleted`.

    Raises:
        ValueError: the ring holds this epoch, or a later one, already.
    """

    def __init__(
        self,
        ring_dir: Path,
        stream: str,
        epoch: int,
        *,
        max_seconds: float,
        max_bytes: int,
        segment_seconds: float = 2.0,
        gone_epoch: int = 0,
    ) -> None:
        self.counters: Counter[str] = Counter(frames_written=0, bytes_written=0, segments_deleted=0)
        self._stream = stream
        self._epoch = epoch
        self._max_ns = round(max_seconds * NS_PER_S)
        self._max_bytes = max_bytes
        self._segment_ns = round(segment_seconds * NS_PER_S)
        self._folder = Path(ring_dir) / check_name("stream", stream)
        _make_folder(Path(ring_dir))
        _make_folder(self._folder)
        self._segments = _existing(self._folder)  # oldest first; the one being written is the last
        if self._segments and self._segments[-1].epoch >= epoch:
            raise ValueError(
                f"{self._segments[-1].path} exists: epoch {epoch} of stream {stream!r} has been or is past; "
                "epochs never repeat"
            )
        self._total_bytes = sum(segment.size_bytes for segment in self._segments)
        self._fd: int | None = None
        self._next_n = 0
        self._first_t_ns: int | None = None
        self._make_room(0)
        while self._segments and self._segments[0].epoch <= gone_epoch:
            self._delete_oldest()

    def append(self, header: FrameHeader, jpeg: bytes) -> FrameHeader:
        """Write one frame; it may be announced once this returns.

        Args:
            header: of the frame, without payloads.
            jpeg: its picture.

        Returns:
            The header with the payload's place in the ring.

        Raises:
            RingFull: the frame is larger than the ring, or the disk has no room left.
        """
        if (header.stream, header.epoch) != (self._stream, self._epoch):
            raise ValueError(f"{header} in the ring of {self._stream}/{self._epoch}")
        try:
            return self._append(header, jpeg)
        except OSError as error:
            if error.errno not in _NO_SPACE or not self._give_up_oldest():
                raise self._full_disk(header, error) from error
        try:
            return self._append(header, jpeg)
        except OSError as error:
            raise self._full_disk(header, error) from error

    def held(self) -> tuple[int, int]:
        """What can be read now: bytes of all epochs, and ns of event time of this one. For any thread."""
        own = [segment for segment in list(self._segments) if segment.epoch == self._epoch and segment.size_bytes]
        return self._total_bytes, own[-1].last_t_ns - own[0].first_t_ns if own else 0

    def close(self) -> None:
        """Stop writing. The segments stay for the readers."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> RingWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _append(self, header: FrameHeader, jpeg: bytes) -> FrameHeader:
        if self._fd is None or self._is_done(self._segments[-1], header.t_ns, len(jpeg)):
            self._begin_segment()
        segment, fd = self._segments[-1], self._fd
        assert fd is not None
        complete = _with_payload(header, segment, len(jpeg))
        encoded = codec.encode(complete)
        size_bytes = PREFIX.size + len(jpeg) + len(encoded)
        if size_bytes > self._max_bytes:
            raise RingFull(
                f"{header}: {size_bytes} bytes do not go into a ring of {self._max_bytes}: raise the ring's size"
            )
        self._make_room(size_bytes)
        parts = (PREFIX.pack(MAGIC, len(encoded), len(jpeg)), jpeg, encoded)
        written = os.pwritev(fd, parts, segment.size_bytes)
        if written != size_bytes:
            os.ftruncate(fd, segment.size_bytes)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._note(segment, header.t_ns, size_bytes)
        return complete

    def _note(self, segment: _Segment, t_ns: int, size_bytes: int) -> None:
        if segment.size_bytes == 0:
            segment.first_t_ns = t_ns
        if self._first_t_ns is None:
            self._first_t_ns = t_ns
        segment.last_t_ns = t_ns
        segment.size_bytes += size_bytes
        self._total_bytes += size_bytes
        self.counters["frames_written"] += 1
        self.counters["bytes_written"] += size_bytes
        while self._is_expired(self._segments[0], t_ns):
            self._delete_oldest()

    def _is_done(self, segment: _Segment, t_ns: int, jpeg_bytes: int) -> bool:
        if segment.size_bytes == 0:
            return False
        record_max_bytes = PREFIX.size + jpeg_bytes + HEADER_MAX_BYTES
        return (
            t_ns - segment.first_t_ns >= self._segment_ns
            or segment.size_bytes + record_max_bytes > self._max_bytes // _SEGMENT_SHARE
        )

    def _is_expired(self, segment: _Segment, t_ns: int) -> bool:
        if segment.epoch == self._epoch:
            return segment.last_t_ns < t_ns - self._max_ns
        return self._first_t_ns is not None and t_ns - self._first_t_ns >= self._max_ns

    def _begin_segment(self) -> None:
        path = self._folder / f"{self._epoch}-{self._next_n}.seg"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        os.fchmod(fd, 0o640)  # whatever the umask: the extractors read it as members of the group
        self.close()
        self._fd = fd
        self._next_n += 1
        self._segments.append(_Segment(path, self._epoch))

    def _make_room(self, size_bytes: int) -> None:
        while self._total_bytes + size_bytes > self._max_bytes and self._delete_oldest():
            pass

    def _delete_oldest(self, *, though_open: bool = False) -> bool:
        """Delete the oldest segment that is not being written; False if there is none.

        Args:
            though_open: its memory is needed at once, also where a reader has it open and would let it go later.
        """
        if not self._segments or (self._fd is not None and len(self._segments) == 1):
            return False
        segment = self._segments.pop(0)
        with suppress(FileNotFoundError):
            if though_open:
                os.truncate(segment.path, 0)
            segment.path.unlink()
        self._total_bytes -= segment.size_bytes
        self.counters["segments_deleted"] += 1
        return True

    def _give_up_oldest(self) -> bool:
        """Delete the oldest segment, even the one being written if there is no other: what comes counts for more."""
        if self._delete_oldest(though_open=True):
            return True
        self.close()
        return self._delete_oldest(though_open=True)

    def _full_disk(self, header: FrameHeader, error: OSError) -> Exception:
        if error.errno not in _NO_SPACE:
            return error
        return RingFull(
            f"{header}: no space left for {self._folder}: make its file system larger than the ring's size "
            f"of {self._max_bytes} bytes"
        )


class RingReader:
    """Reads the frames of one stream; for one thread. It may exist before the stream does.

    A deleted segment stays readable while it is open here, which costs its memory: so at most a
    few are kept open, and the deleted ones are let go as soon as another one is opened.

    Attributes:
        damaged_records: records met by `scan` whose bytes make no sense.
    """

    def __init__(self, ring_dir: Path, stream: str) -> None:
        self.damaged_records = 0
        self._folder = Path(ring_dir) / check_name("stream", stream)
        self._fds: OrderedDict[str, int] = OrderedDict()  # least recently used first
        self._decoder = codec.Codec(FrameHeader, max_bytes=HEADER_MAX_BYTES)

    def read(self, payload: Payload) -> bytes:
        """The payload's bytes.

        Raises:
            Evicted: they are gone.
        """
        fd = self._open(payload.segment)
        if payload.offset + payload.length <= os.fstat(fd).st_size:
            data = os.pread(fd, payload.length, payload.offset)
            if len(data) == payload.length:  # else it was cut short meanwhile
                return data
        raise Evicted(f"{self._folder / payload.segment} ends before the {payload.length} bytes at {payload.offset}")

    def scan(self, epoch: int | None = None, *, since: FrameHeader | None = None) -> Iterator[FrameHeader]:
        """The headers of all frames that can be read now, oldest first; of one epoch or of all.

        Segments that vanish meanwhile are left out, and those before the one that holds `since`.
        """
        first = _place(since.payloads[0].segment) if since is not None and since.payloads else (0, 0)
        for segment in _existing(self._folder):
            if epoch in (None, segment.epoch) and _place(segment.path.name) >= first:
                yield from self._scan_segment(segment.path)

    def close(self) -> None:
        """Close all segments. The reader may be used again."""
        while self._fds:
            os.close(self._fds.popitem()[1])

    def __enter__(self) -> RingReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, name: str) -> int:
        fd = self._fds.get(name)
        if fd is None:
            self._let_go_of_deleted()
            try:
                fd = os.open(self._folder / name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise Evicted(
                    f"{self._folder / name} is gone: read sooner, or raise the ring's length and size"
                ) from None
            self._fds[name] = fd
            if len(self._fds) > _OPEN_SEGMENTS:
                os.close(self._fds.popitem(last=False)[1])
        self._fds.move_to_end(name)
        return fd

    def _let_go_of_deleted(self) -> None:
        for name in [name for name, fd in self._fds.items() if os.fstat(fd).st_nlink == 0]:
            os.close(self._fds.pop(name))

    def _scan_segment(self, path: Path) -> Iterator[FrameHeader]:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # not from the cache: it may close under us
        except FileNotFoundError:
            return
        try:
            offset = 0
            while (record := self._record_at(fd, offset)) is not None:
                header, offset = record
                yield header
        finally:
            os.close(fd)

    def _record_at(self, fd: int, offset: int) -> tuple[FrameHeader, int] | None:
        """The header of the record at `offset` and the offset after it; None where no whole record is."""
        prefix = os.pread(fd, PREFIX.size, offset)
        if len(prefix) < PREFIX.size:
            return None
        magic, header_bytes, payload_bytes = PREFIX.unpack(prefix)
        header_at = offset + PREFIX.size + payload_bytes
        if magic == MAGIC and header_at + header_bytes > os.fstat(fd).st_size:
            return None  # being written, or its writer died
        try:
            if magic != MAGIC or header_bytes > HEADER_MAX_BYTES:
                raise ProtocolError("no record begins here")
            header = self._decoder.decode(os.pread(fd, header_bytes, header_at))
        except ProtocolError:
            self.damaged_records += 1
            return None
        return header, header_at + header_bytes


def newest_epoch(ring_dir: Path, stream: str) -> int:
    """The highest epoch that the ring of a stream holds; 0 if it is empty."""
    return max((segment.epoch for segment in _existing(Path(ring_dir) / stream)), default=0)


def _with_payload(header: FrameHeader, segment: _Segment, length: int) -> FrameHeader:
    payload = Payload(
        kind="jpeg",
        width=header.width,
        height=header.height,
        segment=segment.path.name,
        offset=segment.size_bytes + PREFIX.size,
        length=length,
    )
    return msgspec.structs.replace(header, payloads=[payload])


def _make_folder(folder: Path) -> None:
    """For the writer alone to change and for its group to read, whatever the umask."""
    with suppress(FileExistsError):
        folder.mkdir(mode=FOLDER_MODE & 0o777, parents=True)
        set_mode(folder, FOLDER_MODE)


def _place(segment: str) -> tuple[int, int]:
    """Epoch and number, as the segment's name says."""
    epoch, _, n = segment.removesuffix(".seg").partition("-")
    return int(epoch), int(n)


def _existing(folder: Path) -> list[_Segment]:
    """The segments in `folder`, oldest first."""
    found: list[_Segment] = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            if _SEGMENT_NAME.match(entry.name) is None:
                continue
            with suppress(FileNotFoundError):
                found.append(_Segment(Path(entry.path), _place(entry.name)[0], entry.stat().st_size))
    return sorted(found, key=lambda segment: _place(segment.path.name))

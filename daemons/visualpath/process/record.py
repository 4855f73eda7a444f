"""The record: exactly what fusion was fed, in files from which each decision can be made again.

A record is a folder of files `<run>-<number>.vprec`. A run is one life of the fusion daemon, named by the UTC time of
its start; its files follow one another. A file is a row of frames, numbers little-endian:

    bytes  what
    4      length of the message
    8      when it was fed, CLOCK_MONOTONIC in ns
    2      number of its stream, in the order of the HEAD
    ...    the message, as MessagePack

The first message is a HEAD. Then come the inputs of `StreamFusion.feed`, in order: OBS, SKIP, BOUND and STREAM as they
came over the wire, PING for a source that is up from then on, DOWN, TICK and BY_HAND; and after an input the TRIGs that
were decided on it. A kill may leave half a frame at the end. Files that are joined in order are a file: where a HEAD
carries on the one before it, it says nothing else.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from visualpath.core.errors import RecordError
from visualpath.core.stream_fusion import ByHand, Firings, Input, SourceDown, Tick
from visualpath.core.units import Duration, Size
from visualpath.process.decision import StreamSetup
from visualpath.runtime.config import FusionConfig
from visualpath_protocol import PROTOCOL_VERSION
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.errors import ProtocolError
from visualpath_protocol.messages import Bound, Message, Obs, Ping, Skip, StreamState, TimeNs, Trig
from visualpath_protocol.sockets import TRIGGERS

FORMAT = 1
SUFFIX = ".vprec"
MAX_BYTES = 16 << 20
"""No message is larger; a length that is, is damage."""

_PREFIX = struct.Struct("<IQH")
_NAME = re.compile(r"(\d{8}T\d{6}\.\d{3}Z)-(\d{6})" + re.escape(SUFFIX))


class StreamHead(msgspec.Struct, kw_only=True, frozen=True):
    """One stream at the beginning of a file.

    Attributes:
        setup: what its decision is made of.
        firings: the last firing of each label.
        state: the last STREAM.
        sources: those that are up.
    """

    setup: StreamSetup
    firings: Firings
    state: StreamState | None = None
    sources: list[Ping] = []


class Head(Message, tag="HEAD", kw_only=True, frozen=True):
    """Begins a file.

    Attributes:
        run: the run that the file belongs to.
        number: of the file within the run, from 0.
        lost: how many inputs before this file are missing, at least.
        mono_ns, wall_ns: both clocks at its beginning.
        fusion: the section `fusion` of the configuration.
    """

    format: int = FORMAT
    visualpath: str
    protocol: str = PROTOCOL_VERSION
    run: str
    number: int = 0
    lost: int = 0
    mono_ns: TimeNs
    wall_ns: TimeNs
    fusion: dict[str, Any]
    streams: dict[str, StreamHead]

    def carries_on(self, before: Head | None) -> bool:
        """Whether nothing is missing between this file and the one before."""
        if before is None or self.lost:
            return False
        return (self.run, self.number) == (before.run, before.number + 1)

    def fusion_config(self) -> FusionConfig:
        """The section `fusion`.

        Raises:
            RecordError: this version of visualpath does not know such.
        """
        try:
            return msgspec.convert(self.fusion, FusionConfig, dec_hook=lambda kind, value: kind(value))
        except msgspec.ValidationError as error:
            raise RecordError(f"the record is of visualpath {self.visualpath}: fusion: {error}") from error


@dataclass(frozen=True, slots=True)
class Entry:
    """One message of a record; `body` is its bytes."""

    now_ns: int
    stream: str
    message: Input | Trig
    body: bytes


_codec: Codec[Any] = Codec(
    Head, Obs, Skip, Bound, StreamState, Ping, SourceDown, Tick, ByHand, Trig, max_bytes=MAX_BYTES
)
_trig_codec = Codec(Trig, max_bytes=TRIGGERS.max_bytes)


def pack(now_ns: int, stream: int, body: bytes) -> bytes:
    """One frame."""
    return _PREFIX.pack(len(body), now_ns, stream) + body


def builtins_of(fusion: FusionConfig) -> dict[str, Any]:
    """The section `fusion` as a HEAD has it."""
    plain: dict[str, Any] = msgspec.to_builtins(fusion, enc_hook=_plain_quantity)
    return plain


def _plain_quantity(value: Any) -> int:
    if isinstance(value, (Duration, Size)):
        return int(value)
    raise TypeError(f"a {type(value).__name__} has no place in the section fusion")


def trig_body(trig: Trig) -> bytes | None:
    """A TRIG's bytes; None for one of a plug-in that nobody could read, which is not sent either."""
    try:
        body = encode(trig)
        _trig_codec.decode(body)
    except (TypeError, ProtocolError):
        return None
    return body


def file_name(run: str, number: int) -> str:
    """The name of a file of a run."""
    return f"{run}-{number:06}{SUFFIX}"


def runs_in(folder: Path) -> dict[str, list[Path]]:
    """The files of each run, the oldest run first."""
    runs: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if name := _NAME.fullmatch(path.name):
            runs.setdefault(name[1], []).append(path)
    return runs


def files_at(path: Path) -> list[Path]:
    """The file, or the files of the latest run of a folder.

    Raises:
        RecordError: there are none.
    """
    if path.is_file():
        return [path]
    runs = runs_in(path)
    if not runs:
        raise RecordError(f"{path}: no record there")
    return runs[max(runs)]


class RecordReader:
    """Reads files in order, as if they were one.

    Attributes:
        damage: what was wrong in the files read so far.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = list(paths)
        self.damage: list[str] = []

    def __iter__(self) -> Iterator[Head | Entry]:
        """Each HEAD and each message.

        What is damaged ends its file, and the next HEAD says that something is lost. Half a frame at the end of the
        last file is no damage.

        Raises:
            RecordError: a file is no record, or of another format, or cannot be opened; or all are empty.
        """
        empty = True
        told = 0
        for path in self._paths:
            try:
                with path.open("rb") as file:
                    for said in self._read(path, file):
                        empty = False
                        if isinstance(said, Head) and len(self.damage) > told:
                            told = len(self.damage)
                            yield msgspec.structs.replace(said, lost=max(1, said.lost))
                        else:
                            yield said
            except OSError as error:
                raise RecordError(f"{path}: {error.strerror}") from error
        if empty:
            raise RecordError(f"{', '.join(map(str, self._paths))}: nothing is recorded there")

    def _read(self, path: Path, file: BinaryIO) -> Iterator[Head | Entry]:
        names: list[str] = []
        end = 0
        for now_ns, number, body in _frames(file):
            try:
                message = _codec.decode(body)
                if isinstance(message, Head):
                    names = list(_of_this_format(path, message).streams)
                    yield message
                else:
                    yield Entry(now_ns, names[number], message, body)
            except (ProtocolError, IndexError) as error:
                if not names:
                    raise RecordError(f"{path}: is no record of visualpath") from error
                self.damage.append(f"{path.name}: damaged at byte {end}; the rest is left out")
                return
            end = file.tell()
        if file.seek(0, os.SEEK_END) > end and path != self._paths[-1]:
            self.damage.append(f"{path.name}: ends in the middle of a frame")


def _frames(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Each whole frame: when, stream, message."""
    while len(prefix := file.read(_PREFIX.size)) == _PREFIX.size:
        length, now_ns, number = _PREFIX.unpack(prefix)
        body = file.read(min(length, MAX_BYTES + 1))
        if len(body) < length <= MAX_BYTES:
            return
        yield now_ns, number, body


def joined(paths: Iterable[Path]) -> Iterator[bytes]:
    """The frames of one file that says what these say; RecordError as `RecordReader`."""
    names: list[str] = []
    for said in RecordReader(paths):
        if isinstance(said, Head):
            names = list(said.streams)
            yield pack(said.mono_ns, 0, encode(said))
        else:
            yield pack(said.now_ns, names.index(said.stream), said.body)


def _of_this_format(path: Path, head: Head) -> Head:
    if head.format != FORMAT:
        raise RecordError(f"{path}: is of format {head.format}; visualpath {head.visualpath} reads it")
    return head

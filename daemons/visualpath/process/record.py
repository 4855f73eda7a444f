"""The record: exactly what fusion was fed, in files from which each decision can be made again.

A record is a folder of files `<run>-<number>.vprec`. A run is one life of the fusion daemon, named by a rising number
(the clock may be set back) and the UTC time of its start; its files follow one another. A file is a row of frames,
numbers little-endian:

    bytes  what
    4      length of the message
    8      when it was fed, CLOCK_MONOTONIC in ns
    2      number of its stream, in the order of the HEAD
    4      CRC-32 of the message
    4      CRC-32 of the 18 bytes before: a length that is damaged is no frame that a kill has cut off
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
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from visualpath.core.errors import RecordError, RuleError
from visualpath.core.stream_types import ByHand, Firings, Input, SourceDown, Tick
from visualpath.core.units import Duration, Size, decode_number
from visualpath.process.decision import StreamSetup
from visualpath.runtime.redaction import Redaction, filled
from visualpath.runtime.sections import FusionConfig
from visualpath_protocol import PROTOCOL_VERSION
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.errors import ProtocolError
from visualpath_protocol.messages import Bound, Message, Obs, Ping, Skip, StreamState, TimeNs, Trig
from visualpath_protocol.sockets import TRIGGERS

FORMAT = 2
SUFFIX = ".vprec"
ERROR_MAX = 200
MAX_BYTES = 16 << 20
"""No message is larger; a length that is, is damage."""

_PREFIX = struct.Struct("<IQHI")
_PREFIX_CRC = struct.Struct("<I")
_PREFIX_BYTES = _PREFIX.size + _PREFIX_CRC.size
_NAME = re.compile(r"((\d{6,})-\d{8}T\d{6}\.\d{3}Z)-(\d{6,})" + re.escape(SUFFIX))


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
        run: the run that the file belongs to: its number and when it began.
        number: of the file within the run, from 0.
        lost: how many inputs before this file are missing, at least.
        mono_ns, wall_ns: both clocks at its beginning.
        fusion: the section `fusion` of the configuration, with `${NAME}` where a secret stood.
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
        """The section `fusion`; a secret comes from the environment, as it does for the configuration.

        Raises:
            RecordError: this version of visualpath does not know such, or a variable is not set.
        """
        try:
            written = filled(self.fusion, os.environ)
            fusion = msgspec.convert(written, FusionConfig, dec_hook=decode_number)
            for rule in fusion.rules:
                rule.condition()
                rule.score_signal()
        except KeyError as error:
            raise RecordError(f"the record's fusion needs the environment variable {error.args[0]}: set it") from None
        except (msgspec.ValidationError, RuleError) as error:
            text = f"the record is of visualpath {self.visualpath[:32]}: fusion: {str(error)[:ERROR_MAX]}"
            raise RecordError(text) from error
        return fusion


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
    prefix = _PREFIX.pack(len(body), now_ns, stream, zlib.crc32(body))
    return prefix + _PREFIX_CRC.pack(zlib.crc32(prefix)) + body


def builtins_of(fusion: FusionConfig, redaction: Redaction) -> dict[str, Any]:
    """The section `fusion` as a HEAD has it."""
    plain: dict[str, Any] = redaction.of(msgspec.to_builtins(fusion, enc_hook=_plain_quantity))
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


def head_body(head: Head) -> bytes:
    """A HEAD's bytes.

    Raises:
        TypeError, ProtocolError: it holds what nobody could read.
    """
    body = encode(head)
    _codec.decode(body)
    return body


def file_name(run: str, number: int) -> str:
    """The name of a file of a run."""
    return f"{run}-{number:06}{SUFFIX}"


def runs_in(folder: Path) -> dict[str, list[Path]]:
    """The files of each run, the oldest run first."""
    names = [(name, path) for path in folder.glob(f"*{SUFFIX}") if (name := _NAME.fullmatch(path.name))]
    runs: dict[str, list[Path]] = {}
    for name, path in sorted(names, key=lambda each: (int(each[0][2]), each[0][1], int(each[0][3]))):
        runs.setdefault(name[1], []).append(path)
    return runs


def next_run_number(folder: Path) -> int:
    """One more than the highest of a run in the folder."""
    return max((int(run.split("-")[0]) for run in runs_in(folder)), default=0) + 1


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
    return list(runs.values())[-1]


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

        What is damaged ends its file, and the next HEAD says that something is lost; so it is with a file that the
        daemon has deleted meanwhile to make room. Half a frame at the end of the last file is no damage.

        Raises:
            RecordError: a file is of another format, or cannot be opened; or there is nothing in any of them.
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
            except FileNotFoundError:
                self.damage.append(f"{path.name}: is no longer there")
            except OSError as error:
                raise RecordError(f"{path}: {error.strerror}") from error
        if empty:
            what = "; ".join(self.damage) or "nothing is recorded there"
            raise RecordError(f"{', '.join(map(str, self._paths))}: {what}")

    def _read(self, path: Path, file: BinaryIO) -> Iterator[Head | Entry]:
        names: list[str] = []
        end = 0
        try:
            for now_ns, number, body in _frames(file):
                message = _codec.decode(body)
                if isinstance(message, Head):
                    names = list(_of_this_format(path, message).streams)
                    yield message
                else:
                    yield Entry(now_ns, names[number], message, body)
                end = file.tell()
        except (_DamagedFrame, ProtocolError, IndexError):
            what = f"damaged at byte {end}; the rest is left out" if names else "is no record of visualpath"
            self.damage.append(f"{path.name}: {what}")
            return
        if file.seek(0, os.SEEK_END) > end and path != self._paths[-1]:
            self.damage.append(f"{path.name}: ends in the middle of a frame")


class _DamagedFrame(Exception):
    """A frame is not what was written."""


def _frames(file: BinaryIO) -> Iterator[tuple[int, int, bytes]]:
    """Each whole frame: when, stream, message."""
    while len(prefix := file.read(_PREFIX_BYTES)) == _PREFIX_BYTES:
        length, now_ns, number, body_crc = _PREFIX.unpack_from(prefix)
        crc = zlib.crc32(prefix[: _PREFIX.size])
        if _PREFIX_CRC.unpack_from(prefix, _PREFIX.size) != (crc,) or length > MAX_BYTES:
            raise _DamagedFrame
        body = file.read(length)
        if len(body) < length:
            return
        if zlib.crc32(body) != body_crc:
            raise _DamagedFrame
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
        raise RecordError(f"{path}: is of format {head.format}; visualpath {head.visualpath[:32]} reads it")
    return head

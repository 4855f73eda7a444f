"""A record as a line of JSON, there and back."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

import msgspec

from visualpath.observability.records import Stamped, TraceRecord
from visualpath_protocol.messages import TimeNs


class _Stamp(msgspec.Struct):
    """What a line has besides its record."""

    mono_ns: TimeNs
    wall_ns: TimeNs
    daemon: str


_encoder = msgspec.json.Encoder()
_records: Any = reduce(or_, TraceRecord.__subclasses__())
_record_decoder = msgspec.json.Decoder(_records)
_stamp_decoder = msgspec.json.Decoder(_Stamp)


def encode_line(stamped: Stamped) -> bytes:
    """One JSON object and a newline.

    Raises:
        TypeError, ValueError: the record holds what has no form in JSON.
    """
    stamp = _Stamp(stamped.mono_ns, stamped.wall_ns, stamped.daemon)
    return b"%b,%b\n" % (_encoder.encode(stamped.record)[:-1], _encoder.encode(stamp)[1:])


def decode_line(line: bytes) -> Stamped:
    """What `encode_line` has written; fields that this version does not know are skipped.

    Raises:
        msgspec.MsgspecError: this is no such line, or a record of a kind that this version does not know.
    """
    try:
        stamp = _stamp_decoder.decode(line)
        return Stamped(_record_decoder.decode(line), stamp.mono_ns, stamp.wall_ns, stamp.daemon)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(str(error)) from error

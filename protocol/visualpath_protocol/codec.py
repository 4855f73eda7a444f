"""Bytes to messages and back.

MessagePack, typed by msgspec: unknown fields are skipped (forward compatibility), wrong types and
values are refused. numpy arrays travel as extension type 1: MessagePack [dtype, shape, bytes],
dtype in numpy's little-endian notation, bytes in C order.
"""

from __future__ import annotations

import math
from functools import lru_cache, reduce
from typing import Any, Generic, TypeVar

import msgspec
import numpy as np

from visualpath_protocol.errors import MalformedMessage, OversizedMessage, VersionMismatch
from visualpath_protocol.messages import TEXT_MAX, Message
from visualpath_protocol.version import PROTOCOL_MAJOR

ARRAY_EXT_CODE = 1
ARRAY_MAX_NDIM = 8
_ARRAY_DTYPES = frozenset(["|b1", "|i1", "|u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", "<f2", "<f4", "<f8"])
_ERROR_TEXT_MAX = 200
"""Characters of a decoder's complaint that are kept: it quotes the peer's bytes, which may be a megabyte."""

M = TypeVar("M", bound=Message)


def _enc_hook(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        if little.dtype.str not in _ARRAY_DTYPES:
            raise TypeError(f"arrays of dtype {value.dtype} do not go over the wire; use bool, integers or floats")
        if value.ndim > ARRAY_MAX_NDIM:
            raise TypeError(f"arrays of {value.ndim} dimensions do not go over the wire; use at most {ARRAY_MAX_NDIM}")
        packed = msgspec.msgpack.encode([little.dtype.str, list(value.shape), little.tobytes()])
        return msgspec.msgpack.Ext(ARRAY_EXT_CODE, packed)
    if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
        return value.item()
    raise TypeError(f"objects of type {type(value).__name__} do not go over the wire; use builtins or numpy arrays")


def _ext_hook(code: int, data: memoryview) -> Any:
    if code != ARRAY_EXT_CODE:
        raise ValueError(f"unknown extension type {code}")
    dtype, shape, raw = msgspec.msgpack.decode(data, type=tuple[str, list[int], bytes])
    if dtype not in _ARRAY_DTYPES or any(n < 0 for n in shape) or len(shape) > ARRAY_MAX_NDIM:
        raise ValueError(f"array with dtype {dtype!r} and shape {shape} refused")
    if math.prod(shape) * np.dtype(dtype).itemsize != len(raw):
        raise ValueError(f"array of shape {shape} and dtype {dtype} cannot have {len(raw)} bytes")
    return np.frombuffer(raw, dtype=dtype).reshape(shape)


_encoder = msgspec.msgpack.Encoder(enc_hook=_enc_hook)


def encode(message: Message) -> bytes:
    """The message as MessagePack.

    Raises:
        TypeError: a value (say, in `data`) that has no form on the wire.
    """
    return _encode(message)


def pack(value: Any, kind: Any) -> msgspec.Raw:
    """A part of a message in its wire form, to be placed in the message as it is; later changes do not reach it.

    Args:
        kind: the type of the message's field.

    Raises:
        TypeError: a value that has no form on the wire, or that no receiver takes for a `kind`.
    """
    packed = _encode(value)
    try:
        msgspec.msgpack.decode(packed, type=kind, ext_hook=_ext_hook)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise TypeError(f"nobody would take the value: {str(error)[:_ERROR_TEXT_MAX]}") from error
    return msgspec.Raw(packed)


def fit_text(text: str) -> str:
    """What a field of type text takes: no UTF-8 becomes a question mark, and what is too long is cut off."""
    return text[:TEXT_MAX].encode(errors="replace").decode()


def _encode(value: Any) -> bytes:
    try:
        return _encoder.encode(value)
    except (OverflowError, RecursionError, ValueError) as error:
        raise TypeError(f"the value does not go over the wire: {error}") from error


class _Envelope(msgspec.Struct):
    """What every major version keeps: the tag, the version, and a COMMAND's id; another message's may be anything."""

    t: str
    v: int
    id: Any = ""


class Codec(Generic[M]):
    """Decoder of one link: takes just the message types that may arrive there, up to `max_bytes`."""

    def __init__(self, *types: type[M], max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._names = ", ".join(kind.__struct_config__.tag or "" for kind in types)  # type: ignore[misc]
        union: Any = reduce(lambda a, b: a | b, types)  # type: ignore[arg-type, return-value]
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(union, ext_hook=_ext_hook)

    def decode(self, data: bytes | memoryview) -> M:
        """One message.

        Raises:
            OversizedMessage: more than `max_bytes`.
            VersionMismatch: another major version of the protocol.
            MalformedMessage: anything else that is no message of this link.
        """
        if len(data) > self.max_bytes:
            raise OversizedMessage(f"{len(data)} bytes where at most {self.max_bytes} are allowed")
        try:
            message = self._decoder.decode(data)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            _check_version(data)
            raise MalformedMessage(f"no valid {self._names}: {str(error)[:_ERROR_TEXT_MAX]}") from error
        if message.v != PROTOCOL_MAJOR:
            tag, message_id = str(message.__struct_config__.tag), getattr(message, "id", "")
            raise VersionMismatch(tag, message.v, PROTOCOL_MAJOR, message_id=message_id)
        return message


def _check_version(data: bytes | memoryview) -> None:
    """Say "wrong version" rather than "malformed" where that is the reason."""
    try:
        envelope = _envelope_decoder().decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return
    if envelope.v != PROTOCOL_MAJOR:
        message_id = envelope.id if isinstance(envelope.id, str) else ""
        raise VersionMismatch(envelope.t, envelope.v, PROTOCOL_MAJOR, message_id=message_id)


@lru_cache(maxsize=1)
def _envelope_decoder() -> msgspec.msgpack.Decoder[_Envelope]:
    return msgspec.msgpack.Decoder(_Envelope)

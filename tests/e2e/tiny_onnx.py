"""Writes ONNX files, without the package onnx: as much of its protobuf format as the tiny models of the tests need.

Field numbers are those of onnx.proto3.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FLOAT, INT64 = 1, 7
INT, INTS = 2, 7  # types of an attribute
IR_VERSION, OPSET = 8, 13


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*out, number])


def field(number, value):
    """One field: an int as a varint, text or bytes or another message with its length before it."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def tensor(name, array):
    kind = INT64 if array.dtype == np.int64 else FLOAT
    dims = b"".join(field(1, size) for size in array.shape)
    return dims + field(2, kind) + field(8, name) + field(9, array.tobytes())


def value(name, shape):
    """A float input or output; a dimension that is text is open."""
    dims = b"".join(field(1, field(1, size) if isinstance(size, int) else field(2, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, FLOAT) + field(2, dims)))


def attribute(name, given):
    if isinstance(given, int):
        return field(1, name) + field(3, given) + field(20, INT)
    return field(1, name) + b"".join(field(8, each) for each in given) + field(20, INTS)


class Graph:
    """A model that grows node by node; a node's name is that of its output."""

    def __init__(self, **inputs):
        self._body = [field(11, value(name, shape)) for name, shape in inputs.items()]
        self._count = 0

    def constant(self, array):
        self._count += 1
        array = np.asarray(array)
        name = f"c{self._count}"
        kept = array if array.dtype == np.int64 else array.astype(np.float32)
        self._body.append(field(5, tensor(name, np.ascontiguousarray(kept))))
        return name

    def node(self, kind, *inputs, out=None, **attributes):
        self._count += 1
        out = out or f"n{self._count}"
        body = b"".join(field(1, name) for name in inputs) + field(2, out) + field(3, out) + field(4, kind)
        body += b"".join(field(5, attribute(name, given)) for name, given in attributes.items())
        self._body.append(field(1, body))
        return out

    def output(self, name, shape):
        self._body.append(field(12, value(name, shape)))

    def save(self, path: Path):
        graph = b"".join(self._body) + field(2, "tiny")
        path.write_bytes(field(1, IR_VERSION) + field(7, graph) + field(8, field(1, "") + field(2, OPSET)))

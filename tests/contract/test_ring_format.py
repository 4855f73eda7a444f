"""A segment of the ring, read by hand as PROTOCOL.md says."""

import re
import struct
from pathlib import Path

import msgpack
import pytest

from visualbase.ring import HEADER_MAX_BYTES, MAGIC, RingWriter
from visualpath_protocol.messages import FrameHeader

PICTURES = [b"\xff\xd8 first \xff\xd9", b"\xff\xd8 the second one \xff\xd9"]


@pytest.fixture
def folder(tmp_path):
    """The folder of a stream with the two pictures in epoch 3."""
    with RingWriter(tmp_path, "cam1", 3, max_seconds=10, max_bytes=1 << 20) as ring:
        for frame_id, picture in enumerate(PICTURES):
            header = FrameHeader(
                stream="cam1",
                epoch=3,
                frame_id=frame_id,
                t_ns=frame_id * 40_000_000,
                wall_ns=1,
                mono_ns=2,
                width=64,
                height=48,
                payloads=[],
            )
            ring.append(header, picture)
    return tmp_path / "cam1"


def records(data):
    """(header as a map, payload) of each record."""
    offset = 0
    while offset < len(data):
        magic, header_bytes, payload_bytes = struct.unpack_from("<4sII", data, offset)
        assert magic == b"VPR1"
        payload_end = offset + 12 + payload_bytes
        offset_after = payload_end + header_bytes
        yield msgpack.unpackb(data[payload_end:offset_after]), data[offset + 12 : payload_end]
        offset = offset_after


def test_the_first_segment_of_an_epoch_has_number_0(folder):
    assert [path.name for path in folder.iterdir()] == ["3-0.seg"]


def test_a_segment_is_a_row_of_prefix_payload_and_header(folder):
    found = list(records((folder / "3-0.seg").read_bytes()))
    assert [payload for _, payload in found] == PICTURES
    assert [(header["t"], header["frame_id"]) for header, _ in found] == [("FRAME", 0), ("FRAME", 1)]


def test_a_header_says_where_its_payload_lies(folder):
    data = (folder / "3-0.seg").read_bytes()
    for header, payload in records(data):
        [place] = header["payloads"]
        assert (place["kind"], place["segment"]) == ("jpeg", "3-0.seg")
        assert data[place["offset"] : place["offset"] + place["length"]] == payload


def test_the_page_has_the_magic_and_the_limit_of_the_code():
    page = (Path(__file__).parents[2] / "protocol" / "PROTOCOL.md").read_text(encoding="utf-8")
    assert f"| magic `{MAGIC.decode()}` |" in page
    assert re.search(rf"length of the header, .* at most {HEADER_MAX_BYTES} ", page)

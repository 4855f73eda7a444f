"""PROTOCOL.md says what the code does: version, links, messages, fields, defaults."""

import json
import re
from pathlib import Path

import msgspec
import pytest
import zmq

from visualpath_protocol import sockets
from visualpath_protocol.codec import _ARRAY_DTYPES, ARRAY_EXT_CODE, ARRAY_MAX_NDIM
from visualpath_protocol.endpoints import IPC_PATH_MAX_BYTES
from visualpath_protocol.messages import MESSAGES, ErrorBody, Evidence, ObservationBody, Payload, make_trig_id
from visualpath_protocol.version import PROTOCOL_MAJOR, PROTOCOL_VERSION

TEXT = (Path(__file__).parents[2] / "protocol" / "PROTOCOL.md").read_text(encoding="utf-8")

PARTS = {"Payload": Payload, "Observation": ObservationBody, "Evidence": Evidence, "Error": ErrorBody}
STRUCTS = {kind.__struct_config__.tag: kind for kind in MESSAGES} | PARTS
UNITS = {"KiB": sockets.KIB, "MiB": sockets.MIB, "ms": 1}
ZMQ_NAMES = {zmq.XPUB: "XPUB", zmq.SUB: "SUB", zmq.PULL: "PULL", zmq.PUSH: "PUSH", zmq.ROUTER: "ROUTER"}
ZMQ_NAMES |= {zmq.DEALER: "DEALER"}


def section(level, title):
    """The text from a heading to the next one of any level."""
    found = re.search(rf"^{'#' * level} {re.escape(title)}\n(.*?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, f"PROTOCOL.md has no section {title}"
    return found[1]


def prose(text):
    """The text without its line breaks."""
    return " ".join(text.split())


def first_table(text):
    """The rows of the first table as maps by column name."""
    lines = re.search(r"((?:^\|.*\n)+)", text, re.MULTILINE)
    assert lines, "the section has no table"
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[1].splitlines()]
    assert all(len(row) == len(header) for row in rows), "a row has another number of cells than its header"
    return [dict(zip(header, row, strict=True)) for row in rows]


def quantity(cell):
    """`64 KiB` as 65536."""
    number, unit = cell.split()
    return int(number) * UNITS[unit]


def options(cell):
    """`IMMEDIATE 1` as the link's table of options."""
    return {getattr(zmq, name): int(value) for name, value in (option.split() for option in cell.split(",") if option)}


def documented_fields(name):
    return first_table(section(3 if name.isupper() else 4, name))


def fields(name):
    """The struct's fields; `v` is told once for all messages."""
    return [field for field in msgspec.structs.fields(STRUCTS[name]) if field.name != "v"]


def documented_default(row):
    """The JSON behind `=` in the type column, or NODEFAULT."""
    found = re.search(r"= `(.*)`$", row["type"])
    return json.loads(found[1]) if found else msgspec.NODEFAULT


def default(field):
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else field.default


def test_the_version_is_the_codes():
    assert TEXT.splitlines()[2] == f"Version: {PROTOCOL_VERSION}"


def test_the_major_version_is_the_v_of_the_messages():
    assert PROTOCOL_VERSION.split(".")[0] == str(PROTOCOL_MAJOR)
    assert re.search(rf"`v` is the major version, {PROTOCOL_MAJOR}\.", prose(TEXT))


def test_there_is_one_section_for_each_message_in_their_order():
    tags = re.findall(r"^### ([A-Z]+)$", TEXT, re.MULTILINE)
    assert tags == [kind.__struct_config__.tag for kind in MESSAGES]


def test_there_is_one_section_for_each_part_of_a_message():
    assert re.findall(r"^#### (.+)$", TEXT, re.MULTILINE) == list(PARTS)


@pytest.mark.parametrize("name", STRUCTS)
def test_a_field_table_lists_the_fields_in_their_order(name):
    assert [row["field"] for row in documented_fields(name)] == [f"`{field.name}`" for field in fields(name)]


@pytest.mark.parametrize("name", STRUCTS)
def test_a_field_table_says_what_is_optional_and_its_default(name):
    documented = {row["field"].strip("`"): documented_default(row) for row in documented_fields(name)}
    actual = {field.name: default(field) for field in fields(name)}
    assert {n: (type(d), d) for n, d in documented.items()} == {n: (type(d), d) for n, d in actual.items()}


@pytest.mark.parametrize("name", STRUCTS)
def test_a_field_of_a_closed_list_lists_its_words(name):
    types = {row["field"].strip("`"): row["type"] for row in documented_fields(name)}
    for field in fields(name):
        if isinstance(inspected := msgspec.inspect.type_info(field.type), msgspec.inspect.LiteralType):
            words = re.findall(r"`([a-z]+)`", types[field.name].split(" = ")[0])
            assert sorted(words) == sorted(inspected.values)


@pytest.mark.parametrize("name", STRUCTS)
def test_a_time_in_ns_has_its_unit(name):
    for row in documented_fields(name):
        assert row["field"].endswith("_ns`") == (row["unit"] == "ns")


def test_the_links_are_the_codes():
    assert [row["link"] for row in first_table(section(2, "Links"))] == [f"`{link.name}`" for link in sockets.LINKS]


@pytest.mark.parametrize("link", sockets.LINKS, ids=lambda link: link.name)
def test_a_link_has_the_documented_options(link):
    row = next(row for row in first_table(section(2, "Links")) if row["link"] == f"`{link.name}`")
    assert row["binds"].split(",")[0] == ZMQ_NAMES[link.bind_type]
    assert row["connects"].split(",")[0] == ZMQ_NAMES[link.connect_type]
    assert int(row["HWM"]) == link.hwm
    assert quantity(row["largest part"]) == link.max_bytes
    assert quantity(row["LINGER"]) == link.linger_ms
    assert options(row["bind options"]) == link.bind_options
    assert options(row["connect options"]) == link.connect_options


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("HANDSHAKE_IVL", sockets.HANDSHAKE_MS),
        ("RECONNECT_IVL", sockets.RECONNECT_FIRST_MS),
        ("RECONNECT_IVL_MAX", sockets.RECONNECT_MAX_MS),
    ],
)
def test_the_times_of_all_sockets_are_the_codes(option, value):
    found = re.search(rf"\b{option} (\d+) ms", prose(section(2, "Links")))
    assert found, option
    assert int(found[1]) == value


def test_the_room_above_the_largest_part_is_the_codes():
    found = re.search(r"MAXMSGSIZE (\d+ [KM]iB) above the link's largest part", prose(section(2, "Links")))
    assert found
    assert quantity(found[1]) == sockets.ROOM_BYTES


def test_what_an_xpub_takes_is_the_codes():
    found = re.search(r"and (\d+ [KM]iB) on an XPUB", prose(section(2, "Links")))
    assert found
    assert quantity(found[1]) == sockets.XPUB_TAKES_BYTES


def test_arrays_are_the_codecs():
    encoding = prose(section(2, "Encoding"))
    assert f"extension type {ARRAY_EXT_CODE}." in encoding
    listed = re.search(r"dtype one of `(.*?)`", encoding)
    assert listed
    assert set(listed[1].split()) == _ARRAY_DTYPES
    assert f"0 to {ARRAY_MAX_NDIM} non-negative" in encoding


def test_the_limit_of_an_address_is_the_codes():
    assert f"at most {IPC_PATH_MAX_BYTES} bytes of path" in prose(section(2, "Addresses"))


def test_the_example_of_a_trig_id_is_right():
    assert f"give `{make_trig_id('cam1', 3, 'smile', 4_000_000_000)}`" in prose(TEXT)


def test_the_example_of_a_topic_is_right():
    assert f"is the bytes `{sockets.topic('cam1', 'h').hex(' ')}`" in prose(TEXT)


def test_the_options_of_tcp_are_the_codes():
    documented = re.search(r"All tcp sockets: ([^.]+)\.", prose(section(3, "tcp")))[1].split(", ")
    assert {getattr(zmq, name): int(value) for name, value, *_ in map(str.split, documented)} == sockets.TCP_OPTIONS

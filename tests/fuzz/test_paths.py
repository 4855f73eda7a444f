"""No name from the wire or from the YAML leads out of the folder that it belongs into.

Where a name becomes a path: a stream in the ring, the state and the sockets; an extractor in sockets, logs and traces;
a label and a trigger's id in the names of clips; a segment in the ring; a model and its files in the store; a key.
"""

import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from visualbase.errors import Evicted
from visualbase.ring import RingReader, newest_epoch
from visualpath.clip.files import ClipFolder
from visualpath.clip.order import ClipOrder
from visualpath.core.errors import ConfigError
from visualpath.models.manifest import FileName
from visualpath.runtime.config import load_config
from visualpath_protocol.codec import Codec
from visualpath_protocol.endpoints import Endpoints, extractor_daemon, frame_daemon
from visualpath_protocol.errors import InvalidName, ProtocolError
from visualpath_protocol.keys import KeyFileError, KeyFolder
from visualpath_protocol.messages import FrameHeader, Payload, Trig, check_name

WAYS_OUT = (
    "..",
    ".",
    "",
    "/",
    "../x",
    "/etc",
    "a/b",
    "a\\b",
    "a\0",
    "a\n",
    "~",
    ".hidden",
    "a/../../b",
    "é",
    "a" * 300,
    "-",
    "*",
)
BASE = Path("/base/folder")

names = st.one_of(
    st.sampled_from(WAYS_OUT),
    st.text(alphabet="ab0-_./\\\n\0~* ", max_size=40),
    st.text(max_size=40),
    st.from_regex(r"[a-z0-9][a-z0-9_-]{0,31}", fullmatch=True),
)


def is_inside(path, base=BASE):
    """Whether a path is one entry of a folder, or of one below, with a name that shows all it is."""
    below = path.relative_to(base)
    return path.parent == base / below.parent and ".." not in below.parts and str(below).isprintable()


@given(name=names)
def test_a_name_that_is_taken_is_one_entry_of_its_folder(name):
    with contextlib.suppress(InvalidName):
        check_name("stream", name)
        assert (BASE / name).parent == BASE
        assert name.isascii()
        assert name.isprintable()
        assert not name.startswith((".", "-"))


@given(name=names)
def test_no_stream_leads_out_of_the_ring(name):
    with contextlib.suppress(InvalidName):
        RingReader(BASE, name)
        assert is_inside(BASE / name)
        assert newest_epoch(BASE, name) == 0


@given(segment=st.one_of(names, st.from_regex(r"[0-9]{1,30}-[0-9]{1,30}\.seg", fullmatch=True)))
@example(segment="1-0.seg\n")
@example(segment="../cam2/1-0.seg")
def test_no_segment_of_a_frame_leads_out_of_its_streams_ring(segment, tmp_path_factory):
    payload = {"kind": "jpeg", "width": 1, "height": 1, "segment": segment, "offset": 0, "length": 1}
    with contextlib.suppress(msgspec.ValidationError), RingReader(tmp_path_factory.getbasetemp(), "cam1") as reader:
        taken = msgspec.convert(payload, Payload)
        assert is_inside(BASE / taken.segment)
        with pytest.raises(Evicted):
            reader.read(taken)


@given(
    stream=names,
    label=names,
    trig_id=st.one_of(names, st.from_regex(r"[0-9a-f]{16}", fullmatch=True)),
    n=st.integers(0, 2**63),
)
@example(stream="cam1", label="smile", trig_id="0" * 16, n=0)
def test_no_trigger_gives_a_clip_a_name_that_leads_out_of_the_folder_of_its_day(stream, label, trig_id, n):
    fields = {"trig_id": trig_id, "stream": stream, "label": label, "revision": n, "epoch": n, "frame_id": n}
    moment = {"reason": "", "score": 0.5, "t_start_ns": 0, "t_end_ns": n}
    try:
        body = msgspec.msgpack.encode({"t": "TRIG", "v": 1, **fields, **moment})
        trig = Codec(Trig, max_bytes=1 << 16).decode(body)
    except (ProtocolError, OverflowError, ValueError):
        return
    first = FrameHeader(
        stream="cam1", epoch=1, frame_id=n, t_ns=0, wall_ns=n, mono_ns=0, width=1, height=1, payloads=[]
    )  # fmt: skip
    folder = ClipFolder(BASE)
    for clip_id in (trig.trig_id, f"{trig.trig_id}-r{trig.revision}", f"{trig.trig_id}-f{first.frame_id}"):
        order = ClipOrder(clip_id=clip_id, stream=trig.stream, epoch=trig.epoch, asked=(0, 0), triggers=(trig,))
        final = folder.final(order, first)
        assert final.parent.parent == BASE
        assert is_inside(final)
        assert len(final.name) < 200
        for path in (folder.part(clip_id), folder.journal(clip_id), folder.h264(clip_id)):
            assert path.parent == folder.unfinished


@given(stream=names, extractor=names, label=names)
@example(stream="cam1", extractor="face", label="smile")
def test_no_name_in_the_yaml_leads_out_of_a_folder(stream, extractor, label, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "names.yaml"
    sections = {
        "run_dir": "/run/x",
        "streams": {stream: {"source": "a.mp4"}},
        "extractors": {extractor: {}},
        "fusion": {"rules": [{"label": label, "when": "face.count >= 1"}]},
    }
    path.write_bytes(msgspec.json.encode(sections))
    try:
        config = load_config(path)
    except ConfigError:
        return
    for daemon in (*map(frame_daemon, config.streams), *map(extractor_daemon, config.extractors)):
        assert Endpoints(BASE).folder(daemon).parent == BASE
        assert is_inside(BASE / f"{daemon}.jsonl")
    assert all(is_inside(BASE / rule.label) for rule in config.fusion.rules)


@given(name=names)
@example(name="model\n")
def test_no_model_or_file_of_one_leads_out_of_the_store(name):
    with contextlib.suppress(msgspec.ValidationError):
        msgspec.convert(name, FileName)
        assert (BASE / name).parent == BASE
        assert is_inside(BASE / name)


@given(name=names)
def test_no_name_of_a_key_leads_out_of_the_folder_of_keys(name, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "keys"
    outside = folder.parent / "x.pub"
    outside.write_bytes(b"a" * 40)
    with contextlib.suppress(KeyFileError):
        KeyFolder(folder).public(name)
        raise AssertionError(f"{name!r} was found")

"""The record of fusion's inputs: what is written, what is read back, and what is told where something is missing."""

import io
import itertools
import os
import shutil

import msgpack
import msgspec
import pytest

from visualpath.core.errors import ConfigError, RecordError
from visualpath.core.stream_types import ByHand, SourceDown, Tick
from visualpath.process import record_writer
from visualpath.process.record import (
    FORMAT,
    Entry,
    Head,
    RecordReader,
    builtins_of,
    file_name,
    files_at,
    joined,
    pack,
    runs_in,
    trig_body,
)
from visualpath.runtime.config import load_config
from visualpath.runtime.redaction import Redaction, variables
from visualpath.runtime.sections import FusionConfig
from visualpath_protocol.codec import encode
from visualpath_protocol.messages import Obs, Ping, Skip, StreamState, Trig, make_trig_id

MS = 1_000_000


def read(scene):
    """(heads, entries) of all that a scene recorded."""
    scene.end()
    said = list(RecordReader(files_at(scene.folder)))
    return [each for each in said if isinstance(each, Head)], [each for each in said if isinstance(each, Entry)]


def trig(**fields):
    fields = {"label": "smile", "reason": "", "score": 1.0, "frame_id": 1, "t_start_ns": 0, "t_end_ns": 0, **fields}
    return Trig(trig_id=make_trig_id("cam1", 3, "smile", 0), stream="cam1", epoch=3, **fields)


# What is kept ---------------------------------------------------------------------------------------


def test_inputs_come_back_in_order_and_a_trig_after_the_input_that_led_to_it(scene):
    scene.live("face")
    scene.obs("face", 0, count=1.0)
    scene.obs("face", 1, count=1.0)
    scene.skip("face", 2, 3)
    scene.obs("face", 4, count=1.0)
    scene.down("face", 300)
    _, entries = read(scene)
    kinds = [type(each.message) for each in entries]
    assert kinds == [Ping, StreamState, Obs, Obs, Skip, Obs, Trig, SourceDown]


def test_a_message_of_the_wire_is_kept_byte_for_byte_with_the_time_it_was_fed(scene):
    message = Obs(
        source="face", instance="i", seq=1, stream="cam1", epoch=3, frame_id=0, t_ns=0, mono_ns=0, observations=[],
        bound_ns=0,
    )  # fmt: skip
    raw = msgpack.packb({**msgpack.unpackb(encode(message)), "of_a_later_version": 1})
    scene.recorder.put("cam1", message, 77, raw)
    _, (entry,) = read(scene)
    assert (entry.now_ns, entry.stream, entry.body) == (77, "cam1", raw)


@pytest.mark.parametrize(
    "message", [SourceDown(source="face"), Tick(), ByHand(label="look", t_ns=5, frame_id=1, reason="a noise")]
)
def test_inputs_that_are_no_messages_of_the_wire_are_kept(scene, message):
    scene.recorder.put("cam1", message, 5)
    _, (entry,) = read(scene)
    assert entry.message == message


def test_a_head_says_what_decisions_are_made_of(scene):
    (head,), _ = read(scene)
    assert head.fusion_config() == scene.config.fusion
    assert head.streams["cam1"].setup.expected == {"face": (1, 0), "text": (1, 0)}
    assert (head.number, head.lost) == (0, 0)


def test_a_head_has_the_firings_of_earlier_runs(make_scene):
    (head,), _ = read(make_scene(firings={"smile": (3, 70 * MS)}))
    assert head.streams["cam1"].firings == {"smile": (3, 70 * MS)}


def test_a_section_of_a_later_version_is_refused_with_that_version(scene):
    (head,), _ = read(scene)
    later = msgspec.structs.replace(head, visualpath="9.9", fusion={**head.fusion, "magic": 1})
    with pytest.raises(RecordError, match=r"visualpath 9\.9.*magic"):
        later.fusion_config()


def test_a_secret_of_the_section_is_in_the_head_by_its_variables_name_and_comes_from_the_environment(monkeypatch):
    secret = FusionConfig(plugin="mine", config={"token": "hunter22", "limits": ["0.75"]})
    head = Head(
        visualpath="0", run="1", mono_ns=0, wall_ns=0, streams={},
        fusion=builtins_of(secret, Redaction(variables({"TOKEN": "hunter22", "LIMIT": "0.75"}))),
    )  # fmt: skip
    assert head.fusion["config"] == {"token": "${TOKEN}", "limits": ["0.75"]}
    with pytest.raises(RecordError, match="environment variable TOKEN"):
        head.fusion_config()
    monkeypatch.setenv("TOKEN", "hunter22")
    assert head.fusion_config() == secret


def test_values_that_no_yaml_has_are_refused_in_the_head():
    with pytest.raises(TypeError):
        builtins_of(FusionConfig(config={"x": object()}), Redaction({}))


@pytest.mark.parametrize(
    "fields", [{"score": 2.0}, {"metadata": {"x": object()}}, {"metadata": {"x": b"x" * 2_000_000}}]
)
def test_a_trig_that_nobody_could_read_is_none_of_the_record(fields):
    assert trig_body(trig(**fields)) is None
    assert trig_body(trig()) is not None


# Files ----------------------------------------------------------------------------------------------


@pytest.fixture
def small_files(make_scene):
    """A scene whose files hold 1 MiB, and 40 frames of 300 kB."""
    scene = make_scene(more="record: {size: 8MiB}")
    scene.live("face", "text")
    for frame_id in range(40):
        scene.obs("face", frame_id, data=os.urandom(300_000), count=1.0)
        if frame_id % 10 == 9:
            scene.write()
    return scene


def test_a_full_file_is_followed_by_another_and_the_oldest_make_room(small_files):
    small_files.end()
    numbers = [int(path.stem[-6:]) for path in small_files.files()]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[0] > 0
    assert sum(path.stat().st_size for path in small_files.files()) <= 8 << 20


def test_files_of_a_run_carry_on_without_a_gap(small_files):
    heads, _ = read(small_files)
    assert len(heads) > 2
    assert all(head.carries_on(before) for before, head in itertools.pairwise(heads))


def test_a_later_head_knows_who_is_up_and_how_the_stream_is(small_files):
    heads, _ = read(small_files)
    stream = heads[-1].streams["cam1"]
    assert [ping.source for ping in stream.sources] == ["face", "text"]
    assert (stream.state.state, stream.state.epoch) == ("live", 3)


def test_a_later_head_knows_the_last_firing(small_files):
    heads, entries = read(small_files)
    last = [each.message for each in entries if isinstance(each.message, Trig)][-1]
    assert heads[-1].streams["cam1"].firings == {"smile": (3, last.t_end_ns)}


def test_a_source_that_is_down_is_in_no_later_head(small_files):
    small_files.down("text", 3000)
    for frame_id in range(60, 64):
        small_files.obs("face", frame_id, data=os.urandom(300_000), count=1.0)
    heads, _ = read(small_files)
    assert [ping.source for ping in heads[-1].streams["cam1"].sources] == ["face"]


def test_other_files_in_the_folder_are_never_deleted(make_scene):
    scene = make_scene(more="record: {size: 8MiB}")
    scene.folder.mkdir(parents=True, exist_ok=True)
    saved = scene.folder / "a-saved-one.vprec"
    saved.write_bytes(b"x" * (9 << 20))
    scene.obs("face", 0, data=os.urandom(1_000_000))
    scene.obs("face", 1, data=os.urandom(1_000_000))
    scene.end()
    assert saved.exists()


def test_without_a_path_to_a_file_the_latest_run_of_a_folder_is_read(tmp_path):
    first, second = "999999-20260103T000000.000Z", "1000000-20260102T000000.000Z"  # the clock was set back
    for name in (file_name(first, 1), file_name(second, 0), file_name(second, 1), "other.vprec"):
        (tmp_path / name).touch()
    assert [path.name for path in files_at(tmp_path)] == [file_name(second, 0), file_name(second, 1)]
    assert list(runs_in(tmp_path)) == [first, second]


def test_a_folder_without_record_is_refused(tmp_path):
    with pytest.raises(RecordError, match="no record there"):
        files_at(tmp_path)


def test_a_record_of_many_large_files_rolls_too(make_scene):
    scene = make_scene(more="record: {size: 136MiB}")
    for frame_id in range(20):
        scene.obs("face", frame_id, data=bytes(1 << 20))
        scene.write()
    scene.end()
    assert len(scene.files()) == 2


def test_a_run_is_the_latest_although_the_clock_was_set_back(make_scene):
    scene = make_scene(more="record: {size: 8MiB}")
    scene.folder.mkdir(parents=True, exist_ok=True)
    for number in range(8):
        (scene.folder / file_name("000007-20990101T000000.000Z", number)).write_bytes(bytes(1 << 20))
    scene.obs("face", 0)
    scene.end()
    (path,) = files_at(scene.folder)
    assert path.name.startswith("000008-")
    assert not (scene.folder / file_name("000007-20990101T000000.000Z", 0)).exists()


def test_a_file_of_another_run_is_neither_written_nor_deleted(scene, monkeypatch):
    monkeypatch.setattr(record_writer, "file_name", lambda run, number: f"{number}.vprec")
    scene.folder.mkdir(parents=True)
    (scene.folder / "0.vprec").write_bytes(b"of another run")
    scene.obs("face", 0)
    scene.write()
    scene.end()
    assert (scene.folder / "0.vprec").read_bytes() == b"of another run"
    assert scene.counters["dropped.record"] == 1


# What is missing ------------------------------------------------------------------------------------


def refuse(*_args):
    raise OSError(28, "No space left on device")


def test_what_the_disk_refuses_is_counted_and_the_next_head_says_so(scene, monkeypatch):
    scene.live("face")
    scene.write()
    with monkeypatch.context() as full:
        full.setattr(record_writer, "write_whole", refuse)
        scene.obs("face", 0)
        scene.obs("face", 1)
        scene.write()
    scene.obs("face", 2)
    heads, entries = read(scene)
    assert scene.counters["dropped.record"] == 2
    assert [(head.number, head.lost) for head in heads] == [(0, 0), (1, 2)]
    assert not heads[1].carries_on(heads[0])
    assert [e.message.frame_id for e in entries if isinstance(e.message, Obs)] == [2]


def test_while_the_disk_refuses_also_heads_what_is_lost_adds_up(scene, monkeypatch):
    scene.write()
    with monkeypatch.context() as full:
        full.setattr(record_writer, "write_whole", refuse)
        for frame_id in range(5):
            scene.obs("face", frame_id)
            scene.write()
    scene.obs("face", 5)
    heads, _ = read(scene)
    assert heads[-1].lost == scene.counters["dropped.record"] == 5


def test_on_a_full_disk_the_oldest_file_makes_room(scene, monkeypatch):
    scene.folder.mkdir(parents=True)
    oldest, older = (scene.folder / file_name("000001-20260101T000000.000Z", number) for number in (0, 1))
    oldest.touch()
    older.touch()
    write_whole = record_writer.write_whole

    def full_while_the_oldest_is_there(*args):
        refuse() if oldest.exists() else write_whole(*args)

    monkeypatch.setattr(record_writer, "write_whole", full_while_the_oldest_is_there)
    scene.obs("face", 0)
    scene.end()
    assert (scene.counters["dropped.record"], oldest.exists(), older.exists()) == (0, False, True)
    assert [each.message.frame_id for each in read(scene)[1]] == [0]


def test_files_that_got_no_input_are_taken_back(scene, monkeypatch):
    scene.obs("face", 0)
    scene.write()
    write_whole = record_writer.write_whole

    def take_only_heads(file, data):
        if file.tell():
            raise OSError(5, "Input/output error")
        write_whole(file, data)

    with monkeypatch.context() as failing:
        failing.setattr(record_writer, "write_whole", take_only_heads)
        for frame_id in range(1, 5):
            scene.obs("face", frame_id)
            scene.write()
    scene.obs("face", 5)
    heads, entries = read(scene)
    assert (len(scene.files()), [head.lost for head in heads]) == (2, [0, scene.counters["dropped.record"]])
    assert [each.message.frame_id for each in entries if isinstance(each.message, Obs)] == [0, 5]


def test_a_folder_that_was_removed_is_made_anew_and_what_is_lost_is_counted(scene):
    scene.obs("face", 0)
    scene.write()
    shutil.rmtree(scene.folder)
    scene.obs("face", 1)
    scene.write()
    scene.obs("face", 2)
    (head,), (entry,) = read(scene)
    assert (head.number, head.lost, entry.message.frame_id) == (1, 1, 2)
    assert scene.counters["dropped.record"] == 1


@pytest.mark.parametrize("value", [object(), 2**70, "late"])
def test_a_head_that_nobody_could_read_is_none_and_what_it_would_begin_is_counted(make_scene, value):
    scene = make_scene(firings={"smile": (3, value)})
    scene.obs("face", 0)
    scene.write()
    scene.recorder._firings["cam1"].clear()
    scene.obs("face", 1)
    (head,), (entry,) = read(scene)
    assert (head.lost, entry.message.frame_id) == (1, 1)
    assert scene.counters["dropped.record"] == 1


class HalfFull(io.FileIO):
    """Takes one write, of half of what there is."""

    left = 1

    def write(self, data):
        if not self.left:
            refuse()
        self.left -= 1
        return super().write(data[: len(data) // 2])


def test_what_a_full_disk_has_cut_off_is_taken_back(tmp_path):
    (tmp_path / "x").write_bytes(b"before")
    with HalfFull(tmp_path / "x", "ab") as file, pytest.raises(OSError, match="No space"):
        record_writer.write_whole(file, b"twelve bytes")
    assert (tmp_path / "x").read_bytes() == b"before"


def test_a_defect_of_the_writing_thread_is_raised_in_the_loop(scene, monkeypatch):
    def fail(_head):
        raise ZeroDivisionError

    monkeypatch.setattr(scene.recorder._writer, "_begin", fail)
    scene.end()
    with pytest.raises(ZeroDivisionError):
        scene.obs("face", 0)


def test_what_finds_no_room_in_the_queue_is_counted_and_the_next_head_says_so(make_scene, monkeypatch):
    monkeypatch.setattr(record_writer, "QUEUE_MAX_BYTES", 9 << 20)
    scene = make_scene()
    for frame_id in range(12):
        scene.obs("face", frame_id, at_ms=0, t_ms=frame_id, data=os.urandom(900_000))
    assert scene.counters["dropped.record"] == 2
    scene.write()
    scene.obs("face", 12)
    heads, entries = read(scene)
    assert [head.lost for head in heads] == [0, 2]
    assert [e.message.frame_id for e in entries if isinstance(e.message, Obs)] == [*range(10), 12]


def test_a_half_frame_at_the_end_is_no_damage(scene):
    scene.live("face")
    scene.end()
    (path,) = scene.files()
    whole = path.read_bytes()
    for cut in range(1, 30):
        path.write_bytes(whole[:-cut])
        reader = RecordReader([path])
        assert len(list(reader)) == 2
        assert reader.damage == []


@pytest.mark.parametrize("garbage", [pack(0, 0, b"no message"), pack(0, 9, encode(Tick())), bytes(100), b"\xff" * 100])
def test_damage_ends_the_file_and_is_told(scene, garbage):
    scene.live("face")
    scene.end()
    (path,) = scene.files()
    path.write_bytes(path.read_bytes() + garbage)
    reader = RecordReader([path])
    assert len(list(reader)) == 3
    assert "damaged at byte" in reader.damage[0]


def test_each_flipped_bit_is_damage(scene):
    scene.live("face")
    scene.end()
    (path,) = scene.files()
    whole = path.read_bytes()
    begin = len(whole) - len(pack(0, 0, read(scene)[1][-1].body))
    for bit in range(begin * 8, len(whole) * 8):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        reader = RecordReader([path])
        assert len(list(reader)) == 2
        assert reader.damage == [f"{path.name}: damaged at byte {begin}; the rest is left out"]


def test_a_file_without_a_head_ends_nothing_but_itself(small_files):
    small_files.end()
    first, second, *_ = small_files.files()
    first.write_bytes(b"garbage" * 10)
    reader = RecordReader([first, second])
    assert next(iter(reader)).lost == 1
    assert reader.damage == [f"{first.name}: is no record of visualpath"]


def test_a_file_that_rolls_off_while_others_are_read_is_told(small_files):
    small_files.end()
    first, second, *_ = small_files.files()
    reader = RecordReader([first, second])
    first.unlink()
    assert len(list(reader)) > 1
    assert reader.damage == [f"{first.name}: is no longer there"]


def test_a_condition_of_another_grammar_is_refused_with_the_version(scene):
    (head,), _ = read(scene)
    rules = [{**head.fusion["rules"][0], "when": "face.count => 1"}]
    other = msgspec.structs.replace(head, visualpath="9.9", fusion={**head.fusion, "rules": rules})
    with pytest.raises(RecordError, match=r"visualpath 9\.9.*face\.count => 1"):
        other.fusion_config()


@pytest.mark.parametrize("ns", [float("inf"), float("nan"), 1.5, -1, 2**63, True, "200ms", None, [1]])
def test_a_duration_that_is_no_whole_number_of_ns_is_refused(scene, ns):
    (head,), _ = read(scene)
    rules = [{**head.fusion["rules"][0], "for": ns}]
    other = msgspec.structs.replace(head, fusion={**head.fusion, "rules": rules})
    with pytest.raises(RecordError, match=r"is no whole number of ns or bytes .*rules\[0\]\.for"):
        other.fusion_config()


@pytest.mark.parametrize("content", [b"garbage" * 10, pack(0, 0, encode(Tick()))])
def test_what_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / "x.vprec"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"x\.vprec: is no record of visualpath"):
        list(RecordReader([path]))


def test_an_empty_file_between_others_is_nothing(scene, tmp_path):
    read(scene)
    (tmp_path / "empty").touch()
    assert len(list(RecordReader([tmp_path / "empty", *scene.files()]))) == 1


def test_files_in_which_nothing_is_are_refused(tmp_path):
    (tmp_path / "empty").touch()
    with pytest.raises(RecordError, match="nothing is recorded there"):
        list(RecordReader([tmp_path / "empty"]))


def test_a_record_of_another_format_is_refused_with_its_version(scene, tmp_path):
    (head,), _ = read(scene)
    later = msgspec.structs.replace(head, format=FORMAT + 1, visualpath="9.9")
    (tmp_path / "x.vprec").write_bytes(pack(0, 0, encode(later)))
    with pytest.raises(RecordError, match=rf"format {FORMAT + 1}; visualpath 9\.9 reads it"):
        list(RecordReader([tmp_path / "x.vprec"]))


def test_joined_files_say_what_they_say_apart(small_files, tmp_path):
    small_files.end()
    files = small_files.files()
    (tmp_path / "joined.vprec").write_bytes(b"".join(joined(files)))
    assert list(RecordReader([tmp_path / "joined.vprec"])) == list(RecordReader(files))


def test_what_was_damaged_is_missing_in_the_joined_file(small_files, tmp_path):
    small_files.end()
    first, second, *_ = small_files.files()
    first.write_bytes(first.read_bytes() + b"\xff" * 50)
    (tmp_path / "joined.vprec").write_bytes(b"".join(joined([first, second])))
    heads = [each for each in RecordReader([tmp_path / "joined.vprec"]) if isinstance(each, Head)]
    assert [head.lost for head in heads] == [0, 1]


# Configuration --------------------------------------------------------------------------------------


def test_a_record_too_small_for_its_files_is_refused(tmp_path):
    path = tmp_path / "visualpath.yaml"
    path.write_text("streams: {cam1: {source: a}}\nrecord:\n  size: 1MiB\n")
    with pytest.raises(ConfigError, match=r"visualpath\.yaml:3: record\.size: must be at least 8MiB"):
        load_config(path)


def test_it_lies_in_the_state_directory_if_nothing_else_is_said(tmp_path):
    path = tmp_path / "visualpath.yaml"
    path.write_text("streams: {cam1: {source: a}}\n")
    assert load_config(path).record_dir == tmp_path / "state" / "fusion" / "record"

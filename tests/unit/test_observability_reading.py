"""Reading traces: files that rotate while they are read, and what they say in numbers."""

import pytest

from visualpath.ctl.trace_files import TraceReader, trace_files
from visualpath.ctl.trace_summary import TraceSummary
from visualpath.observability import (
    FrameDropRecord,
    LateRecord,
    SetRecord,
    SyncDelayRecord,
    TimingRecord,
    TriggerRecord,
)
from visualpath.observability.lines import encode_line
from visualpath.observability.records import DroppedRecord, Stamped


@pytest.fixture
def present(tmp_path):
    return tmp_path / "fusion.jsonl"


@pytest.fixture
def reader(tmp_path):
    reader = TraceReader(tmp_path, "fusion", lambda line: line != b"unwanted\n")
    yield reader
    reader.close()


def append(path, *lines):
    with path.open("ab") as file:
        file.writelines(lines)


# Files -------------------------------------------------------------------------------------------------


def test_the_files_of_a_daemon_are_oldest_first_and_of_no_other(tmp_path):
    for name in (
        "fusion.jsonl",
        "fusion.jsonl.2",
        "fusion.jsonl.10",
        "fusion.jsonl.gz",
        "fusion-b.jsonl",
        "clip.jsonl",
    ):
        (tmp_path / name).touch()
    names = [path.name for path in trace_files(tmp_path, "fusion")]
    assert names == ["fusion.jsonl.10", "fusion.jsonl.2", "fusion.jsonl"]


def test_without_files_there_is_nothing(reader):
    assert (reader.last(5), list(reader.added())) == ([], [])


def test_the_last_lines_reach_into_older_files(tmp_path, present, reader):
    append(tmp_path / "fusion.jsonl.2", b"1\n", b"2\n")
    append(tmp_path / "fusion.jsonl.1", b"3\n", b"unwanted\n")
    append(present, b"4\n")
    assert reader.last(3) == [b"2\n", b"3\n", b"4\n"]


@pytest.mark.parametrize(("count", "lines"), [(0, []), (1, [b"2\n"]), (9, [b"1\n", b"2\n"])])
def test_no_more_lines_than_asked_for(present, reader, count, lines):
    append(present, b"1\n", b"2\n")
    assert reader.last(count) == lines


def test_what_is_added_is_read_once(present, reader):
    append(present, b"1\n")
    reader.last(5)
    append(present, b"2\n", b"unwanted\n", b"3\n")
    assert (list(reader.added()), list(reader.added())) == ([b"2\n", b"3\n"], [])


def test_half_a_line_is_read_when_it_is_whole(present, reader):
    append(present, b"1\nhal")
    assert list(reader.added()) == [b"1\n"]
    append(present, b"f\n")
    assert list(reader.added()) == [b"half\n"]


def test_a_rotation_between_two_calls_loses_nothing(tmp_path, present, reader):
    append(present, b"1\n")
    list(reader.added())
    append(present, b"2\n")
    present.rename(tmp_path / "fusion.jsonl.1")
    append(present, b"3\n")
    assert list(reader.added()) == [b"2\n", b"3\n"]


def test_a_file_that_is_gone_is_waited_for(present, reader):
    append(present, b"1\n")
    list(reader.added())
    present.unlink()
    assert list(reader.added()) == []
    append(present, b"2\n")
    assert list(reader.added()) == [b"2\n"]


def rotate(tmp_path, keep):
    for number in range(keep, -1, -1):
        path = tmp_path / (f"fusion.jsonl.{number}" if number else "fusion.jsonl")
        if path.exists():
            path.rename(tmp_path / f"fusion.jsonl.{number + 1}")


def test_several_rotations_between_two_calls_lose_nothing(tmp_path, present, reader):
    append(present, b"1\n")
    list(reader.added())
    append(present, b"2\n")
    for line in (b"3\n", b"4\n", b"5\n"):
        rotate(tmp_path, 4)
        append(present, line)
    assert (list(reader.added()), reader.gaps) == ([b"2\n", b"3\n", b"4\n", b"5\n"], 0)


def test_a_file_that_rolled_off_leaves_a_gap_that_is_told(tmp_path, present, reader):
    append(present, b"1\n")
    list(reader.added())
    for line in (b"2\n", b"3\n"):
        rotate(tmp_path, 1)
        append(present, line)
    (tmp_path / "fusion.jsonl.2").unlink()
    assert (list(reader.added()), reader.gaps) == ([b"3\n"], 1)


def test_a_rotation_while_the_last_lines_are_read_repeats_and_reorders_nothing(tmp_path, present):
    append(tmp_path / "fusion.jsonl.1", b"1\n")
    append(present, b"2\n")

    def rotated_meanwhile(line):
        if line == b"2\n" and not (tmp_path / "fusion.jsonl.2").exists():
            rotate(tmp_path, 4)
            append(present, b"3\n")
        return True

    reader = TraceReader(tmp_path, "fusion", rotated_meanwhile)
    assert (reader.last(9), list(reader.added())) == ([b"1\n", b"2\n"], [b"3\n"])
    reader.close()


# Numbers -----------------------------------------------------------------------------------------------


def summary(*records, wall_ns=(0,)):
    total = TraceSummary()
    stamps = [*wall_ns, *[wall_ns[-1]] * len(records)]
    total.add(encode_line(Stamped(r, 1, ns, "fusion")) for r, ns in zip(records, stamps, strict=False))
    return total.facts()


def test_times_are_by_component():
    times = [TimingRecord(n, "face", float(n)) for n in range(1, 101)] + [TimingRecord(1, "pose", 7.0)]
    assert summary(*times)["timings"] == {
        "face": {"count": 100, "avg_ms": 50.5, "p50_ms": 50.0, "p95_ms": 95.0, "max_ms": 100.0},
        "pose": {"count": 1, "avg_ms": 7.0, "p50_ms": 7.0, "p95_ms": 7.0, "max_ms": 7.0},
    }


def test_delays_are_by_who_was_waited_for():
    delays = summary(SyncDelayRecord(1, 10.0, ["face", "pose"]), SyncDelayRecord(2, 30.0, ["pose"]))["sync_delays"]
    assert (delays["count"], delays["avg_ms"], delays["max_ms"]) == (2, 20.0, 30.0)
    assert delays["waiting_for"] == {"pose": 2, "face": 1}


def test_drops_are_frames_by_component_and_reason():
    records = [
        FrameDropRecord(dropped_frame_ids=[1, 2], reason="gap", component="face"),
        FrameDropRecord.of_run(range(5000), "gap", component="face"),
        FrameDropRecord(dropped_frame_ids=[9], reason="error", component="pose"),
    ]
    assert summary(*records)["drops"] == {"face": {"gap": 5002}, "pose": {"error": 1}}


def test_sets_late_and_triggers_are_counted():
    fused = [SetRecord(n, ["face"], [], [], reason, 5.0) for n, reason in enumerate(["complete", "window", "complete"])]
    facts = summary(*fused, LateRecord(1, "pose", 4.0), TriggerRecord("08f3", "smile", 0, 1, 0.5, "why"))
    assert (facts["sets"], facts["late"], facts["triggers"]) == (
        {"complete": 2, "window": 1}, {"pose": 1}, {"smile": 1},
    )  # fmt: skip


def test_records_that_the_trace_lacks_are_told():
    assert summary(DroppedRecord(12, "queue_full"))["missing"] == 12


def test_the_span_is_from_the_earliest_to_the_latest():
    s = 1_000_000_000
    facts = summary(*[TimingRecord(1, "face", 1.0)] * 3, wall_ns=(7 * s, 5 * s, 9 * s))
    assert (facts["from"][17:19], facts["to"][17:19]) == ("05", "09")


def test_what_is_no_record_is_counted_and_the_rest_read():
    total = TraceSummary()
    total.add([b"broken\n", encode_line(Stamped(LateRecord(1, "pose", 4.0), 1, 2, "fusion")), b"{}\n"])
    assert (total.facts()["unreadable"], total.facts()["records"]) == (2, 1)


GOOD = encode_line(Stamped(TriggerRecord("08f3", "smile", 11, 12, 0.5, "why"), 1, 2, "fusion"))


@pytest.mark.parametrize(
    ("part", "other"),
    [
        (b"why", b"\xff"),
        (b'"fusion"', b'"fusion","z":' + b"[" * 5000 + b"]" * 5000),
        (b'"wall_ns":2', b'"wall_ns":%d' % 10**30),
        (b'"t_start_ns":11', b'"t_start_ns":%d' % 10**400),
    ],
)
def test_a_line_that_nobody_could_have_written_is_no_record(part, other):
    assert part in GOOD
    total = TraceSummary()
    total.add([GOOD.replace(part, other), GOOD])
    assert (total.facts()["unreadable"], total.facts()["records"]) == (1, 1)


def test_an_empty_trace_has_no_figures():
    facts = summary()
    assert (facts["records"], facts["from"], facts["timings"], facts["sync_delays"]["avg_ms"]) == (0, None, {}, None)

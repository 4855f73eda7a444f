"""What a record holds, and the moments that people name."""

from datetime import datetime, timedelta, timezone

import msgspec
import pytest
from click.testing import CliRunner

from visualpath.core.errors import RecordError
from visualpath.ctl.commands import record as record_command
from visualpath.ctl.main import main
from visualpath.process.record import files_at
from visualpath.process.survey import Moment, find, survey
from visualpath_protocol.clock import rfc3339

MS = 1_000_000
S = 1000 * MS
START = 5 * S


@pytest.fixture
def record(scene, monkeypatch):
    """Epoch 3 from 0 to 3 s, epoch 4 from 1 to 6 s of event time, captured from 4 s on."""
    scene.live("face", "text")
    for t_ms in range(0, 3001, 50):
        scene.obs("face", t_ms // 50, count=1.0)
    scene.live(epoch=4, at_ms=4000)
    for t_ms in range(1000, 6001, 50):
        scene.obs("text", t_ms // 50, epoch=4, at_ms=3020 + t_ms)
    scene.end()
    return survey(files_at(scene.folder))


def utc(record, event_ms):
    """UTC at so many ms after the start, as RFC 3339."""
    return rfc3339(record.heads[0].wall_ns + event_ms * MS)


def test_the_survey_counts_what_is_in_the_record(record, scene):
    stream = record.streams["cam1"]
    assert len(stream.seen) == 61 + 101
    assert stream.trigs == len(scene.trigs) > 0
    assert stream.inputs >= 61 + 101 + 4
    assert stream.spans() == {3: (0, 3 * S), 4: (1 * S, 6 * S)}
    assert (record.first_ns, record.last_ns) == (START, START + 9020 * MS)
    assert (record.missing, record.damage) == (0, [])


@pytest.mark.parametrize("at", ["2.5", "2.5s", " 2.5s "])
def test_seconds_are_event_time_of_the_last_epoch(record, at):
    assert find(record, "cam1", at) == Moment(4, 2500 * MS)


def test_an_epoch_may_be_named(record):
    assert find(record, "cam1", "2.5s", epoch=3) == Moment(3, 2500 * MS)


@pytest.mark.parametrize(("at", "epoch", "t_ms"), [("-5s", None, 1000), ("-0.5", None, 5500), ("-1s", 3, 2000)])
def test_seconds_with_a_minus_count_from_the_end(record, at, epoch, t_ms):
    assert find(record, "cam1", at, epoch) == Moment(epoch or 4, t_ms * MS)


@pytest.mark.parametrize(("after_ms", "moment"), [(2000, Moment(3, 2 * S)), (1000, Moment(3, 1 * S))])
def test_utc_is_mapped_by_the_frame_captured_last_before_it(record, after_ms, moment):
    found = find(record, "cam1", utc(record, after_ms), epoch=3)
    assert (found.epoch, abs(found.t_ns - moment.t_ns) < MS) == (moment.epoch, True)


def test_a_time_of_day_is_that_of_the_records_day(record):
    time_of_day = utc(record, 2000)[11:-1]
    assert abs(find(record, "cam1", time_of_day).t_ns - 2 * S) < MS


@pytest.mark.parametrize(
    ("at", "epoch", "error"),
    [
        ("99s", None, r"99\.000s is after the end: of cam1, epoch 4, it has 1\.000s to 6\.000s"),
        ("4.5s", 3, r"after the end: of cam1, epoch 3.*epoch 4 has it \(--epoch 4\)"),
        ("-5.5s", None, None),
        ("0s", None, None),
        ("-60s", None, "before the record"),
        ("1s", 9, r"no epoch 9 of cam1 in the record; there are 3, 4"),
        ("noon", None, "'noon' is no time: write seconds"),
        ("2001-01-01T00:00:00Z", None, "before the record"),
    ],
)
def test_a_moment_that_the_record_does_not_have_is_refused_with_what_it_has(record, at, epoch, error):
    if error is None:  # within a second of it
        find(record, "cam1", at, epoch)
    else:
        with pytest.raises(RecordError, match=error):
            find(record, "cam1", at, epoch)


def test_an_unknown_stream_is_refused_with_those_there_are(record):
    with pytest.raises(RecordError, match="no stream 'cam9' in the record; there are cam1"):
        find(record, "cam9", "1s")


def test_a_stream_that_nobody_reported_on_is_refused(scene):
    scene.live("face")
    scene.end()
    with pytest.raises(RecordError, match="has no frame of cam1"):
        find(survey(files_at(scene.folder)), "cam1", "1s")


def test_time_is_by_the_clocks_of_the_file_it_lies_in(record):
    assert record.wall_ns(START + S) == record.heads[0].wall_ns + S
    assert record.mono_ns(record.heads[0].wall_ns + S) == START + S


def test_after_a_step_of_the_wall_clock_the_next_files_clocks_hold(record):
    head = record.heads[0]
    stepped = msgspec.structs.replace(head, number=1, mono_ns=START + 2 * S, wall_ns=head.wall_ns + 3602 * S)
    record.heads.append(stepped)
    assert record.wall_ns(START + 1 * S) == head.wall_ns + 1 * S
    assert record.wall_ns(START + 3 * S) == head.wall_ns + 3603 * S
    assert record.mono_ns(head.wall_ns + 1 * S) == START + 1 * S
    assert record.mono_ns(head.wall_ns + 3603 * S) == START + 3 * S


def test_a_time_of_day_before_midnight_is_that_of_the_day_before(record):
    before_midnight = datetime(2026, 1, 31, 23, 59, 58, tzinfo=timezone.utc)
    wall_ns = round(before_midnight.timestamp()) * S
    record.heads[0] = msgspec.structs.replace(record.heads[0], wall_ns=wall_ns)
    assert find(record, "cam1", "23:59:59") == Moment(3, 1 * S)


def test_a_time_of_day_may_have_an_offset(record):
    named = datetime.fromisoformat(utc(record, 2000)).astimezone(timezone(timedelta(hours=9)))
    found = find(record, "cam1", named.timetz().isoformat())
    assert abs(found.t_ns - 2 * S) < MS


@pytest.mark.parametrize("sign", ["", "-"])
def test_a_number_of_any_length_is_refused_in_words(record, sign):
    with pytest.raises(RecordError, match="is no time"):
        find(record, "cam1", sign + "9" * 400)


@pytest.mark.parametrize("wild", [{"t_ms": 600_000}, {"epoch": 99, "t_ms": 100}])
def test_one_wild_obs_is_no_frame_of_the_stream(scene, wild):
    scene.live("face", "text")
    scene.faces(0, 40)
    scene.obs("face", 9999, at_ms=2050, count=1.0, **wild)
    scene.faces(41, 100)
    scene.end()
    record = survey(files_at(scene.folder))
    assert record.streams["cam1"].spans() == {3: (0, 5 * S)}


def test_a_record_that_cannot_be_saved_leaves_no_file(scene, tmp_path, monkeypatch):
    def broken(_files):
        yield b"half of it"
        raise RecordError("it cannot be read")

    monkeypatch.setattr(record_command, "joined", broken)
    scene.live("face")
    scene.end()
    saved = tmp_path / "saved"
    saved.mkdir()
    result = CliRunner().invoke(main, ["record", "--record", str(scene.folder), "save", str(saved / "kept.vprec")])
    assert (result.exit_code, result.stderr, list(saved.iterdir())) == (1, "vpctl: it cannot be read\n", [])

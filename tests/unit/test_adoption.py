"""Clips on disk that the ledger does not know: found again, whatever comes in between."""

import json
import sqlite3
from types import SimpleNamespace

import pytest

from visualpath.clip.adoption import AT_ONCE, Adoption, id_of, newest_first

DAY = "2026-01-31"


def clip_id(number):
    return f"{number:016x}"


def put_clip(folder, number, day=DAY):
    """A clip and its sidecar; the time in its name rises with its number."""
    clip = folder / day / f"cam1_20260131T{number:06d}Z_smile_{clip_id(number)}.mp4"
    clip.parent.mkdir(exist_ok=True)
    clip.touch()
    trig = {
        "type": "TRIG", "trig_id": clip_id(number), "stream": "cam1", "epoch": 1, "label": "smile", "reason": "",
        "score": 0.5, "frame_id": 1, "t_start_ns": 1, "t_end_ns": 1,
    }  # fmt: skip
    sidecar = {"sha256": "x", "clip_id": clip_id(number), "stream": "cam1", "epoch": 1, "asked": [0, 1]}
    clip.with_suffix(".json").write_text(json.dumps({**sidecar, "triggers": [trig]}))
    return clip


class Ledger:
    """Knows what was found, unless it refuses."""

    def __init__(self):
        self.replaced = 0
        self.known = []
        self.refuses = False

    def look(self):
        """Its file is well."""

    def has_clip(self, clip_id):
        if self.refuses:
            raise sqlite3.OperationalError("disk I/O error")
        return clip_id in self.known

    def restore(self, order):
        self.known.append(order.clip_id)


class Outcomes:
    def __init__(self, ledger):
        self._ledger = ledger
        self.is_behind = False

    def commit(self, _clip_id, outcome):
        outcome()

    def found(self, clips):
        self._ledger.known += [order.clip_id for order, *_ in clips]

    def unreadable(self, _error):
        pass


class Worker:
    has_room = True

    def submit(self, job, done):
        done(job())


@pytest.fixture
def ledger():
    return Ledger()


@pytest.fixture
def outcomes(ledger):
    return Outcomes(ledger)


@pytest.fixture
def making():
    return []


@pytest.fixture
def adoption(tmp_path, ledger, outcomes, making):
    return Adoption(tmp_path, ledger, outcomes, Worker(), lambda: making)


def test_all_clips_on_disk_are_found_newest_first(adoption, ledger, tmp_path):
    for number in range(2 * AT_ONCE + 1):
        put_clip(tmp_path, number)
    adoption.look()
    assert ledger.known == [clip_id(number) for number in reversed(range(2 * AT_ONCE + 1))]


def test_the_newest_day_comes_first(tmp_path):
    clips = [put_clip(tmp_path, 1, "2026-02-01"), put_clip(tmp_path, 2, "2026-01-01")]
    assert list(newest_first(tmp_path)) == clips


def test_what_the_ledger_knows_is_left_alone(adoption, ledger, tmp_path):
    put_clip(tmp_path, 1)
    ledger.known = [clip_id(1)]
    adoption.look()
    assert ledger.known == [clip_id(1)]


def test_while_the_ledger_cannot_be_read_it_waits(adoption, ledger, tmp_path):
    put_clip(tmp_path, 1)
    ledger.refuses = True
    adoption.look()
    ledger.refuses = False
    adoption.look()
    assert ledger.known == [clip_id(1)]


def test_while_the_ledger_does_not_take_what_was_found_nothing_more_is_read(adoption, ledger, outcomes, tmp_path):
    put_clip(tmp_path, 1)
    outcomes.is_behind = True
    adoption.look()
    assert ledger.known == []
    outcomes.is_behind = False
    adoption.look()
    assert ledger.known == [clip_id(1)]


def test_a_ledger_that_is_replaced_is_filled_once_more(adoption, ledger, making, tmp_path):
    put_clip(tmp_path, 1)
    adoption.look()
    ledger.known, ledger.replaced = [], 1
    making.append(SimpleNamespace(clip_id="in the making"))
    adoption.look()
    assert ledger.known == ["in the making", clip_id(1)]


def test_the_copy_of_a_clip_under_another_name_is_not_taken_for_it(adoption, ledger, tmp_path, caplog):
    clip = put_clip(tmp_path, 1)
    ledger.known = [clip_id(1)]
    for path in (clip, clip.with_suffix(".json")):
        path.with_stem(f"{path.stem} copy").write_bytes(path.read_bytes())
    adoption.look()
    assert ledger.known == [clip_id(1)]
    assert f"it is that of {clip_id(1)}" in caplog.text


def test_a_folder_that_cannot_be_read_is_told(adoption, monkeypatch, caplog):
    def refuse(*_):
        raise OSError("Input/output error")

    monkeypatch.setattr("pathlib.Path.glob", refuse)
    adoption.look()
    assert "there may be clips that the ledger does not know: Input/output error" in caplog.text


def test_the_id_of_a_clip_is_the_end_of_its_name(tmp_path):
    assert id_of(put_clip(tmp_path, 7)) == clip_id(7)

"""The number of a stream's time line: strictly rising, on disk before anybody hears of it."""

import errno
import os

import pytest

from visualpath.core.errors import ConfigError, StorageError
from visualpath.frame.epochs import EpochFile


def test_a_new_stream_begins_at_1(tmp_path):
    assert EpochFile(tmp_path / "frame-cam1").next(0) == 1


def test_the_epoch_rises_with_each_call(tmp_path):
    epochs = EpochFile(tmp_path)
    assert [epochs.next(0) for _ in range(3)] == [1, 2, 3]


def test_the_epoch_rises_across_restarts(tmp_path):
    assert [EpochFile(tmp_path).next(0) for _ in range(3)] == [1, 2, 3]


def test_the_epoch_is_on_disk_when_it_is_returned(tmp_path):
    epoch = EpochFile(tmp_path).next(0)
    assert (tmp_path / "epoch").read_text() == f"{epoch}\n"


def test_no_other_file_is_left(tmp_path):
    EpochFile(tmp_path).next(0)
    assert [path.name for path in tmp_path.iterdir()] == ["epoch"]


def test_the_epoch_is_above_what_the_ring_holds(tmp_path):
    assert EpochFile(tmp_path).next(41) == 42


def test_a_ring_that_is_behind_does_not_lower_the_epoch(tmp_path):
    (tmp_path / "epoch").write_text("9\n")
    assert EpochFile(tmp_path).next(3) == 10


@pytest.mark.parametrize("content", ["", "many\n", "1 2\n"])
def test_a_damaged_file_is_refused_and_not_guessed(tmp_path, content):
    (tmp_path / "epoch").write_text(content)
    with pytest.raises(ConfigError, match="epoch holds no number: write the last epoch there"):
        EpochFile(tmp_path).next(0)


def test_a_damaged_file_stays_as_it_is(tmp_path):
    (tmp_path / "epoch").write_text("many\n")
    with pytest.raises(ConfigError):
        EpochFile(tmp_path).next(0)
    assert (tmp_path / "epoch").read_text() == "many\n"


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "epoch").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="holds no number"):
        EpochFile(tmp_path).next(0)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "state").write_text("in the way")
    with pytest.raises(StorageError, match="cannot use state directory"):
        EpochFile(tmp_path / "state" / "frame-cam1")


def test_a_file_that_cannot_be_written_is_refused(tmp_path):
    epochs = EpochFile(tmp_path)
    (tmp_path / ".epoch.tmp").mkdir()
    with pytest.raises(StorageError, match="cannot keep the epoch"):
        epochs.next(0)


@pytest.fixture
def full_disk(monkeypatch):
    """No file can be made or grow into another block."""

    def refuse(path, _data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("visualpath.frame.epochs.write_durably", refuse)


def test_on_a_full_disk_the_epoch_is_written_over_the_last_one(tmp_path, full_disk):
    (tmp_path / "epoch").write_text("9\n")
    epochs = EpochFile(tmp_path)
    assert (epochs.next(0), epochs.next(0)) == (10, 11)
    assert (tmp_path / "epoch").read_text() == "11\n"


def test_a_new_stream_on_a_full_disk_is_told(tmp_path, full_disk):
    with pytest.raises(StorageError, match="No space left"):
        EpochFile(tmp_path).next(0)

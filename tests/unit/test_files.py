"""Files that must survive a power cut."""

import os

import pytest

from visualpath.runtime.files import publish, write_durably


@pytest.fixture
def calls(monkeypatch):
    """What is synced and renamed, in order; a folder or file is called by its name."""
    calls = []
    real_fsync, real_rename = os.fsync, os.rename

    def fsync(fd):
        calls.append(("fsync", os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))))
        real_fsync(fd)

    def replace(source, target, **_):
        calls.append(("rename", os.path.basename(target)))
        real_rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    return calls


def test_a_published_file_is_synced_then_renamed_then_its_name_is_synced(tmp_path, calls):
    (tmp_path / "a.tmp").write_bytes(b"x")
    publish(tmp_path / "a.tmp", tmp_path / "a")
    assert calls == [("fsync", "a.tmp"), ("rename", "a"), ("fsync", tmp_path.name)]


def test_a_published_file_has_its_name_alone(tmp_path):
    (tmp_path / "a.tmp").write_bytes(b"x")
    publish(tmp_path / "a.tmp", tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_publishing_replaces_what_was_there(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a.tmp").write_bytes(b"new")
    publish(tmp_path / "a.tmp", tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_publishing_leaves_no_file_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    write_durably(tmp_path / "a", b"x")
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_is_written_durably_can_be_read(tmp_path):
    write_durably(tmp_path / "a", b"one")
    write_durably(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"


def test_writing_durably_leaves_nothing_else_behind(tmp_path):
    write_durably(tmp_path / "a", b"one")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_writing_durably_syncs_before_the_name_appears(tmp_path, calls):
    write_durably(tmp_path / "a", b"one")
    assert calls == [("fsync", ".a.tmp"), ("rename", "a"), ("fsync", tmp_path.name)]


def test_when_the_disk_refuses_the_old_content_stays(tmp_path, monkeypatch):
    write_durably(tmp_path / "a", b"old")

    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_durably(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"


def test_when_the_disk_refuses_nothing_half_written_is_left(tmp_path, monkeypatch):
    def full(_fd):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_durably(tmp_path / "a", b"new")
    assert list(tmp_path.iterdir()) == []


def test_what_a_crash_left_half_written_is_overwritten(tmp_path):
    (tmp_path / ".a.tmp").write_bytes(b"half of someth")
    write_durably(tmp_path / "a", b"all")
    assert (tmp_path / "a").read_bytes() == b"all"

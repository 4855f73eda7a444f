"""What is deleted when a disk refuses to delete, or the ledger to be written."""

from collections import Counter
from types import SimpleNamespace

import pytest

from visualpath.clip.files import ClipFolder
from visualpath.clip.housekeeping import Housekeeper
from visualpath.clip.ledger import SavedClip
from visualpath.runtime.sections import ClipConfig

CLIP = SavedClip("0123456789abcdef", "2026-01-01/a.mp4", 100, 5)


class Ledger:
    """One clip that is to go, whatever was told of it."""

    def now_ns(self):
        return 1_000

    def keep_time(self):
        pass

    def saved_before(self, _then_ns, _limit):
        return [CLIP]

    def oldest_saved(self, _limit):
        return [CLIP]

    def saved_bytes(self):
        return 100


class Outcomes:
    def __init__(self):
        self.told = Counter()
        self.is_behind = False
        self.behind_with = set()

    def is_behind_with(self, clip_id):
        return clip_id in self.behind_with

    def deleting(self, _clip_id, why):
        self.told["deleting"] += 1

    def deleted(self, _clip_id, _path, why):
        self.told["deleted"] += 1

    def not_deleted(self, _clip_id, error):
        self.told["not_deleted"] += 1


class Worker:
    def submit(self, job, done):
        done(job())


@pytest.fixture
def outcomes():
    return Outcomes()


@pytest.fixture
def make_tidy(tmp_path, outcomes):
    """From the configuration to `tidy`."""
    clip = tmp_path / CLIP.path
    clip.parent.mkdir()
    clip.touch()
    clip.with_suffix(".json").touch()
    maker, h264 = SimpleNamespace(needed_bytes=lambda: 0), SimpleNamespace(clip_id="")

    def make(config):
        keeper = Housekeeper(config, ClipFolder(tmp_path), Ledger(), outcomes, Worker())
        return lambda: keeper.tidy(maker, h264)

    return make


@pytest.fixture
def tidy(make_tidy):
    return make_tidy(ClipConfig(quota_bytes=1))


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_clip_beyond_the_quota_goes_with_its_sidecar(tidy, outcomes, tmp_path):
    tidy()
    assert files(tmp_path) == []
    assert outcomes.told == {"deleting": 1, "deleted": 1}


def test_a_clip_that_the_disk_does_not_let_go_is_not_condemned(tidy, outcomes, tmp_path, monkeypatch):
    def refuse(_path, **_):
        raise OSError("Read-only file system")

    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    tidy()
    assert files(tmp_path) == ["a.json", "a.mp4"]
    assert outcomes.told == {"deleting": 1, "not_deleted": 1}


def test_while_the_ledger_does_not_take_what_was_deleted_nothing_is_deleted_by_its_sums(tidy, outcomes):
    outcomes.is_behind = True
    tidy()
    assert outcomes.told == {}


def test_on_a_full_disk_room_is_made_though_the_ledger_refuses(make_tidy, outcomes, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _path: (1_000_000, 1_000_000, 0))
    outcomes.is_behind = True
    make_tidy(ClipConfig(min_free_bytes=1))()
    assert outcomes.told == {"deleting": 1, "deleted": 1}


def test_a_clip_that_the_ledger_does_not_know_to_be_deleted_is_not_deleted_again(make_tidy, outcomes, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _path: (1_000_000, 1_000_000, 0))
    outcomes.is_behind = True
    outcomes.behind_with = {CLIP.clip_id}
    make_tidy(ClipConfig(min_free_bytes=1))()
    assert outcomes.told == {}

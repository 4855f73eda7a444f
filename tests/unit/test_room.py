"""Which clips are deleted. Each has 100 bytes and was saved at its number of ns."""

import pytest

from visualpath.clip.ledger import SavedClip
from visualpath.clip.room import Disk, victims
from visualpath.runtime.sections import ClipConfig

CLIPS = [SavedClip(f"clip{n}", f"{n}.mp4", 100, n) for n in range(1, 6)]


def deleted(*, quota=0, min_free=0, retention=0, total=100_000, free=50_000, needed=0, now=10):
    config = ClipConfig(quota_bytes=quota, min_free_bytes=min_free, retention_ns=retention)
    found = victims(CLIPS, config, Disk(total, free), 500, needed, now)
    return [(clip.saved_ns, reason) for clip, reason in found]


def test_without_bounds_all_stay():
    assert deleted(free=0, needed=1_000) == []


@pytest.mark.parametrize(("quota", "count"), [(500, 0), (499, 1), (400, 1), (399, 2), (1, 5)])
def test_the_quota_deletes_the_oldest_until_all_are_within_it(quota, count):
    assert deleted(quota=quota) == [(n, "quota") for n in range(1, count + 1)]


@pytest.mark.parametrize(("free", "count"), [(1_000, 0), (999, 1), (900, 1), (899, 2), (0, 5)])
def test_the_minimum_of_free_space_deletes_the_oldest_until_it_is_free(free, count):
    assert deleted(min_free=1_000, free=free) == [(n, "min_free") for n in range(1, count + 1)]


def test_the_minimum_of_free_space_is_at_most_a_tenth_of_the_disk():
    assert deleted(min_free=1_000, total=5_000, free=400) == [(1, "min_free")]


def test_what_waits_for_room_counts_as_if_it_were_there():
    assert deleted(min_free=1_000, free=1_000, needed=150) == [(1, "min_free"), (2, "min_free")]


def test_the_retention_deletes_what_is_older():
    assert deleted(retention=7) == [(1, "retention"), (2, "retention")]


def test_what_the_retention_deletes_counts_for_the_quota():
    assert deleted(retention=8, quota=300) == [(1, "retention"), (2, "quota")]

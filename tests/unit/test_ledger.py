"""The clip daemon's memory: durable before the ACK, one clip per trigger."""

import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from functools import partial

import msgspec
import pytest

from visualpath.clip.ledger import Ledger, LedgerError
from visualpath.clip.order import ClipOrder
from visualpath_protocol.messages import Trig, make_trig_id


def trig(t_start_ns=1_000, revision=0, score=0.5):
    return Trig(
        trig_id=make_trig_id("cam1", 1, "smile", t_start_ns), revision=revision, stream="cam1", epoch=1, label="smile",
        reason="a smile", score=score, frame_id=5, t_start_ns=t_start_ns, t_end_ns=t_start_ns,
    )  # fmt: skip


def order(*trigs):
    """The clip of these triggers."""
    return ClipOrder(clip_id=trigs[0].trig_id, stream="cam1", epoch=1, asked=(-5, 5_000), triggers=trigs)


def accept(ledger, one):
    return ledger.accept(one, order(one))


def unfinished(ledger):
    """The triggers of each unfinished clip."""
    return [list(each.triggers) for each in ledger.unfinished()]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clip" / "ledger.db"


@pytest.fixture
def ledger(path):
    ledger = Ledger(path)
    yield ledger
    ledger.close()


def states(ledger):
    return {clip["clip_id"]: clip["state"] for clip in ledger.clips(limit=100)}


def test_the_first_of_an_id_asks_for_a_clip(ledger):
    assert accept(ledger, trig()) is True


def test_a_higher_revision_asks_for_no_second_clip(ledger):
    accept(ledger, trig())
    assert accept(ledger, trig(revision=1)) is False


def test_an_accepted_trigger_is_known(ledger):
    accept(ledger, trig())
    assert ledger.knows(trig().trig_id, 0)


def test_another_revision_is_not_known(ledger):
    accept(ledger, trig())
    assert not ledger.knows(trig().trig_id, 1)


def test_accepting_the_same_revision_twice_is_an_error(ledger):
    accept(ledger, trig())
    with pytest.raises(LedgerError):
        accept(ledger, trig())


def test_an_accepted_trigger_is_recording(ledger):
    accept(ledger, trig())
    assert states(ledger) == {trig().trig_id: "recording"}


def test_unfinished_are_those_that_record(ledger):
    for t_ns in (1, 2, 3):
        accept(ledger, trig(t_ns))
    ledger.saved(order(trig(1)), "a.mp4", {}, 100, "")
    ledger.failed(order(trig(2)), "disk full")
    assert unfinished(ledger) == [[trig(3)]]


def test_unfinished_are_the_newest_revisions(ledger):
    accept(ledger, trig(revision=1, score=0.9))
    accept(ledger, trig(revision=0))
    assert unfinished(ledger) == [[trig(revision=1, score=0.9)]]


def test_unfinished_come_in_the_order_they_were_asked_for(ledger):
    asked = [trig(t_ns) for t_ns in (3, 1, 2)]
    for one in asked:
        accept(ledger, one)
    assert unfinished(ledger) == [[one] for one in asked]


def test_a_saved_clip_has_its_path_and_sidecar(ledger):
    accept(ledger, trig())
    ledger.saved(order(trig()), "2026-01-01/a.mp4", {"frames": 5}, 100, "")
    [clip] = ledger.clips(limit=100)
    assert (clip["state"], clip["path"], clip["sidecar"]) == ("saved", "2026-01-01/a.mp4", {"frames": 5})


def test_a_failed_clip_says_why(ledger):
    accept(ledger, trig())
    ledger.failed(order(trig()), "disk full")
    [clip] = ledger.clips(limit=100)
    assert (clip["state"], clip["why"]) == ("failed", "disk full")


def test_triggers_are_the_newest_in_the_order_they_came(ledger):
    for t_ns in (3, 1, 2):
        accept(ledger, trig(t_ns))
    assert ledger.triggers(limit=2) == [trig(1), trig(2)]


def test_clips_are_the_newest_oldest_first(ledger):
    for t_ns in (3, 1, 2):
        accept(ledger, trig(t_ns))
    assert [clip["clip_id"] for clip in ledger.clips(limit=2)] == [trig(1).trig_id, trig(2).trig_id]


def test_metadata_survives(ledger):
    kept = msgspec.structs.replace(trig(), metadata={"who": "me", "box": [1, 2]})
    accept(ledger, kept)
    assert unfinished(ledger) == [[kept]]


def test_what_was_accepted_survives_the_death_of_the_process(path):
    program = (
        "import os, sys; from pathlib import Path; from visualpath.clip.ledger import Ledger\n"
        "from visualpath_protocol.messages import Trig\n"
        "from visualpath.clip.order import ClipOrder\n"
        "one = Trig(trig_id='0123456789abcdef', stream='cam1', epoch=1, label='smile',"
        " reason='', score=0.5, frame_id=5, t_start_ns=1, t_end_ns=1)\n"
        "clip = ClipOrder(clip_id=one.trig_id, stream='cam1', epoch=1, asked=(0, 2), triggers=(one,))\n"
        f"Ledger(Path({str(path)!r})).accept(one, clip)\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    ledger = Ledger(path)
    assert [each.clip_id for each in ledger.unfinished()] == ["0123456789abcdef"]
    ledger.close()


def test_every_commit_is_synced(path):
    ledger = Ledger(path)
    assert ledger._database.execute("PRAGMA synchronous") == [(2,)]  # FULL
    ledger.close()


def test_a_trigger_that_could_not_be_committed_whole_is_not_known(path, ledger):
    other = sqlite3.connect(path)
    other.execute("DROP TABLE clips")
    other.commit()
    other.close()
    with pytest.raises(LedgerError):
        accept(ledger, trig())
    assert not ledger.knows(trig().trig_id, 0)


def test_a_ledger_that_is_no_database_makes_way_for_a_fresh_one(path):
    path.parent.mkdir()
    path.write_bytes(b"no database " * 1000)
    counters = Counter()
    ledger = Ledger(path, counters)
    assert accept(ledger, trig()) is True
    assert (ledger.replaced, counters) == (1, {"damaged.ledger": 1})
    ledger.close()


def test_two_triggers_of_one_clip_ask_for_one(ledger):
    first, second = trig(1), trig(2)
    ledger.accept(first, order(first))
    assert ledger.accept(second, order(first, second)) is False
    assert unfinished(ledger) == [[first, second]]


def test_a_clip_grows_with_its_triggers(ledger):
    first, second = trig(1), trig(2)
    ledger.accept(first, order(first))
    ledger.accept(second, msgspec.structs.replace(order(first, second), asked=(-10, 9_000)))
    assert ledger.unfinished()[0].asked == (-10, 9_000)


def test_a_saved_clip_does_not_grow(ledger):
    accept(ledger, trig(1))
    ledger.saved(order(trig(1)), "a.mp4", {}, 100, "")
    ledger.accept(trig(1, revision=1), msgspec.structs.replace(order(trig(1)), asked=(-10, 9_000)))
    assert ledger.clip_of(trig(1).trig_id).asked == (-5, 5_000)


def test_the_row_of_a_clip_that_waits_says_so(ledger):
    accept(ledger, trig())
    ledger.waiting(trig().trig_id, "no space")
    [clip] = ledger.clips(limit=1)
    assert (clip["state"], clip["why"]) == ("recording", "waiting: no space")


def test_a_deleted_clip_counts_no_bytes(ledger):
    for t_ns in (1, 2):
        accept(ledger, trig(t_ns))
        ledger.saved(order(trig(t_ns)), "a.mp4", {}, 100, "")
    ledger.deleted(trig(1).trig_id, "quota")
    assert ledger.saved_bytes() == 100


def test_what_is_left_of_a_clip_has_its_triggers(ledger):
    accept(ledger, trig(1))
    ledger.ask(msgspec.structs.replace(order(trig(1)), clip_id=f"{trig(1).trig_id}-f7"))
    assert unfinished(ledger) == [[trig(1)], [trig(1)]]


def test_what_is_left_has_the_triggers_that_joined_on_the_way(ledger):
    """A clip whose pictures change size at the frames 7, 20 and 100, with a trigger that joins in each part."""
    first, second, third, fourth = (trig(n) for n in range(1, 5))
    ledger.accept(first, order(first))
    for frame, joined in ((7, second), (20, third), (100, fourth)):
        rest = msgspec.structs.replace(order(first), clip_id=f"{first.trig_id}-f{frame}")
        ledger.ask(rest)
        ledger.accept(joined, rest)
    assert unfinished(ledger) == [[first], [first, second], [first, second, third], [first, second, third, fourth]]


def test_the_age_of_a_clip_counts_whatever_a_wrong_clock_has_written_into_earlier_ones(ledger):
    for t_ns in (1, 2):
        accept(ledger, trig(t_ns))
        ledger.saved(order(trig(t_ns)), "a.mp4", {}, 100, "")
    with ledger._database:
        ledger._database.execute("UPDATE clips SET saved_ns = ? WHERE rowid = 1", (2**62,))
        ledger._database.execute("UPDATE clips SET saved_ns = 5 WHERE rowid = 2")
    assert [clip.clip_id for clip in ledger.saved_before(10, 100)] == [trig(2).trig_id]


def test_of_a_revised_trigger_the_newest_revision_is_listed_once(ledger):
    for revision in (0, 1):
        accept(ledger, trig(revision=revision))
    assert ledger.triggers(limit=10) == [trig(revision=1)]


def test_a_clip_is_found_by_the_beginning_of_a_trigger_s_id(ledger):
    first, second = trig(1), trig(2)
    ledger.accept(first, order(first))
    ledger.accept(second, order(first, second))
    accept(ledger, trig(3))
    assert [clip["clip_id"] for clip in ledger.clips(10, second.trig_id[:9])] == [first.trig_id]


def test_its_clock_goes_on_where_the_last_run_ended(path):
    first = Ledger(path)
    first._began_ns -= 5_000_000_000
    first.close()
    second = Ledger(path)
    assert 5_000_000_000 <= second.now_ns() < 60_000_000_000
    second.close()


def test_a_saved_clip_keeps_the_clock(path, ledger):
    ledger._began_ns -= 7_000_000_000
    accept(ledger, trig())
    ledger.saved(order(trig()), "a.mp4", {}, 100, "")
    with closing(sqlite3.connect(path)) as beside:
        assert beside.execute("SELECT ran_ns >= 7000000000 FROM clock").fetchone() == (1,)


def test_the_system_s_clock_makes_no_clip_older(ledger, monkeypatch):
    accept(ledger, trig())
    ledger.saved(order(trig()), "a.mp4", {}, 100, "")
    monkeypatch.setattr("visualpath.clip.ledger.wall_ns", lambda: 2**62)
    assert ledger.saved_before(ledger.now_ns() - 60_000_000_000, 100) == []


def test_a_row_whose_sidecar_was_changed_by_the_disk_is_listed_without_it(ledger):
    accept(ledger, trig())
    with ledger._database:
        ledger._database.execute("UPDATE clips SET sidecar = '{{'")
    assert ledger.clips(limit=1)[0]["sidecar"] == {}


def test_a_row_whose_trigger_was_changed_by_the_disk_is_left_out(ledger):
    for t_ns in (1, 2):
        accept(ledger, trig(t_ns))
    with ledger._database:
        ledger._database.execute("UPDATE triggers SET body = x'c1' WHERE rowid = 1")
    assert ledger.triggers(limit=10) == [trig(2)]


VERSION_2 = """
    CREATE TABLE clips (clip_id TEXT PRIMARY KEY, stream TEXT NOT NULL, epoch INTEGER NOT NULL, label TEXT NOT NULL,
        start_ns INTEGER NOT NULL, end_ns INTEGER NOT NULL, state TEXT NOT NULL DEFAULT 'recording',
        path TEXT NOT NULL DEFAULT '', why TEXT NOT NULL DEFAULT '', sidecar TEXT NOT NULL DEFAULT '{}',
        size_bytes INTEGER NOT NULL DEFAULT 0, saved_wall_ns INTEGER NOT NULL DEFAULT 0,
        h264 TEXT NOT NULL DEFAULT '');
    CREATE INDEX clips_by_age ON clips (state, saved_wall_ns);
    INSERT INTO clips VALUES ('a', 'cam1', 1, 'smile', 0, 1, 'saved', 'a.mp4', '', '{}', 100, 1700000000000000000, '');
    PRAGMA user_version = 2;
"""


def test_a_ledger_of_version_2_is_taken_over_and_its_clips_are_young(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.executescript(VERSION_2)
    ledger = Ledger(path)
    assert [clip.clip_id for clip in ledger.oldest_saved(10)] == ["a"]
    assert ledger.saved_before(ledger.now_ns() - 60_000_000_000, 10) == []
    ledger.close()


def test_the_ledger_of_another_version_is_refused(path):
    path.parent.mkdir()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE clips (trig_id TEXT PRIMARY KEY)")
    database.commit()
    database.close()
    with pytest.raises(LedgerError, match="another version"):
        Ledger(path)


# What became of clips, for those who follow it ------------------------------------------------------


def outcomes(ledger, after=0):
    return [(each["clip_id"], each["state"]) for each in ledger.outcomes_after(after, 100)]


def test_outcomes_are_listed_in_the_order_in_which_they_came(ledger):
    first, second = trig(1_000), trig(2_000)
    accept(ledger, first)
    accept(ledger, second)
    ledger.failed(order(second), "evicted")
    ledger.saved(order(first), "a.mp4", {}, 10, "wanted")
    assert outcomes(ledger) == [(second.trig_id, "failed"), (first.trig_id, "saved")]


def test_a_saved_clip_that_becomes_h264_has_one_outcome(ledger):
    one = trig()
    accept(ledger, one)
    ledger.saved(order(one), "a.mp4", {}, 10, "wanted")
    ledger.h264_done(one.trig_id, "a.mp4", {}, 8)
    assert outcomes(ledger) == [(one.trig_id, "saved")]


def test_only_what_comes_after_a_number_is_listed(ledger):
    first, second = trig(1_000), trig(2_000)
    for one in (first, second):
        accept(ledger, one)
        ledger.failed(order(one), "evicted")
    [(seq, _), _] = [(each["seq"], each) for each in ledger.outcomes_after(0, 100)]
    assert outcomes(ledger, after=seq) == [(second.trig_id, "failed")]


def test_nothing_comes_after_the_last_outcome(ledger):
    accept(ledger, trig())
    ledger.failed(order(trig()), "evicted")
    assert outcomes(ledger, after=ledger.last_outcome()) == []


def test_an_empty_ledger_has_no_outcome(ledger):
    assert ledger.last_outcome() == 0


def test_the_numbers_go_on_rising_in_a_fresh_ledger(ledger, tmp_path):
    accept(ledger, trig())
    ledger.failed(order(trig()), "evicted")
    fresh = Ledger(tmp_path / "fresh.db")
    accept(fresh, trig())
    fresh.failed(order(trig()), "evicted")
    assert fresh.last_outcome() > ledger.last_outcome()
    fresh.close()


def test_the_numbers_rise_when_the_clock_is_set_back(ledger, monkeypatch):
    for t_start_ns, clock_ns in ((1_000, 10**18), (2_000, 10**17)):
        monkeypatch.setattr("visualpath.clip.ledger.wall_ns", partial(int, clock_ns))
        ledger.ask(order(trig(t_start_ns)))
        ledger.failed(order(trig(t_start_ns)), "evicted")
    assert [each["seq"] for each in ledger.outcomes_after(0, 100)] == [10**18, 10**18 + 1]


# What a damaged ledger has lost ---------------------------------------------------------------------


def forget(ledger, *tables):
    with ledger._database:
        for table in tables:
            ledger._database.execute(f"DELETE FROM {table}")


def test_a_clip_whose_triggers_were_lost_is_recorded_all_the_same(ledger):
    accept(ledger, trig())
    forget(ledger, "triggers")
    [found] = ledger.unfinished()
    assert (found.clip_id, found.asked, found.label) == (trig().trig_id, (-5, 5_000), "smile")


def test_a_clip_whose_row_makes_no_sense_has_failed(ledger):
    accept(ledger, trig())
    forget(ledger, "triggers")
    with ledger._database:
        ledger._database.execute("UPDATE clips SET label = '../../etc'")
    assert ledger.unfinished() == []
    assert states(ledger) == {trig().trig_id: "failed"}


@pytest.mark.parametrize("outcome", ["saved", "failed"])
def test_what_becomes_of_a_clip_that_was_lost_is_noted(ledger, outcome):
    accept(ledger, trig())
    forget(ledger, "triggers", "clips")
    if outcome == "saved":
        ledger.saved(order(trig()), "a.mp4", {}, 100, "")
    else:
        ledger.failed(order(trig()), "evicted")
    assert states(ledger) == {trig().trig_id: outcome}
    assert outcomes(ledger) == [(trig().trig_id, outcome)]
    assert ledger.knows(trig().trig_id, 0)


def found(*t_ns):
    return [(order(trig(each)), f"{each}.mp4", {}, 100, "") for each in t_ns]


def test_clips_that_are_found_are_older_than_those_that_are_known(ledger):
    accept(ledger, trig(3))
    ledger.saved(order(trig(3)), "3.mp4", {}, 100, "")
    ledger.found(found(2, 1))
    assert [clip.path for clip in ledger.oldest_saved(10)] == ["1.mp4", "2.mp4", "3.mp4"]
    assert ledger.triggers(10) == [trig(1), trig(2), trig(3)]


def test_what_is_found_changes_nothing_of_a_clip_that_is_known(ledger):
    accept(ledger, trig(1))
    ledger.found(found(1))
    assert states(ledger) == {trig(1).trig_id: "recording"}


def test_what_is_found_is_young_and_no_outcome(ledger):
    ledger.found(found(1))
    assert (outcomes(ledger), ledger.saved_before(ledger.now_ns() - 60_000_000_000, 10)) == ([], [])


def test_a_clip_that_comes_after_those_that_were_found_is_the_newest(ledger):
    ledger.found(found(2, 1))
    accept(ledger, trig(3))
    assert [clip["clip_id"] for clip in ledger.clips(limit=1)] == [trig(3).trig_id]


def saved_with(path, ran_ns, saved_ns):
    """A ledger of one saved clip, in whose file these times stand."""
    ledger = Ledger(path)
    accept(ledger, trig())
    ledger.saved(order(trig()), "a.mp4", {}, 100, "")
    ledger.close()
    with closing(sqlite3.connect(path)) as beside, beside:
        beside.execute("UPDATE clock SET ran_ns = ?", (ran_ns,))
        beside.execute("UPDATE clips SET saved_ns = ?", (saved_ns,))
    return Ledger(path)


DAY_NS = 86_400 * 10**9


@pytest.mark.parametrize("ran_ns", [2**63 - 1, -(2**63)])
def test_a_clock_that_the_disk_has_changed_makes_no_clip_old(path, ran_ns):
    with closing(saved_with(path, ran_ns, DAY_NS)) as ledger:
        assert ledger.saved_before(ledger.now_ns() - DAY_NS, 10) == []
        ledger.keep_time()


@pytest.mark.parametrize("saved_ns", [2**62, -5])
def test_a_clip_of_an_impossible_age_is_as_old_as_the_ledger_s_opening(path, saved_ns):
    with closing(saved_with(path, 100 * DAY_NS, saved_ns)) as ledger:
        assert ledger.saved_before(100 * DAY_NS, 10) == []
        assert len(ledger.saved_before(101 * DAY_NS, 10)) == 1


def test_a_migration_that_the_disk_refuses_is_done_by_the_next_start(path):
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as database:
        database.executescript(VERSION_2)
        database.execute("CREATE TRIGGER full BEFORE UPDATE ON clips BEGIN SELECT RAISE(ABORT, 'disk is full'); END")
    with pytest.raises(LedgerError, match="full"):
        Ledger(path)
    with closing(sqlite3.connect(path)) as database:
        database.execute("DROP TRIGGER full")
    with closing(Ledger(path)) as ledger:
        assert [clip.clip_id for clip in ledger.oldest_saved(10)] == ["a"]

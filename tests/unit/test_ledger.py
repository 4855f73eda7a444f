"""The clip daemon's memory: durable before the ACK, one clip per trigger."""

import sqlite3
import subprocess
import sys

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
    ledger.saved(trig(1).trig_id, "a.mp4", {}, 100, "")
    ledger.failed(trig(2).trig_id, "disk full")
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
    ledger.saved(trig().trig_id, "2026-01-01/a.mp4", {"frames": 5}, 100, "")
    [clip] = ledger.clips(limit=100)
    assert (clip["state"], clip["path"], clip["sidecar"]) == ("saved", "2026-01-01/a.mp4", {"frames": 5})


def test_a_failed_clip_says_why(ledger):
    accept(ledger, trig())
    ledger.failed(trig().trig_id, "disk full")
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
    assert ledger._database.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    ledger.close()


def test_a_trigger_that_could_not_be_committed_whole_is_not_known(path, ledger):
    other = sqlite3.connect(path)
    other.execute("DROP TABLE clips")
    other.commit()
    other.close()
    with pytest.raises(LedgerError):
        accept(ledger, trig())
    assert not ledger.knows(trig().trig_id, 0)


def test_a_damaged_ledger_is_an_error(path):
    path.parent.mkdir()
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(LedgerError):
        Ledger(path)


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
    ledger.saved(trig(1).trig_id, "a.mp4", {}, 100, "")
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
        ledger.saved(trig(t_ns).trig_id, "a.mp4", {}, 100, "")
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
        ledger.saved(trig(t_ns).trig_id, "a.mp4", {}, 100, "")
    with ledger._database:
        ledger._database.execute("UPDATE clips SET saved_wall_ns = ? WHERE rowid = 1", (2**62,))
        ledger._database.execute("UPDATE clips SET saved_wall_ns = 5 WHERE rowid = 2")
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


def test_the_ledger_of_another_version_is_refused(path):
    path.parent.mkdir()
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE clips (trig_id TEXT PRIMARY KEY)")
    database.commit()
    database.close()
    with pytest.raises(LedgerError, match="another version"):
        Ledger(path)

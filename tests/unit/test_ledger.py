"""The clip daemon's memory: durable before the ACK, one clip per trigger."""

import sqlite3
import subprocess
import sys

import msgspec
import pytest

from visualpath.clip.ledger import Ledger, LedgerError
from visualpath_protocol.messages import Trig, make_trig_id


def trig(t_start_ns=1_000, revision=0, score=0.5):
    return Trig(
        trig_id=make_trig_id("cam1", 1, "smile", t_start_ns), revision=revision, stream="cam1", epoch=1, label="smile",
        reason="a smile", score=score, frame_id=5, t_start_ns=t_start_ns, t_end_ns=t_start_ns,
    )  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clip" / "ledger.db"


@pytest.fixture
def ledger(path):
    ledger = Ledger(path)
    yield ledger
    ledger.close()


def states(ledger):
    return {clip["trig_id"]: clip["state"] for clip in ledger.clips(limit=100)}


def test_the_first_of_an_id_asks_for_a_clip(ledger):
    assert ledger.accept(trig()) is True


def test_a_higher_revision_asks_for_no_second_clip(ledger):
    ledger.accept(trig())
    assert ledger.accept(trig(revision=1)) is False


def test_an_accepted_trigger_is_known(ledger):
    ledger.accept(trig())
    assert ledger.knows(trig().trig_id, 0)


def test_another_revision_is_not_known(ledger):
    ledger.accept(trig())
    assert not ledger.knows(trig().trig_id, 1)


def test_accepting_the_same_revision_twice_is_an_error(ledger):
    ledger.accept(trig())
    with pytest.raises(LedgerError):
        ledger.accept(trig())


def test_an_accepted_trigger_is_recording(ledger):
    ledger.accept(trig())
    assert states(ledger) == {trig().trig_id: "recording"}


def test_unfinished_are_those_that_record(ledger):
    for t_ns in (1, 2, 3):
        ledger.accept(trig(t_ns))
    ledger.saved(trig(1).trig_id, "a.mp4", {})
    ledger.failed(trig(2).trig_id, "disk full")
    assert ledger.unfinished() == [trig(3)]


def test_unfinished_are_the_newest_revisions(ledger):
    ledger.accept(trig(revision=1, score=0.9))
    ledger.accept(trig(revision=0))
    assert ledger.unfinished() == [trig(revision=1, score=0.9)]


def test_unfinished_come_in_the_order_they_were_asked_for(ledger):
    asked = [trig(t_ns) for t_ns in (3, 1, 2)]
    for one in asked:
        ledger.accept(one)
    assert ledger.unfinished() == asked


def test_a_saved_clip_has_its_path_and_sidecar(ledger):
    ledger.accept(trig())
    ledger.saved(trig().trig_id, "2026-01-01/a.mp4", {"frames": 5})
    [clip] = ledger.clips(limit=100)
    assert (clip["state"], clip["path"], clip["sidecar"]) == ("saved", "2026-01-01/a.mp4", {"frames": 5})


def test_a_failed_clip_says_why(ledger):
    ledger.accept(trig())
    ledger.failed(trig().trig_id, "disk full")
    [clip] = ledger.clips(limit=100)
    assert (clip["state"], clip["why"]) == ("failed", "disk full")


def test_triggers_are_the_newest_in_the_order_they_came(ledger):
    for t_ns in (3, 1, 2):
        ledger.accept(trig(t_ns))
    assert ledger.triggers(limit=2) == [trig(1), trig(2)]


def test_clips_are_the_newest_oldest_first(ledger):
    for t_ns in (3, 1, 2):
        ledger.accept(trig(t_ns))
    assert [clip["trig_id"] for clip in ledger.clips(limit=2)] == [trig(1).trig_id, trig(2).trig_id]


def test_metadata_survives(ledger):
    kept = msgspec.structs.replace(trig(), metadata={"who": "me", "box": [1, 2]})
    ledger.accept(kept)
    assert ledger.unfinished() == [kept]


def test_what_was_accepted_survives_the_death_of_the_process(path):
    program = (
        "import os, sys; from pathlib import Path; from visualpath.clip.ledger import Ledger\n"
        "from visualpath_protocol.messages import Trig\n"
        f"Ledger(Path({str(path)!r})).accept(Trig(trig_id='0123456789abcdef', stream='cam1', epoch=1, label='smile',"
        " reason='', score=0.5, frame_id=5, t_start_ns=1, t_end_ns=1))\n"
        "os._exit(9)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 9
    ledger = Ledger(path)
    assert [one.trig_id for one in ledger.unfinished()] == ["0123456789abcdef"]
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
        ledger.accept(trig())
    assert not ledger.knows(trig().trig_id, 0)


def test_a_damaged_ledger_is_an_error(path):
    path.parent.mkdir()
    path.write_bytes(b"no database " * 1000)
    with pytest.raises(LedgerError):
        Ledger(path)

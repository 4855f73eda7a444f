"""What the record says was lost, and when a scenario is wrong."""

import pytest
import scenario
from audit import Audit
from books import Books, enter
from scenario import Outcome, Scenario

from visualpath.process.record import Entry
from visualpath_protocol.messages import Bound, Obs, Skip, StreamState

LAST_FRAME = 9


def entered(*messages):
    books = Books()
    for message in messages:
        enter(books, Entry(0, "demo", message, b""), ("a", "b"))
    return books


def envelope(seq, source="a"):
    return {"source": source, "instance": "i", "seq": seq, "stream": "demo", "epoch": 3}


def obs(seq, frame_id, source="a"):
    return Obs(
        **envelope(seq, source), frame_id=frame_id, t_ns=frame_id, mono_ns=0, observations=[], bound_ns=0
    )  # fmt: skip


def skip(seq, first, last):
    return Skip(**envelope(seq), first_frame_id=first, last_frame_id=last, first_t_ns=1, t_ns=2, reason="gap")


STATE = StreamState(stream="demo", epoch=3, state="live", last_frame_id=LAST_FRAME, first_t_ns=0, last_t_ns=9)


def test_numbers_between_the_first_and_the_last_that_never_came_are_lost_messages():
    books = entered(obs(4, 0), Bound(**envelope(5), t_ns=1), obs(9, 3))
    assert books.lost_messages() == 3


def test_each_instance_has_numbers_of_its_own():
    assert entered(obs(4, 0), obs(9, 0, source="b")).lost_messages() == 0


def test_frames_that_were_neither_observed_nor_skipped_are_unreported():
    books = entered(STATE, obs(0, 0), skip(1, 1, 5), obs(2, 7))
    assert books.unreported(("a",), range(3, 4)) == len({6, 8, 9})


def test_what_is_said_of_an_epoch_that_is_over_does_not_count():
    later = StreamState(stream="demo", epoch=4, state="starting")
    late = StreamState(stream="demo", epoch=3, state="ended", last_frame_id=LAST_FRAME + 5, first_t_ns=0, last_t_ns=9)
    books = entered(STATE, obs(0, 0), later, late, obs(1, 1))
    assert books.unreported(("a",), range(3, 5)) == LAST_FRAME


def test_what_others_say_is_left_out():
    books = entered(STATE, obs(0, 0, source="stranger"))
    assert books.spoken == {}


@pytest.mark.parametrize(("whole", "counted", "wrong"), [(True, 2, 0), (True, 1, 1), (False, 1, 0), (False, 3, 1)])
def test_messages_lost_and_not_counted_are_wrong_but_for_those_in_hand_of_a_fusion_that_died(whole, counted, wrong):
    books = entered(obs(0, 0), obs(3, 1))
    fusion = {"sources": {"a": {"lost": counted}}}
    extractors = {"extractor-a": {"counters": {"dropped.obs": counted}}, "extractor-b": {"counters": {}}}
    outcome = Outcome()
    scenario._settle_messages(outcome, books, {"fusion": fusion, **extractors}, whole=whole)
    assert len(outcome.wrong) == wrong


def test_frames_without_a_word_that_are_not_counted_are_wrong():
    outcome = Outcome()
    scenario._settle_frames(outcome, 3, 2)
    assert outcome.wrong


def test_a_failed_clip_is_wrong_unless_the_fault_may_cost_some():
    found = Audit(triggers={"t"}, failed={"t": "no space"})
    outcomes = Outcome(), Outcome()
    for outcome, failed_clips in zip(outcomes, (False, True), strict=True):
        scenario._settle_moments(Scenario("x", "", str, failed_clips=failed_clips), outcome, found)
    assert [bool(outcome.wrong) for outcome in outcomes] == [True, False]


def test_only_defects_that_the_fault_brings_about_are_excused():
    lines = ["fusion.log: Traceback (most recent call last):", "clip.log: TRIG 1 is lost", "2 is absent in the ledger"]
    outcome = Outcome()
    scenario._settle_moments(Scenario("x", "", str, excused=("Traceback",)), outcome, Audit(wrong=lines))
    assert outcome.wrong == lines[1:]

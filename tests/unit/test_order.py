"""Into which clip a trigger goes. Times are small numbers; pre and post are 10, max_length is 60."""

import msgspec
import pytest

from visualpath.clip.order import MAX_TRIGGERS, ClipOrder, place, span_of
from visualpath_protocol.messages import COUNT_MAX, FrameHeader, Trig, make_trig_id


def trig(start, end=None, revision=0, epoch=1):
    return Trig(
        trig_id=make_trig_id("cam1", epoch, "smile", start), revision=revision, stream="cam1", epoch=epoch,
        label="smile", reason="", score=0.5, frame_id=0, t_start_ns=start, t_end_ns=start if end is None else end,
    )  # fmt: skip


def put(one, opened=(), before=None):
    return place(one, span_of(one, 10, 10), opened, before, 60)


def clip(*trigs):
    """The clip that these triggers make, one after another."""
    order = None
    for one in trigs:
        order = put(one, [order] if order else [])
    return order


def frame(n):
    """Frame n is at n."""
    return FrameHeader(
        stream="cam1", epoch=1, frame_id=n, t_ns=n, wall_ns=0, mono_ns=0, width=2, height=2, payloads=[]
    )  # fmt: skip


def test_a_trigger_alone_has_a_clip_of_its_own():
    assert put(trig(100)) == ClipOrder(
        clip_id=trig(100).trig_id, stream="cam1", epoch=1, asked=(90, 110), triggers=(trig(100),)
    )


@pytest.mark.parametrize(("start", "shared"), [(119, True), (120, True), (121, False), (80, True), (79, False)])
def test_spans_that_meet_share_a_clip(start, shared):
    assert (put(trig(start), [clip(trig(100))]).clip_id == trig(100).trig_id) is shared


def test_a_shared_clip_is_asked_for_over_both_spans():
    assert clip(trig(100), trig(115, 120)).asked == (90, 130)


def test_an_earlier_span_moves_the_beginning():
    assert clip(trig(100), trig(95, 101)).asked == (85, 111)


def test_a_clip_that_has_very_many_triggers_takes_no_further_one():
    full = msgspec.structs.replace(clip(trig(100)), triggers=(trig(100),) * MAX_TRIGGERS)
    assert put(trig(105), [full]).clip_id == trig(105).trig_id


@pytest.mark.parametrize(("end", "shared"), [(140, True), (141, False)])
def test_no_clip_becomes_longer_than_max_length_by_joining(end, shared):
    assert (put(trig(118, end), [clip(trig(100))]).clip_id == trig(100).trig_id) is shared


def test_what_is_beyond_max_length_has_a_clip_with_all_that_it_asks_for():
    assert put(trig(118, 141), [clip(trig(100))]).asked == (108, 151)


def test_a_single_trigger_may_ask_for_more_than_max_length():
    assert put(trig(100, 1_000)).asked == (90, 1_010)


def test_another_epoch_is_another_clip():
    assert put(trig(100, epoch=2), [clip(trig(100))]).clip_id == trig(100, epoch=2).trig_id


def test_the_second_clip_takes_what_the_first_has_no_room_for():
    first, second = clip(trig(100)), clip(trig(130, 145))
    assert put(trig(118, 150), [first, second]).clip_id == second.clip_id


# Revisions --------------------------------------------------------------------------------------


def test_a_revision_extends_its_open_clip():
    order = clip(trig(100))
    assert put(trig(100, 130, revision=1), [order], order).asked == (90, 140)


def test_a_revision_takes_the_place_of_the_one_before():
    order = clip(trig(100))
    assert put(trig(100, 130, revision=1), [order], order).triggers == (trig(100, 130, revision=1),)


def test_a_lower_revision_that_comes_late_does_not():
    order = clip(trig(100, 130, revision=1))
    assert put(trig(100), [order], order).triggers == (trig(100, 130, revision=1),)


def test_a_revision_whose_moment_is_in_the_closed_clip_asks_for_no_other():
    order = clip(trig(100))
    assert put(trig(100, 105, revision=1), [], order).clip_id == order.clip_id


def test_a_revision_beyond_the_closed_clip_goes_on_where_that_ends():
    order = clip(trig(100))
    after = put(trig(100, 130, revision=1), [], order)
    assert (after.clip_id, after.asked) == (f"{trig(100).trig_id}-r1", (110, 140))


def test_a_revision_that_makes_the_clip_too_long_goes_on_in_the_next():
    order = clip(trig(100))
    assert put(trig(100, 200, revision=1), [order], order).asked == (110, 210)


# Limits -----------------------------------------------------------------------------------------


def test_the_end_of_time_is_no_overflow():
    assert span_of(trig(COUNT_MAX), 10, 10)[1] == COUNT_MAX


def test_the_rest_of_a_rest_has_a_name_no_longer_than_the_first():
    """A folder of photographs changes its size with every frame, and a name has 255 bytes at most."""
    order = clip(trig(100))
    for n in range(100, 1000):
        order = order.rest_from(frame(n))
    assert order.clip_id == f"{trig(100).trig_id}-f999"


@pytest.mark.parametrize(("start", "joins"), [(110, True), (109, False)])
def test_a_rest_takes_no_trigger_that_wants_what_lies_before_it(start, joins):
    """It would end at its own first frame again."""
    rest = clip(trig(100)).rest_from(frame(100))
    assert (put(trig(start), [rest]).clip_id == rest.clip_id) is joins

"""Which frames a clip holds and what it lacks: exactly the frames whose interval meets the asked span."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visualbase.clip import ClipTimeline, Gap
from visualpath_protocol.messages import FrameHeader

FRAME_NS = 40
"""Times in these tests are small numbers: the timeline only compares and subtracts them."""


def header(frame_id, t_ns):
    return FrameHeader(
        stream="cam1", epoch=1, frame_id=frame_id, t_ns=t_ns, wall_ns=0, mono_ns=0, width=2, height=2, payloads=[]
    )


def play(frames, start, end, *, lost=(), reason="after_end", frame_ns=FRAME_NS):
    """Feed (frame_id, t_ns) pairs until the timeline closes, then finish; returns it and the ids it showed."""
    timeline = ClipTimeline(start, end, frame_ns)
    shown = []

    def take(one):
        if one is None:
            return
        shown.append(one.header.frame_id)
        if one.header.frame_id in lost:
            timeline.lost(one, "evicted")
        else:
            timeline.taken(one)

    for frame_id, t_ns in frames:
        take(timeline.feed(header(frame_id, t_ns)))
        if timeline.closed:
            break
    take(timeline.finish(reason))
    return timeline, shown


def steady(count, first=0, step=FRAME_NS):
    return [(first + n, (first + n) * step) for n in range(count)]


# Which frames -----------------------------------------------------------------------------------


def test_a_clip_holds_the_frames_of_its_span():
    assert play(steady(20), 100, 250)[1] == [2, 3, 4, 5, 6]


def test_the_frame_that_is_shown_at_the_start_belongs_to_the_clip():
    assert play(steady(20), 119, 250)[1][0] == 2


def test_a_frame_that_begins_exactly_at_the_start_is_the_first():
    assert play(steady(20), 120, 250)[1][0] == 3


def test_a_frame_that_begins_exactly_at_the_end_is_the_last():
    assert play(steady(20), 100, 240)[1][-1] == 6


def test_a_frame_that_begins_just_after_the_end_is_left_out():
    assert play(steady(20), 100, 239)[1][-1] == 5


def test_a_span_of_one_instant_holds_the_frame_shown_then():
    assert play(steady(20), 100, 100)[1] == [2]


def test_frames_of_variable_rate_are_shown_until_their_successor():
    assert play([(0, 0), (1, 10), (2, 500), (3, 510)], 300, 505)[1] == [1, 2]


def test_a_complete_clip_lacks_nothing():
    assert play(steady(20), 100, 250)[0].gaps == []


def test_delivered_begins_with_the_first_picture_and_ends_with_the_last():
    assert play(steady(20), 100, 250)[0].delivered == (80, 280)


def test_frames_counts_the_pictures_that_are_in():
    assert play(steady(20), 100, 250, lost={4})[0].frames == 4


def test_the_timeline_closes_at_the_first_frame_past_the_end():
    timeline = ClipTimeline(0, 80, FRAME_NS)
    closed = []
    for frame_id, t_ns in steady(4):
        timeline.feed(header(frame_id, t_ns))
        closed.append(timeline.closed)
    assert closed == [False, False, False, True]


def test_the_last_frame_of_a_stream_is_shown_for_one_frame_interval():
    assert play(steady(3), 0, 500)[0].delivered == (0, 120)


def test_the_frame_interval_is_the_last_one_seen():
    assert play([(0, 0), (1, 25)], 0, 500)[0].delivered == (0, 50)


# What is absent ---------------------------------------------------------------------------------


def test_a_span_that_begins_before_the_stream_lacks_before_start():
    assert play(steady(10), -100, 100)[0].gaps == [Gap(-100, 0, "before_start")]


def test_a_span_whose_first_frames_are_gone_from_the_ring_lacks_evicted():
    assert play(steady(10, first=5), 100, 300)[0].gaps == [Gap(100, 200, "evicted")]


def test_a_span_that_outlasts_the_stream_lacks_after_end():
    assert play(steady(5), 100, 400)[0].gaps == [Gap(200, 400, "after_end")]


@pytest.mark.parametrize("reason", ["after_end", "not_received", "epoch_change"])
def test_the_rest_is_lacking_for_the_reason_that_ended_the_clip(reason):
    assert play(steady(5), 100, 400, reason=reason)[0].gaps == [Gap(200, 400, reason)]


def test_missing_ids_are_not_received():
    frames = [frame for frame in steady(10) if frame[0] not in (3, 4)]
    assert play(frames, 0, 300)[0].gaps == [Gap(120, 200, "not_received")]


def test_a_frame_before_missing_ids_is_shown_for_one_interval_only():
    frames = [(0, 0), (1, 40), (9, 360), (10, 400)]
    assert play(frames, 100, 380)[1] == [9]


def test_missing_ids_without_missing_time_are_no_gap():
    assert play([(0, 0), (1, 40), (3, 80), (4, 120)], 0, 100)[0].gaps == []


def test_a_gap_ends_at_the_end_of_the_span():
    assert play([(0, 0), (1, 40), (9, 360)], 0, 200)[0].gaps == [Gap(80, 200, "not_received")]


def test_a_gap_begins_at_the_start_of_the_span():
    assert play([(0, 0), (1, 40), (9, 360), (10, 400)], 200, 380)[0].gaps == [Gap(200, 360, "not_received")]


def test_a_lost_picture_is_a_gap_as_long_as_it_would_have_been_shown():
    assert play(steady(10), 0, 300, lost={3})[0].gaps == [Gap(120, 160, "evicted")]


def test_lost_pictures_in_a_row_are_one_gap():
    assert play(steady(10), 0, 300, lost={3, 4, 5})[0].gaps == [Gap(120, 240, "evicted")]


def test_a_lost_first_picture_lacks_no_more_than_the_span():
    assert play(steady(10), 130, 300, lost={3})[0].gaps == [Gap(130, 160, "evicted")]


def test_a_lost_last_picture_lacks_no_more_than_the_span():
    assert play(steady(10), 0, 130, lost={3})[0].gaps == [Gap(120, 130, "evicted")]


def test_gaps_are_in_the_order_of_time():
    frames = [(0, 0), (1, 40), (2, 80), (6, 240), (7, 280)]
    gaps = play(frames, 0, 270, lost={2})[0].gaps
    assert gaps == [Gap(80, 120, "evicted"), Gap(120, 240, "not_received")]


# Nothing of the span ----------------------------------------------------------------------------


def test_a_stream_without_frames_lacks_everything():
    timeline, shown = play([], 100, 400, reason="not_received")
    assert (shown, timeline.delivered, timeline.gaps) == ([], None, [Gap(100, 400, "not_received")])


def test_a_span_wholly_before_the_stream_lacks_everything_before_start():
    timeline, shown = play(steady(10), -400, -100)
    assert (shown, timeline.gaps) == ([], [Gap(-400, -100, "before_start")])


def test_a_span_wholly_before_the_oldest_frame_is_evicted():
    timeline, shown = play(steady(10, first=50), 100, 400)
    assert (shown, timeline.gaps) == ([], [Gap(100, 400, "evicted")])


def test_a_span_wholly_after_the_stream_lacks_everything_after_end():
    timeline, shown = play(steady(3), 400, 800)
    assert (shown, timeline.gaps) == ([], [Gap(400, 800, "after_end")])


def test_a_span_inside_a_hole_lacks_everything():
    timeline, shown = play([(0, 0), (1, 40), (20, 800)], 200, 400)
    assert (shown, timeline.gaps) == ([], [Gap(200, 400, "not_received")])


# The law ----------------------------------------------------------------------------------------


@st.composite
def recordings(draw):
    """A stream of rising times with holes in its ids, a span that may lie anywhere, and pictures that are lost."""
    first_id = draw(st.integers(0, 2))
    steps = draw(st.lists(st.tuples(st.integers(1, 12), st.sampled_from([1, 1, 1, 2, 4])), max_size=14))
    frames = []
    frame_id, t_ns = first_id, draw(st.integers(0, 20))
    for step_ns, step_id in steps:
        frames.append((frame_id, t_ns))
        frame_id, t_ns = frame_id + step_id, t_ns + step_ns
    start = draw(st.integers(-10, 90))
    end = start + draw(st.integers(0, 60))
    lost = draw(st.sets(st.sampled_from([n for n, _ in frames]))) if frames else set()
    return frames, start, end, lost, draw(st.sampled_from(["after_end", "not_received", "epoch_change"]))


def intervals(frames, frame_ns):
    """[(frame_id, from, until)]: until the successor, or for one interval where the successor is not the next."""
    result = []
    for (frame_id, t_ns), (next_id, next_ns) in pairwise(frames):
        if next_id == frame_id + 1:
            frame_ns = next_ns - t_ns
            result.append((frame_id, t_ns, next_ns))
        else:
            result.append((frame_id, t_ns, min(next_ns, t_ns + frame_ns)))
    if frames:
        result.append((*frames[-1], frames[-1][1] + frame_ns))
    return result


def expected_at(instant, frames, shown, lost, reason):
    """Why `instant` is lacking, or "" if a picture shows it: looked up instant by instant."""
    for frame_id, from_ns, until_ns in shown:
        if from_ns <= instant < until_ns:
            return "evicted" if frame_id in lost else ""
    if not frames or instant >= shown[-1][2]:
        return reason
    if instant < frames[0][1]:
        return "before_start" if frames[0][0] == 0 else "evicted"
    return "not_received"


@given(recordings())
def test_a_clip_holds_exactly_the_frames_whose_interval_meets_the_span(recording):
    frames, start, end, lost, reason = recording
    _, shown = play(frames, start, end, lost=lost, reason=reason, frame_ns=5)
    meets = [n for n, from_ns, until_ns in intervals(frames, 5) if from_ns <= end and until_ns > start]
    assert shown == meets


@given(recordings())
def test_each_instant_is_shown_or_lacks_for_its_reason_and_never_twice(recording):
    frames, start, end, lost, reason = recording
    timeline, _ = play(frames, start, end, lost=lost, reason=reason, frame_ns=5)
    shown = intervals(frames, 5)
    for instant in range(start, end):
        reasons = [gap.reason for gap in timeline.gaps if gap.from_ns <= instant < gap.to_ns]
        expected = expected_at(instant, frames, shown, lost, reason)
        assert reasons == ([expected] if expected else []), instant


@given(recordings())
def test_gaps_lie_inside_the_span_one_after_the_other(recording):
    frames, start, end, lost, reason = recording
    gaps = play(frames, start, end, lost=lost, reason=reason, frame_ns=5)[0].gaps
    edges = [edge for gap in gaps for edge in (gap.from_ns, gap.to_ns)]
    assert edges == sorted(edges)
    assert all(start <= edge <= end for edge in edges)


@given(recordings())
def test_delivered_and_gaps_together_cover_the_span(recording):
    frames, start, end, lost, reason = recording
    timeline, _ = play(frames, start, end, lost=lost, reason=reason, frame_ns=5)
    covers = [(gap.from_ns, gap.to_ns) for gap in timeline.gaps]
    covers += [timeline.delivered] if timeline.delivered else []
    assert all(any(from_ns <= t < to_ns for from_ns, to_ns in covers) for t in range(start, end))

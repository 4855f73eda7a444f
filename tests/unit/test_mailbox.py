"""Between the thread that receives and the one that works: which frames wait, and which give way."""

import threading
import time
from typing import get_args

import pytest

from visualpath.core.extractor import DropStrategy
from visualpath.process.mailbox import PLACES, Mailbox, Task
from visualpath_protocol.messages import FrameHeader

DEADLINE_S = 10.0


def task(frame_id, stream="cam1"):
    header = FrameHeader(
        stream=stream, epoch=1, frame_id=frame_id, t_ns=frame_id, wall_ns=0, mono_ns=0, width=2, height=2, payloads=[]
    )
    return Task(header)


def test_what_is_put_can_be_taken():
    mailbox = Mailbox()
    mailbox.put(task(0))
    assert mailbox.take() == task(0)


def test_a_frame_that_waits_is_replaced_by_the_next():
    mailbox = Mailbox()
    mailbox.put(task(0))
    mailbox.put(task(1))
    assert mailbox.take() == task(1)


def test_put_returns_the_frame_that_was_replaced():
    mailbox = Mailbox()
    assert [mailbox.put(task(n)) for n in range(3)] == [None, task(0), task(1)]


def test_a_frame_that_was_taken_is_not_replaced():
    mailbox = Mailbox()
    mailbox.put(task(0))
    mailbox.take()
    assert mailbox.put(task(1)) is None


def test_a_stream_replaces_its_own_frames_only():
    mailbox = Mailbox()
    mailbox.put(task(0, "cam1"))
    assert mailbox.put(task(7, "cam2")) is None


def test_the_stream_that_has_waited_longest_comes_first():
    mailbox = Mailbox()
    mailbox.put(task(0, "cam1"))
    mailbox.put(task(0, "cam2"))
    assert [mailbox.take().header.stream for _ in range(2)] == ["cam1", "cam2"]


def test_a_stream_keeps_its_place_in_the_row_when_its_frame_is_replaced():
    mailbox = Mailbox()
    for one in (task(0, "cam1"), task(0, "cam2"), task(1, "cam1")):
        mailbox.put(one)
    assert mailbox.take() == task(1, "cam1")


def test_a_slow_stream_gets_its_turn_beside_a_fast_one():
    mailbox = Mailbox()
    mailbox.put(task(0, "slow"))
    for n in range(5):
        mailbox.put(task(n, "fast"))
    assert mailbox.take() == task(0, "slow")


# Strategies -------------------------------------------------------------------------------------


def test_every_strategy_has_its_number_of_places():
    assert set(PLACES) == set(get_args(DropStrategy))


def displaced(mailbox, count):
    """Offer `count` frames while nobody takes any: the numbers of those that gave way, None for nobody."""
    gave_way = [mailbox.put(task(n)) for n in range(count)]
    return [one and one.header.frame_id for one in gave_way]


def all_taken(mailbox, count):
    return [mailbox.take().header.frame_id for _ in range(count)]


def test_keyframe_only_keeps_the_newest():
    mailbox = Mailbox("keyframe_only")
    assert (displaced(mailbox, 3), all_taken(mailbox, 1)) == ([None, 0, 1], [2])


def test_skip_intermediate_keeps_the_oldest_and_the_newest():
    mailbox = Mailbox("skip_intermediate")
    assert displaced(mailbox, 5) == [None, None, 1, 2, 3]
    assert all_taken(mailbox, 2) == [0, 4]


def test_skip_intermediate_has_a_place_again_when_the_oldest_is_taken():
    mailbox = Mailbox("skip_intermediate")
    displaced(mailbox, 2)
    mailbox.take()
    assert mailbox.put(task(2)) is None


def test_with_skip_intermediate_streams_take_turns():
    mailbox = Mailbox("skip_intermediate")
    for one in (task(0, "cam1"), task(1, "cam1"), task(0, "cam2"), task(1, "cam2")):
        mailbox.put(one)
    assert [mailbox.take().header.stream for _ in range(4)] == ["cam1", "cam2", "cam1", "cam2"]


def test_skip_busy_refuses_a_frame_that_nobody_waits_for():
    assert Mailbox("skip_busy").put(task(0)) == task(0)


@pytest.fixture
def awaited():
    """A mailbox that keeps nothing, and a worker that takes one frame from it, and what it took."""
    mailbox = Mailbox("skip_busy")
    taken, thread = in_thread(mailbox.take)
    return mailbox, taken, thread


def until_taken(mailbox, one):
    """Offer a frame until it is not refused."""
    deadline = time.monotonic() + DEADLINE_S
    while mailbox.put(one) is not None:
        assert time.monotonic() < deadline, "nobody waits for a frame"


def test_skip_busy_gives_a_frame_to_a_worker_that_waits(awaited):
    mailbox, taken, thread = awaited
    until_taken(mailbox, task(0))
    thread.join(DEADLINE_S)
    assert taken == [task(0)]


def test_skip_busy_refuses_frames_of_all_streams_until_the_next_take(awaited):
    mailbox, _, thread = awaited
    until_taken(mailbox, task(0))
    assert [mailbox.put(task(1, stream)) for stream in ("cam1", "cam2")] == [task(1, "cam1"), task(1, "cam2")]
    thread.join(DEADLINE_S)
    assert mailbox.put(task(2)) == task(2)


# The end ----------------------------------------------------------------------------------------


def test_take_returns_none_once_closed():
    mailbox = Mailbox()
    mailbox.close()
    assert mailbox.take() is None


def test_what_still_waits_at_the_close_is_not_worked_on():
    mailbox = Mailbox()
    mailbox.put(task(0))
    mailbox.close()
    assert mailbox.take() is None


def test_close_returns_what_still_waits_each_stream_in_order():
    mailbox = Mailbox("skip_intermediate")
    tasks = [task(0, "cam1"), task(1, "cam1"), task(0, "cam2")]
    for one in tasks:
        mailbox.put(one)
    assert mailbox.close() == tasks


def test_close_returns_nothing_twice():
    mailbox = Mailbox()
    mailbox.put(task(0))
    mailbox.close()
    assert (mailbox.close(), len(mailbox)) == ([], 0)


@pytest.mark.parametrize("drop", get_args(DropStrategy))
def test_what_is_put_once_closed_comes_back(drop):
    mailbox = Mailbox(drop)
    mailbox.close()
    assert [mailbox.put(task(n)) for n in range(2)] == [task(0), task(1)]


def in_thread(action):
    """Start `action`; returns its results and the thread."""
    results = []
    thread = threading.Thread(target=lambda: results.append(action()), daemon=True)
    thread.start()
    return results, thread


def test_take_waits_for_a_frame():
    mailbox = Mailbox()
    results, thread = in_thread(mailbox.take)
    mailbox.put(task(0))
    thread.join(DEADLINE_S)
    assert results == [task(0)]


def test_close_ends_a_take_that_waits():
    mailbox = Mailbox()
    results, thread = in_thread(mailbox.take)
    mailbox.close()
    thread.join(DEADLINE_S)
    assert results == [None]


@pytest.mark.parametrize("drop", get_args(DropStrategy))
def test_between_threads_every_frame_is_taken_or_gives_way_and_none_twice(drop):
    mailbox = Mailbox(drop)
    taken, gave_way = [], []

    def work():
        while (one := mailbox.take()) is not None:
            taken.append(one.header.frame_id)

    _, thread = in_thread(work)
    for n in range(5000):
        before = mailbox.put(task(n))
        if before is not None:
            gave_way.append(before.header.frame_id)
    deadline = time.monotonic() + DEADLINE_S
    while len(taken) + len(gave_way) < 5000 and time.monotonic() < deadline:
        pass
    mailbox.close()
    thread.join(DEADLINE_S)
    assert sorted(taken + gave_way) == list(range(5000))
    assert taken == sorted(taken)

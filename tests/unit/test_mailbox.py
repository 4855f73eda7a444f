"""Between the thread that receives and the one that works: the newest frame of each stream."""

import threading

from visualpath.process.mailbox import Mailbox
from visualpath_protocol.messages import FrameHeader

DEADLINE_S = 10.0


def header(frame_id, stream="cam1"):
    return FrameHeader(
        stream=stream, epoch=1, frame_id=frame_id, t_ns=frame_id, wall_ns=0, mono_ns=0, width=2, height=2, payloads=[]
    )


def test_what_is_put_can_be_taken():
    mailbox = Mailbox()
    mailbox.put(header(0))
    assert mailbox.take() == header(0)


def test_a_frame_that_waits_is_replaced_by_the_next():
    mailbox = Mailbox()
    mailbox.put(header(0))
    mailbox.put(header(1))
    assert mailbox.take() == header(1)


def test_put_returns_the_frame_that_was_replaced():
    mailbox = Mailbox()
    assert [mailbox.put(header(n)) for n in range(3)] == [None, header(0), header(1)]


def test_a_frame_that_was_taken_is_not_replaced():
    mailbox = Mailbox()
    mailbox.put(header(0))
    mailbox.take()
    assert mailbox.put(header(1)) is None


def test_a_stream_replaces_its_own_frames_only():
    mailbox = Mailbox()
    mailbox.put(header(0, "cam1"))
    assert mailbox.put(header(7, "cam2")) is None


def test_the_stream_that_has_waited_longest_comes_first():
    mailbox = Mailbox()
    mailbox.put(header(0, "cam1"))
    mailbox.put(header(0, "cam2"))
    assert [mailbox.take().stream for _ in range(2)] == ["cam1", "cam2"]


def test_a_stream_keeps_its_place_in_the_row_when_its_frame_is_replaced():
    mailbox = Mailbox()
    for one in (header(0, "cam1"), header(0, "cam2"), header(1, "cam1")):
        mailbox.put(one)
    assert mailbox.take() == header(1, "cam1")


def test_a_slow_stream_gets_its_turn_beside_a_fast_one():
    mailbox = Mailbox()
    mailbox.put(header(0, "slow"))
    for n in range(5):
        mailbox.put(header(n, "fast"))
    assert mailbox.take() == header(0, "slow")


def test_take_returns_none_once_closed():
    mailbox = Mailbox()
    mailbox.close()
    assert mailbox.take() is None


def test_what_still_waits_at_the_close_is_not_worked_on():
    mailbox = Mailbox()
    mailbox.put(header(0))
    mailbox.close()
    assert mailbox.take() is None


def in_thread(action):
    """Start `action`; returns its results and the thread."""
    results = []
    thread = threading.Thread(target=lambda: results.append(action()), daemon=True)
    thread.start()
    return results, thread


def test_take_waits_for_a_frame():
    mailbox = Mailbox()
    results, thread = in_thread(mailbox.take)
    mailbox.put(header(0))
    thread.join(DEADLINE_S)
    assert results == [header(0)]


def test_close_ends_a_take_that_waits():
    mailbox = Mailbox()
    results, thread = in_thread(mailbox.take)
    mailbox.close()
    thread.join(DEADLINE_S)
    assert results == [None]


def test_between_threads_every_frame_is_taken_or_replaced_and_none_twice():
    mailbox = Mailbox()
    taken, replaced = [], []

    def work():
        while (one := mailbox.take()) is not None:
            taken.append(one.frame_id)
            if one.frame_id == 4999:
                return

    _, thread = in_thread(work)
    for n in range(5000):
        before = mailbox.put(header(n))
        if before is not None:
            replaced.append(before.frame_id)
    thread.join(DEADLINE_S)
    assert sorted(taken + replaced) == list(range(5000))

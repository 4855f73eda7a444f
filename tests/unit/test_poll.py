"""The poll loop: hand-overs, timers, deadlines, and how it is stopped."""

import os
import signal
import subprocess
import sys
import threading

import pytest
import zmq

from visualpath.runtime import poll
from visualpath.runtime.poll import PollLoop
from visualpath_protocol.clock import mono_ns

MS = 1_000_000
PATIENCE_S = 10.0


@pytest.fixture
def loop():
    loop = PollLoop()
    yield loop
    loop.close()


@pytest.fixture
def in_thread(loop):
    """Start the loop in a thread; it is stopped at the end."""
    thread = threading.Thread(target=loop.run)
    thread.start()
    yield thread
    loop.stop()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()


@pytest.fixture
def pipe():
    context = zmq.Context()
    ends = context.socket(zmq.PAIR), context.socket(zmq.PAIR)
    ends[0].bind("inproc://pipe")
    ends[1].connect("inproc://pipe")
    yield ends
    for end in ends:
        end.close(linger=0)
    context.term()


@pytest.fixture
def at(monkeypatch):
    """Set the clock that the loop reads."""
    monkeypatch.setattr(poll, "mono_ns", lambda: at.now)

    def at(now_ms):
        at.now = now_ms * MS

    at(0)
    return at


def stop_after(loop, passes):
    """Stop the loop after so many passes; returns the list of their times."""
    seen = []

    def tick(now):
        seen.append(now)
        if len(seen) >= passes:
            loop.stop()

    loop.on_tick(tick, lambda: 0)
    return seen


# Hand-overs -----------------------------------------------------------------------------------------


def test_what_one_thread_hands_over_runs_in_its_order(loop):
    seen = []
    for number in range(1000):
        loop.call_soon(lambda number=number: seen.append(number))
    loop.call_soon(loop.stop)
    loop.run()
    assert seen == list(range(1000))


def test_what_several_threads_hand_over_at_a_time_keeps_each_ones_order(loop, in_thread, wait_for):
    seen = []

    def hand_over(name):
        for number in range(500):
            loop.call_soon(lambda number=number: seen.append((name, number)))

    threads = [threading.Thread(target=hand_over, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_for(lambda: len(seen) == 2000)
    assert all([n for name, n in seen if name == each] == list(range(500)) for each in range(4))


def test_what_is_handed_over_runs_in_the_loops_thread(loop, in_thread, wait_for):
    ran_in = []
    loop.call_soon(lambda: ran_in.append(threading.current_thread()))
    wait_for(lambda: ran_in)
    assert ran_in == [in_thread]


def test_handing_over_wakes_a_loop_that_has_nothing_else_to_do(loop, in_thread, wait_for):
    called = []
    asked_ns = mono_ns()
    loop.call_soon(lambda: called.append(mono_ns()))
    wait_for(lambda: called)
    assert called[0] - asked_ns < poll.LONGEST_WAIT_NS / 2


def test_more_wake_ups_than_the_pipe_holds_block_nobody(loop):
    for _ in range(70_000):
        loop.wake()
    loop.stop()
    loop.run()


def test_what_was_handed_over_before_the_stop_still_runs(loop):
    seen = []
    loop.call_soon(loop.stop)
    loop.call_soon(lambda: seen.append("ran"))
    loop.run()
    assert seen == ["ran"]


def test_what_was_handed_over_at_the_last_moment_before_the_stop_still_runs(loop):
    seen = []

    def tick(_now):
        loop.call_soon(lambda: seen.append("ran"))
        loop.stop()

    loop.on_tick(tick)
    loop.wake()
    loop.run()
    assert seen == ["ran"]


def test_a_loop_that_was_stopped_can_run_again(loop):
    loop.stop()
    loop.run()
    seen = stop_after(loop, 2)
    loop.run()
    assert len(seen) == 2


def test_a_defect_leaves_the_loop_loudly(loop):
    def defect():
        raise ZeroDivisionError

    loop.call_soon(defect)
    with pytest.raises(ZeroDivisionError):
        loop.run()


# Sockets --------------------------------------------------------------------------------------------


def test_each_message_of_a_socket_reaches_its_handler_with_all_parts(loop, pipe):
    seen = []

    def take(parts):
        seen.append(parts)
        if len(seen) == 2:
            loop.stop()

    loop.watch(pipe[0], take)
    pipe[1].send_multipart([b"a", b"b"])
    pipe[1].send_multipart([b"c"])
    loop.run()
    assert seen == [[b"a", b"b"], [b"c"]]


def test_a_flood_on_one_socket_lets_the_clock_have_its_turn(loop, pipe):
    seen, at_ticks = [], []
    loop.watch(pipe[0], seen.append, at_once=10)
    loop.on_tick(lambda _: (at_ticks.append(len(seen)), len(seen) == 25 and loop.stop()))
    for _ in range(25):
        pipe[1].send(b"x")
    loop.run()
    assert at_ticks == [10, 20, 25]


# Time -----------------------------------------------------------------------------------------------


def test_a_deadline_wakes_the_loop(loop):
    due_ns = mono_ns() + 20 * MS
    woken = []

    def tick(now):
        if now >= due_ns:
            woken.append(now)
            loop.stop()

    loop.on_tick(tick, lambda: due_ns)
    loop.run()
    assert 0 <= woken[0] - due_ns < poll.LONGEST_WAIT_NS / 2


def test_the_wait_is_rounded_up_so_that_a_deadline_never_spins(loop, at):
    loop.on_tick(lambda _: None, lambda: 1)
    assert loop._wait_ms() == 1


def test_a_deadline_in_the_past_is_not_waited_for(loop, at):
    at(50)
    loop.on_tick(lambda _: None, lambda: 10 * MS)
    assert loop._wait_ms() == 0


def test_the_nearest_of_all_deadlines_counts(loop, at):
    loop.every(40 * MS, lambda _: None)
    loop.on_tick(lambda _: None, lambda: 30 * MS)
    loop.on_tick(lambda _: None, lambda: None)
    assert loop._wait_ms() == 30


def test_without_deadlines_the_loop_still_looks_up_now_and_then(loop, at):
    assert loop._wait_ms() == poll.LONGEST_WAIT_NS // MS


def test_a_timer_first_comes_after_one_interval(loop, at):
    came = []
    loop.every(100 * MS, came.append)
    for now_ms in (0, 99, 100, 150, 199, 200):
        at(now_ms)
        loop._run_timers()
    assert came == [100 * MS, 200 * MS]


def test_a_timer_does_not_drift(loop, at):
    came = []
    loop.every(100 * MS, came.append)
    for now_ms in (107, 199, 200, 309):
        at(now_ms)
        loop._run_timers()
    assert came == [107 * MS, 200 * MS, 309 * MS]


def test_missed_intervals_of_a_timer_are_not_made_up_for(loop, at):
    came = []
    loop.every(100 * MS, came.append)
    for now_ms in (1000, 1001, 1099, 1100):
        at(now_ms)
        loop._run_timers()
    assert came == [1000 * MS, 1100 * MS]


def test_the_ticks_come_after_each_pass_even_when_nothing_is_due(loop):
    passes = stop_after(loop, 3)
    loop.run()
    assert passes == sorted(passes)
    assert len(passes) == 3


# Stopping -------------------------------------------------------------------------------------------


def test_another_thread_can_stop_it(loop):
    threading.Timer(0.01, loop.stop).start()
    loop.run()


def test_a_loop_stopped_before_it_ran_does_nothing(loop):
    loop.stop()
    loop.run()


@pytest.mark.parametrize("number", sorted(poll.STOP_SIGNALS))
def test_a_stop_signals_number_on_the_wake_up_pipe_stops_it(loop, number):
    os.write(loop.wake_fd, bytes([0, number]))
    loop.run()


def test_another_signals_number_does_not_stop_it(loop):
    os.write(loop.wake_fd, bytes([signal.SIGCHLD]))
    passes = stop_after(loop, 3)
    loop.run()
    assert len(passes) == 3


SLEEPER = """
import signal, sys, threading
from visualpath.runtime.poll import PollLoop
loop = PollLoop()
signal.signal(signal.SIGTERM, lambda *_: None)
signal.set_wakeup_fd(loop.wake_fd)
thread = threading.Thread(target=loop.run) if sys.argv[1] == "thread" else None
loop.call_soon(lambda: print("runs", flush=True))
if thread:
    thread.start(), thread.join()
else:
    loop.run()
print("ended in order")
"""


@pytest.mark.parametrize("where", ["main", "thread"])
def test_sigterm_ends_a_waiting_loop_in_whatever_thread_it_runs(where):
    with subprocess.Popen([sys.executable, "-c", SLEEPER, where], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "runs\n"
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=PATIENCE_S)[0] == "ended in order\n"
    assert process.returncode == 0


def test_a_rest_lasts_as_long_as_it_is_told(loop):
    before = mono_ns()
    loop.rest(50 * MS)
    assert mono_ns() - before >= 50 * MS


def test_a_signal_to_stop_ends_a_rest(loop):
    os.write(loop.wake_fd, bytes([signal.SIGTERM]))
    before = mono_ns()
    loop.rest(3600 * 1000 * MS)
    assert mono_ns() - before < PATIENCE_S * 1000 * MS

"""Jobs leave the loop's thread, and their results come back to it."""

import threading

import pytest

from visualpath.clip.worker import Worker


@pytest.fixture
def worker():
    worker = Worker(lambda _callback: None)  # results come back at the end
    yield worker
    if worker._thread.is_alive():
        worker.close()


def test_a_job_is_done_in_another_thread_and_its_result_taken_in_this_one(worker):
    threads = []
    worker.submit(threading.current_thread, lambda thread: threads.extend([thread, threading.current_thread()]))
    worker.close()
    assert threads[0] is not threads[1] is threading.current_thread()


def test_jobs_are_done_in_their_order(worker):
    done = []
    for n in range(20):
        worker.submit(lambda n=n: n, done.append)
    worker.close()
    assert done == list(range(20))


def test_a_bug_in_a_job_is_raised_in_the_loop(worker):
    def bug():
        raise ZeroDivisionError

    worker.submit(bug, print)
    with pytest.raises(ZeroDivisionError):
        worker.close()


def test_there_is_no_room_beyond_the_bound(worker):
    hold = threading.Event()
    while worker.has_room:
        worker.submit(hold.wait, lambda _: None)
        assert worker._open <= 64
    hold.set()
    worker.close()
    assert worker.has_room


def test_it_says_for_how_long_the_present_job_has_been_done(worker, wait_for):
    goes_on = threading.Event()
    worker.submit(goes_on.wait, print)
    wait_for(lambda: worker.busy_ns > 10_000_000)
    goes_on.set()
    wait_for(lambda: worker.busy_ns == 0)

"""What extractors do to their workers, and the way out: every frame is answered, and nothing is left behind."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest

from visualbase.frame import Frame
from visualpath.core.isolation import IsolationLevel
from visualpath.process import BaseWorker, ProcessWorker, ThreadWorker, WorkerLauncher
from visualpath.process.channel import FROM_CHILD, Channel, ChannelClosed, Done, Failed, packed
from visualpath.process.child_process import ChildProcess
from visualpath.process.worker import WAITING_MAX, WorkerResult
from visualpath_protocol.codec import encode

PATIENCE_S = 60
LEVELS = list(IsolationLevel)

PLUGINS = """
import os, signal, subprocess, sys, threading, time
import numpy as np
from visualpath.core import BaseExtractor, Observation

GATE = threading.Event()
SAME = Observation(signals={"n": 1.0})


class Faulty(BaseExtractor):
    name = "faulty"

    def extract(self, frame):
        fault = self.config.get(str(frame.frame_id))
        return getattr(self, fault)() if fault else Observation(data={"pid": os.getpid()})

    def stop_reading(self):
        os.kill(os.getpid(), signal.SIGSTOP)

    def die_of_an_unnamed_signal(self):
        os.kill(os.getpid(), 40)

    def see_too_much(self):
        return Observation(data=np.zeros(20_000_000, np.uint8))

    def raise_what_is_no_text(self):
        raise RuntimeError("weights/\\udcff.onnx")

    def exit(self):
        sys.exit("no licence")

    def start_another(self):
        return Observation(data={"pid": subprocess.Popen(["sleep", "3600"]).pid})

    def say_the_same(self):
        return SAME

    def wait(self):
        GATE.wait(60)
"""


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A module that this process imports from where no environment variable points to."""
    (tmp_path / "faulty_plugins.py").write_text(PLUGINS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "faulty_plugins", raising=False)
    import faulty_plugins

    return faulty_plugins


@pytest.fixture
def start(plugins):
    """Starts a worker whose extractor has the faults given, by frame; closes it at the end."""
    workers: list[BaseWorker] = []

    def start(*faults, level=IsolationLevel.PROCESS, **options):
        config = {str(number): fault for number, fault in enumerate(faults)}
        worker = WorkerLauncher.create(plugins.Faulty, level, sys.prefix, config, fallback=False, **options)
        workers.append(worker)
        return worker

    yield start
    plugins.GATE.set()
    for worker in workers:
        worker.close()


def look(worker: BaseWorker, number: int) -> Future[WorkerResult]:
    return worker.process_async(Frame(np.zeros((8, 8, 3), np.uint8), number, number))


def looked(worker: BaseWorker, number: int = 0) -> WorkerResult:
    return look(worker, number).result(PATIENCE_S)


def wait_until(true) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def has_ended(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_child_that_hangs_at_a_small_frame_is_ended_though_no_other_frame_comes(start):
    worker = start("stop_reading", timeout_s=0.5)
    assert looked(worker).error == "worker 'faulty' at frame #0: no answer after 0.5 s"
    assert looked(worker, 1).error is None


def test_a_child_that_stops_reading_in_the_middle_of_a_frame_is_ended(start):
    worker = start("stop_reading", timeout_s=0.5)
    frames = [Frame(np.zeros((2000, 2000, 3), np.uint8), number, number) for number in range(2)]
    first, second = [worker.process_async(frame) for frame in frames]
    assert "no answer after" in first.result(PATIENCE_S).error
    assert second.result(PATIENCE_S).error is None


def test_a_signal_without_a_name_is_told_by_its_number(start):
    assert looked(start("die_of_an_unnamed_signal")).error.endswith("its process ended: killed by signal 40")


@pytest.mark.parametrize("level", [IsolationLevel.PROCESS, IsolationLevel.VENV])
def test_too_large_an_observation_costs_its_frame_and_not_the_child(start, level, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = start(None, "see_too_much", level=level)
    pid = looked(worker, 0).observation.data["pid"]
    assert "are too large" in looked(worker, 1).error
    assert looked(worker, 2).observation.data["pid"] == pid


def test_an_exception_whose_text_is_no_text_costs_its_frame_and_not_the_child(start):
    worker = start(None, "raise_what_is_no_text")
    pid = looked(worker, 0).observation.data["pid"]
    assert looked(worker, 1).error.startswith("RuntimeError: weights/?.onnx")
    assert looked(worker, 2).observation.data["pid"] == pid


@pytest.mark.parametrize("level", [IsolationLevel.THREAD, IsolationLevel.PROCESS])
def test_an_extractor_that_wants_to_exit_costs_its_frame(start, level):
    worker = start("exit", level=level)
    assert "no licence" in looked(worker, 0).error
    assert looked(worker, 1).error is None


def test_what_an_extractor_has_started_ends_with_its_child(start):
    worker = start("start_another")
    other = looked(worker).observation.data["pid"]
    worker.close()
    wait_until(lambda: has_ended(other))


def test_ctrl_c_does_not_reach_the_child(start):
    pid = looked(start()).observation.data["pid"]
    assert os.getpgid(pid) != os.getpgid(0)


def test_a_frame_that_has_been_given_cannot_be_cancelled(start):
    worker = start()
    future = look(worker, 0)
    assert not future.cancel()
    assert future.result(PATIENCE_S).error is None


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("pixels", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), np.uint8)])
def test_what_is_no_picture_is_refused_alike_at_every_level(start, level, pixels, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = start(level=level).process(Frame(pixels, 0, 0))
    assert "pixels are uint8 of shape (height, width, 3) or (height, width, 1)" in result.error


@pytest.mark.parametrize("level", [IsolationLevel.INLINE, IsolationLevel.THREAD])
def test_an_observation_that_is_returned_twice_is_not_changed_by_the_second_frame(start, level):
    worker = start("say_the_same", "say_the_same", level=level)
    results = [future.result(PATIENCE_S) for future in [look(worker, 0), look(worker, 1)]]
    assert [result.observation.frame_id for result in results] == [0, 1]


def test_who_gives_a_thread_too_many_frames_is_held_up(start, plugins):
    worker = start("wait", level=IsolationLevel.THREAD)
    futures: list[Future[WorkerResult]] = []
    giver = threading.Thread(target=lambda: [futures.append(look(worker, n)) for n in range(WAITING_MAX + 1)])
    giver.start()
    wait_until(lambda: len(futures) == WAITING_MAX)
    giver.join(0.2)
    assert len(futures) == WAITING_MAX
    plugins.GATE.set()
    giver.join()
    assert all(future.result(PATIENCE_S).error is None for future in futures)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_of_the_worker_leaves_no_frame_without_an_answer(start, monkeypatch):
    worker = start("exit")
    monkeypatch.setattr(ChildProcess, "obituary", lambda _: 1 / 0)
    futures = [look(worker, number) for number in range(3)]
    assert all("a defect of the worker itself" in future.result(PATIENCE_S).error for future in futures)


def test_workers_that_come_and_go_leave_nothing_behind(plugins):
    def held():
        return len(os.listdir("/proc/self/fd")), threading.active_count()

    ProcessWorker(plugins.Faulty).close()
    before = held()
    for _ in range(5):
        with ProcessWorker(plugins.Faulty) as worker:
            assert looked(worker).error is None
    assert held() == before


def test_a_thread_that_is_closed_by_one_user_answers_another(plugins):
    worker = ThreadWorker(plugins.Faulty)
    worker.close()
    assert look(worker, 0).result(PATIENCE_S).error == "worker 'faulty' is closed"


@pytest.fixture
def channels():
    ends = socket.socketpair()
    for end in ends:
        end.setblocking(False)
    yield [Channel(end) for end in ends], ends
    for end in ends:
        end.close()


def test_what_a_child_said_before_it_died_is_heard_though_nothing_can_be_sent_to_it(channels):
    (parent, child), ends = channels
    child.send(packed(Failed(number=7, error="torn", timing_ms=1.0)))
    ends[1].close()
    parent.send(packed(Failed(number=8, error="", timing_ms=0.0)))
    assert FROM_CHILD.decode(parent.receive()[0]).number == 7
    with pytest.raises(ChannelClosed):
        parent.receive()


@pytest.mark.parametrize("lengths", [(1 << 31, 0), (0, 1 << 31)])
def test_lengths_that_nobody_sends_close_the_channel(channels, lengths):
    (parent, _), ends = channels
    ends[1].send(b"".join(length.to_bytes(4, "big") for length in lengths))
    with pytest.raises(ChannelClosed, match="nonsense"):
        parent.receive()


def test_an_answer_to_what_nobody_asked_ends_the_child(start, monkeypatch, caplog):
    worker = start()
    receive, invented = Channel.receive, [(encode(Done(number=99, observations=[], timing_ms=0.0)), bytearray())]
    monkeypatch.setattr(Channel, "receive", lambda self: invented.pop() if invented else receive(self))
    assert looked(worker).error is None
    assert "speaks nonsense: an answer to request 99" in caplog.text

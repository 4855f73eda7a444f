"""Workers at every level of isolation: the same results, and no failure of a child holds anybody up."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from concurrent.futures import Future

import numpy as np
import pytest

from visualbase import jpeg
from visualbase.frame import Frame
from visualpath.core.errors import ExtractionError, PluginError
from visualpath.core.extractor import BaseExtractor
from visualpath.core.isolation import IsolationConfig, IsolationLevel
from visualpath.core.observation import Observation
from visualpath.process import BaseWorker, InlineWorker, ProcessWorker, ThreadWorker, VenvWorker, WorkerLauncher
from visualpath.process.view import JpegFrame
from visualpath.process.worker import WorkerResult

PATIENCE_S = 60

PLUGINS = """
import os, signal, sys, time
from visualpath.core import BaseExtractor, Observation


class Looks(BaseExtractor):
    name = "looks"

    def extract(self, frame):
        return Observation(
            signals={"mean": frame.data.mean(), "channels": frame.data.shape[2], "width": frame.data.shape[1]},
            data={"corner": frame.data[:2, :2].copy(), "pid": os.getpid()},
            metadata={"epoch": frame.epoch, "stream": frame.stream},
        )


class SmallGray(Looks):
    input_width, pixel_format = 160, "gray"


class Two(BaseExtractor):
    name = "two"

    def extract(self, frame):
        return [Observation(signals={"n": 1.0}), Observation(signals={"n": 2.0})]


class Builds(BaseExtractor):
    name = "builds"
    depends = ("looks",)

    def extract(self, frame, seen=None):
        return Observation(signals={"twice": 2 * seen["looks"][0].signals["mean"]})


class Counts(BaseExtractor):
    name = "counts"

    def __init__(self, config=None):
        super().__init__(config)
        self.n = 0

    def extract(self, frame):
        self.n += 1
        told = self.config.get(str(frame.frame_id), "")
        if told == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if told == "exit":
            print("the licence has run out", flush=True)
            os._exit(7)
        if told == "hang":
            time.sleep(3600)
        if told == "raise":
            raise RuntimeError("no face in it")
        if told == "print":
            sys.stdout.write("x" * 1_000_000)
        if told == "unsendable":
            return Observation(data=object())
        return Observation(signals={"n": float(self.n), "id": float(frame.frame_id)})


class NeverStarts(BaseExtractor):
    name = "never-starts"

    @classmethod
    def load_models(cls, config):
        raise FileNotFoundError("weights/face.onnx")

    def extract(self, frame):
        return None


class SlowStart(NeverStarts):
    @classmethod
    def load_models(cls, config):
        time.sleep(3600)
"""


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A module that this process and its children can import."""
    (tmp_path / "worker_plugins.py").write_text(PLUGINS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "worker_plugins", raising=False)
    import worker_plugins

    return worker_plugins


@pytest.fixture
def started():
    """Takes workers and closes them at the end."""
    workers: list[BaseWorker] = []

    def keep(worker):
        workers.append(worker)
        return worker

    yield keep
    for worker in workers:
        worker.close()


def picture(width: int = 320, height: int = 240):
    x = np.linspace(0, 255, width, dtype=np.uint8)
    return np.ascontiguousarray(np.broadcast_to(x[None, :, None], (height, width, 3)))


def frame(number: int = 0) -> Frame:
    return Frame(picture(), number, number * 100, stream="cam1", epoch=3)


def done(future: Future[WorkerResult]) -> WorkerResult:
    return future.result(PATIENCE_S)


def counts(worker: BaseWorker, numbers) -> list[WorkerResult]:
    return [done(future) for future in [worker.process_async(frame(number)) for number in numbers]]


LEVELS = list(IsolationLevel)


def make(level: IsolationLevel, extractor, **options) -> BaseWorker:
    return WorkerLauncher.create(extractor, level, sys.prefix, fallback=False, **options)


@pytest.mark.parametrize("level", LEVELS)
def test_an_extractor_says_the_same_at_every_level(plugins, started, level):
    result = started(make(level, plugins.Looks)).process(frame(5))
    assert result.error is None
    seen = result.observation
    assert (seen.source, seen.frame_id, seen.t_ns) == ("looks", 5, 500)
    assert seen.signals == {"mean": picture().mean(), "channels": 3, "width": 320}
    np.testing.assert_array_equal(seen.data["corner"], picture()[:2, :2])
    assert seen.metadata == {"epoch": 3, "stream": "cam1"}


@pytest.mark.parametrize("level", LEVELS)
def test_only_processes_of_their_own_have_another_pid(plugins, started, level):
    pid = started(make(level, plugins.Looks)).extract(frame()).data["pid"]
    assert (pid == os.getpid()) == (level in (IsolationLevel.INLINE, IsolationLevel.THREAD))


@pytest.mark.parametrize("level", LEVELS)
def test_a_jpeg_is_decoded_at_the_size_and_in_the_format_asked_for(plugins, started, level):
    data = jpeg.encode(picture(1280, 720))
    seen = started(make(level, plugins.SmallGray)).extract(JpegFrame(data, 0, 0))
    assert (seen.signals["width"], seen.signals["channels"]) == (160, 1)


def test_pixels_come_at_the_size_and_in_the_format_asked_for(plugins):
    seen = InlineWorker(plugins.SmallGray).extract(Frame(picture(1280, 720), 0, 0))
    assert (seen.signals["width"], seen.signals["channels"]) == (160, 1)


@pytest.mark.parametrize("level", LEVELS)
def test_what_others_saw_reaches_an_extractor_that_depends_on_them(plugins, started, level):
    worker = started(make(level, plugins.Builds))
    seen = {"looks": [Observation("looks", 0, 0, signals={"mean": 21.0})]}
    assert worker.depends == ("looks",)
    assert worker.extract(frame(), seen).signals == {"twice": 42.0}


@pytest.mark.parametrize("level", LEVELS)
def test_a_result_has_all_observations_of_a_frame(plugins, started, level):
    result = started(make(level, plugins.Two)).process(frame())
    assert [each.signals["n"] for each in result.observations] == [1.0, 2.0]
    assert result.observation is result.observations[0]


@pytest.mark.parametrize("level", LEVELS)
def test_an_exception_costs_its_frame_and_is_told_with_its_traceback(plugins, started, level):
    worker = started(make(level, plugins.Counts, config={"1": "raise"}))
    before, failed, after = counts(worker, range(3))
    assert failed.observation is None
    assert failed.error.startswith("RuntimeError: no face in it")
    assert 'raise RuntimeError("no face in it")' in failed.error
    assert (before.error, after.error) == (None, None)


def test_extract_raises_the_error(plugins, started):
    worker = started(make(IsolationLevel.PROCESS, plugins.Counts, config={"0": "raise"}))
    with pytest.raises(ExtractionError, match="no face in it"):
        worker.extract(frame())


@pytest.mark.parametrize("level", [IsolationLevel.PROCESS, IsolationLevel.VENV])
def test_data_that_cannot_be_sent_costs_its_frame(plugins, started, level):
    worker = started(make(level, plugins.Counts, config={"0": "unsendable"}))
    failed, after = counts(worker, range(2))
    assert failed.error.startswith("data cannot be sent: TypeError: objects of type object")
    assert after.error is None


def test_a_frame_that_kills_its_child_costs_itself_and_the_child_is_started_again(plugins, started, caplog):
    worker = started(ProcessWorker(plugins.Counts, {"3": "die"}))
    with caplog.at_level(logging.WARNING):
        results = counts(worker, range(8))
    assert [number for number, each in enumerate(results) if each.error] == [3]
    assert results[3].error == "worker 'counts' at frame #3: its process ended: killed by SIGKILL"
    assert [each.observation.signals["id"] for each in results if not each.error] == [0, 1, 2, 4, 5, 6, 7]
    assert "worker counts starts again" in caplog.text


def test_the_last_words_of_a_child_are_in_the_error(plugins, started):
    (result,) = counts(started(ProcessWorker(plugins.Counts, {"0": "exit"})), [0])
    assert "exit status 7; it said last:\nthe licence has run out" in result.error


def test_a_child_that_somebody_kills_costs_nothing(plugins, started):
    worker = started(ProcessWorker(plugins.Looks))
    os.kill(worker.extract(frame()).data["pid"], signal.SIGKILL)
    assert all(result.error is None for result in counts(worker, range(1, 4)))


def test_a_hung_child_costs_one_frame_after_the_timeout(plugins, started):
    worker = started(ProcessWorker(plugins.Counts, {"2": "hang"}, timeout_s=1.0))
    results = counts(worker, range(5))
    assert [number for number, each in enumerate(results) if each.error] == [2]
    assert results[2].error == "worker 'counts' at frame #2: no answer after 1 s"


def test_a_child_that_prints_a_megabyte_per_frame_works_on_and_does_not_flood_the_log(plugins, started, caplog):
    worker = started(ProcessWorker(plugins.Counts, {str(number): "print" for number in range(20)}))
    with caplog.at_level(logging.INFO):
        assert all(result.error is None for result in counts(worker, range(20)))
        worker.close()
    assert sum(len(record.getMessage()) for record in caplog.records) < 2_000_000
    assert "counts prints too much" in caplog.text


def test_a_worker_whose_child_dies_each_time_gives_up_with_the_reason(plugins, started):
    worker = started(ProcessWorker(plugins.Counts, {str(number): "die" for number in range(9)}))
    results = counts(worker, range(9))
    assert [result.error.split(":")[0] for result in results[:2]] == [
        f"worker 'counts' at frame #{number}" for number in range(2)
    ]
    assert all("has given up: its process ended: killed by SIGKILL" in result.error for result in results[2:])


@pytest.mark.parametrize("level", LEVELS)
def test_an_extractor_that_cannot_start_is_refused_with_its_reason(plugins, level):
    with pytest.raises(PluginError, match=r"FileNotFoundError: weights/face\.onnx"):
        make(level, plugins.NeverStarts)


def test_an_import_that_fails_is_refused_with_the_childs_traceback(tmp_path, plugins):
    (tmp_path / "needs_torch.py").write_text("import a_library_that_is_not_there\n")
    with pytest.raises(PluginError, match="No module named 'a_library_that_is_not_there'") as refused:
        ProcessWorker("needs_torch:Extractor")
    assert "needs_torch.py" in str(refused.value)
    assert "Traceback" in str(refused.value)


def test_a_child_that_is_not_ready_in_time_is_ended(plugins):
    with pytest.raises(PluginError, match=r"not ready after 0\.5 s"):
        ProcessWorker(plugins.SlowStart, start_timeout_s=0.5)


def test_a_folder_that_is_no_venv_is_refused(plugins, tmp_path):
    with pytest.raises(PluginError, match="is no venv"):
        VenvWorker(plugins.Looks, tmp_path)


def test_a_class_that_no_child_can_import_is_refused():
    class Local(BaseExtractor):
        def extract(self, frame):
            return None

    with pytest.raises(PluginError, match="cannot be imported by another process"):
        ProcessWorker(Local)


def test_where_no_process_can_be_started_a_worker_works_inline_and_says_so(plugins, started, tmp_path, caplog):
    worker = started(WorkerLauncher.create(plugins.Looks, IsolationLevel.VENV, tmp_path))
    assert isinstance(worker, InlineWorker)
    assert "works without isolation" in caplog.text
    assert worker.process(frame()).error is None


@pytest.mark.parametrize("level", LEVELS)
def test_a_closed_worker_answers_with_an_error(plugins, level):
    worker = make(level, plugins.Looks)
    worker.close()
    worker.close()
    assert worker.process(frame()).error == "worker 'looks' is closed"


def test_closing_answers_every_frame_that_waits(plugins):
    worker = ProcessWorker(plugins.Counts, {"0": "hang"})
    waiting = [worker.process_async(frame(number)) for number in range(5)]
    worker.close()
    assert all(future.done() for future in waiting)


def test_closing_a_worker_ends_its_child(plugins):
    worker = ProcessWorker(plugins.Looks)
    pid = worker.extract(frame()).data["pid"]
    worker.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_child_does_not_outlive_a_parent_that_is_killed(plugins, tmp_path):
    program = tmp_path / "parent.py"
    program.write_text(
        "import os, time, worker_plugins, numpy as np\n"
        "from visualbase.frame import Frame\n"
        "from visualpath.process import ProcessWorker\n"
        "if __name__ == '__main__':\n"
        "    worker = ProcessWorker(worker_plugins.Counts, {'1': 'hang'})\n"
        "    worker.process(Frame(np.zeros((8, 8, 3), np.uint8), 0, 0))\n"
        "    worker.process_async(Frame(np.zeros((8, 8, 3), np.uint8), 1, 1))\n"
        "    children = open(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read()\n"
        "    threads = os.listdir('/proc/self/task')\n"
        "    pids = [open(f'/proc/self/task/{t}/children').read().strip() for t in threads]\n"
        "    print(' '.join(filter(None, pids)), flush=True)\n"
        "    time.sleep(3600)\n"
    )
    import subprocess

    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        parent.kill()
    assert ended(child)


def ended(pid: int) -> bool:
    """Whether a process is gone, or only its entry is left, before the patience is over."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    return False


def test_the_threads_worker_works_in_one_thread_that_is_not_the_callers(plugins, started):
    worker = started(ThreadWorker(plugins.Looks))
    futures = [worker.process_async(frame(number)) for number in range(20)]
    assert [done(future).observation.frame_id for future in futures] == list(range(20))


def test_the_isolation_config_names_level_and_venv_of_each_extractor():
    config = IsolationConfig(
        default_level=IsolationLevel.PROCESS,
        overrides={"face": IsolationLevel.VENV},
        venv_paths={"face": "/opt/venvs/face"},
    )
    assert config.level_of("face") is IsolationLevel.VENV
    assert config.level_of("quality") is IsolationLevel.PROCESS
    assert (config.venv_of("face"), config.venv_of("quality")) == ("/opt/venvs/face", None)

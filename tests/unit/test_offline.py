"""Without loss: every extractor sees every frame, in order, and the decision hears of all."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from visualpath.core.errors import PluginError
from visualpath.core.observation import Observation
from visualpath.core.rules import RuleConfig
from visualpath.core.stream_types import Fused
from visualpath.core.units import Duration
from visualpath.process.decision import StreamSetup, make_stream_fusion
from visualpath.process.offline import Decision, Pipeline
from visualpath.process.view import JpegFrame
from visualpath.process.worker import BaseWorker, WorkerResult, found
from visualpath.runtime.sections import FusionConfig
from visualpath_protocol.messages import Trig

FRAMES = 60
FRAME_NS = 40_000_000


class ScriptedWorker(BaseWorker):
    """Answers from a function, in a thread, after a random turn of others."""

    def __init__(self, source, says, depends=(), pool=None):
        self.source = source
        self.asked = []
        self._says = says
        self._depends = depends
        self._pool = pool

    @property
    def depends(self):
        return self._depends

    def process_async(self, frame, seen=None):
        self.asked.append((frame.frame_id, seen))
        if self._pool is not None:
            return self._pool.submit(self._says, frame, seen)
        future: Future[WorkerResult] = Future()
        future.set_result(self._says(frame, seen))
        return future

    def close(self):
        pass


def frames(count=FRAMES):
    return [JpegFrame(b"", number, number * FRAME_NS, stream="cam1") for number in range(count)]


def says(signal, value):
    def say(frame, _seen):
        return found([Observation(frame_id=frame.frame_id, t_ns=frame.t_ns, signals={signal: value(frame)})], 0.0)

    return say


def id_of(frame):
    return float(frame.frame_id)


@pytest.fixture
def pool():
    with ThreadPoolExecutor(4) as pool:
        yield pool


def test_every_worker_gets_every_frame_in_order(pool):
    workers = [ScriptedWorker(name, says("n", id_of), pool=pool) for name in ("a", "b")]
    looked = list(Pipeline(workers).look(frames()))
    assert [each.frame.frame_id for each in looked] == list(range(FRAMES))
    assert [[number for number, _ in worker.asked] for worker in workers] == [list(range(FRAMES))] * 2


def test_each_result_is_that_of_its_frame(pool):
    looked = Pipeline([ScriptedWorker("a", says("n", id_of), pool=pool)]).look(frames())
    assert all(each.results["a"].observation.signals["n"] == each.frame.frame_id for each in looked)


def test_a_dependent_gets_what_was_seen_on_the_same_frame(pool):
    face = ScriptedWorker("face", says("n", id_of), pool=pool)
    mood = ScriptedWorker("mood", says("m", id_of), depends=("face",), pool=pool)
    list(Pipeline([mood, face]).look(frames()))
    assert [(number, seen["face"][0].signals["n"]) for number, seen in mood.asked] == [(n, n) for n in range(FRAMES)]


def test_a_dependent_is_not_asked_about_a_frame_that_the_other_failed_on():
    def fail_at_3(frame, _seen):
        return WorkerResult(error="torn") if frame.frame_id == 3 else found([], 0.0)

    mood = ScriptedWorker("mood", says("m", id_of), depends=("face",))
    looked = list(Pipeline([ScriptedWorker("face", fail_at_3), mood]).look(frames(6)))
    assert [number for number, _ in mood.asked] == [0, 1, 2, 4, 5]
    assert looked[3].results["mood"].error == "face failed on it"


def test_it_reads_no_further_ahead_than_its_bound():
    read = []

    def reading():
        for frame in frames():
            read.append(frame.frame_id)
            yield frame

    looked = Pipeline([ScriptedWorker("a", says("n", id_of))]).look(reading())
    next(looked)
    assert len(read) == 8


def test_a_pipeline_whose_extractors_do_not_fit_is_refused():
    with pytest.raises(PluginError, match="extractor 'mood' needs face"):
        Pipeline([ScriptedWorker("mood", says("m", id_of), depends=("face",))])


def test_a_circle_of_extractors_is_refused():
    workers = [ScriptedWorker("left", None, depends=("right",)), ScriptedWorker("right", None, depends=("left",))]
    with pytest.raises(PluginError, match="in a circle: "):
        Pipeline(workers)


RULE = RuleConfig(label="seen", when={"all": ["a.n >= 10", "b.n >= 10"]}, for_ns=Duration(200_000_000))


def decided(pipeline):
    """TRIGs and sets that a pipeline leads to."""
    setup = StreamSetup(pace="fast", expected={}, groups={})
    decision = Decision(make_stream_fusion(FusionConfig(rules=[RULE]), "cam1", setup, {}, 0), ("a", "b"))
    outcomes = [o for looked in pipeline.look(frames()) for o in decision.decide(looked)] + decision.close()
    return [o for o in outcomes if isinstance(o, Trig)], [o for o in outcomes if isinstance(o, Fused)]


def test_every_frame_is_decided_upon_with_all_that_was_seen(pool):
    workers = [ScriptedWorker(name, says("n", id_of), pool=pool) for name in ("a", "b")]
    _, sets = decided(Pipeline(workers))
    assert [(each.aligned.frame_id, sorted(each.aligned.payloads)) for each in sets] == [
        (number, ["a", "b"]) for number in range(FRAMES)
    ]


def test_a_trigger_is_that_of_the_rule(pool):
    workers = [ScriptedWorker(name, says("n", id_of), pool=pool) for name in ("a", "b")]
    (trig,), _ = decided(Pipeline(workers))
    assert (trig.label, trig.t_start_ns, trig.t_end_ns) == ("seen", 10 * FRAME_NS, 15 * FRAME_NS)


def test_threads_change_nothing(pool):
    alone = decided(Pipeline([ScriptedWorker(name, says("n", id_of)) for name in ("a", "b")]))
    together = decided(Pipeline([ScriptedWorker(name, says("n", id_of), pool=pool) for name in ("a", "b")]))
    assert alone == together


def test_a_failed_frame_is_a_skip_and_holds_nothing_up():
    def fail_at_20(frame, _seen):
        return WorkerResult(error="torn") if frame.frame_id == 20 else says("n", id_of)(frame, None)

    _, sets = decided(Pipeline([ScriptedWorker("a", fail_at_20), ScriptedWorker("b", says("n", id_of))]))
    assert [each.aligned.frame_id for each in sets if "a" not in each.aligned.payloads] == [20]
    assert len(sets) == FRAMES

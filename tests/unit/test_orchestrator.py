"""Several extractors on one frame, within one time."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from visualbase.frame import Frame
from visualpath.core.errors import PluginError
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation
from visualpath.observability import ObservabilityHub, TraceLevel
from visualpath.process.orchestrator import ExtractorOrchestrator

LONG_S = 30.0


class Kept:
    def __init__(self):
        self.records = []

    def write(self, record):
        self.records.append(record)

    def close(self):
        pass


class Quick(BaseExtractor):
    name = "quick"

    def extract(self, frame):
        return Observation(signals={"n": float(frame.frame_id)})


class Builds(BaseExtractor):
    name = "builds"
    depends = ("quick",)

    def extract(self, frame, seen=None):
        return Observation(signals={"twice": 2 * seen["quick"][0].signals["n"]})


class Fails(BaseExtractor):
    name = "fails"

    def extract(self, frame):
        raise RuntimeError("out of memory")


class Waits(BaseExtractor):
    """Looks at nothing until it is let go."""

    name = "waits"

    def __init__(self, config=None):
        super().__init__(config)
        self.go = threading.Event()

    def extract(self, frame):
        assert self.go.wait(LONG_S)
        return Observation(signals={"n": float(frame.frame_id)})


class NeedsWaits(Builds):
    name = "needs-waits"
    depends = ("waits",)


def frame(number=0):
    return Frame(np.zeros((8, 8, 3), np.uint8), number, number)


@pytest.fixture
def sink():
    return Kept()


@pytest.fixture
def hub(sink):
    return ObservabilityHub(TraceLevel.NORMAL, [sink])


def sources(observations):
    return [each.source for each in observations]


def drops(sink):
    return [(stamped.record.component, stamped.record.reason) for stamped in sink.records]


def test_all_observations_come_in_the_order_of_the_extractors(hub):
    class Other(Quick):
        name = "other"

    with ExtractorOrchestrator([Other, Quick()], timeout=LONG_S, hub=hub) as orchestrator:
        assert sources(orchestrator.extract_all(frame(7))) == ["other", "quick"]


def test_an_object_is_used_as_it_is(hub):
    extractor = Waits()
    extractor.go.set()
    with ExtractorOrchestrator([extractor], timeout=LONG_S, hub=hub) as orchestrator:
        assert sources(orchestrator.extract_all(frame())) == ["waits"]


def test_an_extractor_gets_what_those_it_depends_on_saw(hub):
    with ExtractorOrchestrator([Builds, Quick], timeout=LONG_S, hub=hub) as orchestrator:
        assert orchestrator.extract_all(frame(21))[-1].signals == {"twice": 42.0}


def test_one_that_fails_costs_only_its_own_observations(hub, sink):
    with ExtractorOrchestrator([Fails, Quick], timeout=LONG_S, hub=hub) as orchestrator:
        assert sources(orchestrator.extract_all(frame())) == ["quick"]
    assert drops(sink) == [("fails", "error")]


def test_what_depends_on_one_that_fails_is_left_out_for_the_same_reason(hub, sink):
    class NeedsFails(Builds):
        name, depends = "needs-fails", ("fails",)

    with ExtractorOrchestrator([NeedsFails, Fails], timeout=LONG_S, hub=hub) as orchestrator:
        assert orchestrator.extract_all(frame()) == []
    assert drops(sink) == [("fails", "error"), ("needs-fails", "error")]


def test_one_that_cannot_start_closes_those_before_it():
    closed = []

    class Closes(Quick):
        def close(self):
            closed.append(self.name)

    class NeverStarts(Quick):
        name = "never-starts"

        @classmethod
        def load_models(cls, config):
            raise FileNotFoundError("weights")

    with pytest.raises(PluginError, match="weights"):
        ExtractorOrchestrator([Closes, NeverStarts])
    assert closed == ["quick"]


def test_one_that_is_late_is_left_out_and_traced(hub, sink):
    late = Waits()
    with ExtractorOrchestrator([late, Quick], timeout=0.05, hub=hub) as orchestrator:
        observations = orchestrator.extract_all(frame())
        late.go.set()
    assert sources(observations) == ["quick"]
    assert drops(sink) == [("waits", "timeout")]


def test_one_that_is_still_at_an_earlier_frame_passes_over_this_one(hub, sink):
    late = Waits()
    with ExtractorOrchestrator([late, Quick], timeout=0.05, hub=hub) as orchestrator:
        orchestrator.extract_all(frame(0))
        orchestrator.extract_all(frame(1))
        late.go.set()
    assert drops(sink) == [("waits", "timeout"), ("waits", "backpressure")]


def test_what_depends_on_a_late_one_is_left_out_too(hub, sink):
    late = Waits()
    with ExtractorOrchestrator([late, NeedsWaits], timeout=0.05, hub=hub) as orchestrator:
        assert orchestrator.extract_all(frame()) == []
        late.go.set()
    assert drops(sink) == [("waits", "timeout"), ("needs-waits", "timeout")]


def test_one_that_never_got_a_thread_works_on_a_later_frame(hub):
    late = Waits()
    with ExtractorOrchestrator([late, Quick], timeout=0.05, max_workers=1, hub=hub) as orchestrator:
        assert orchestrator.extract_all(frame(0)) == []
        late.go.set()
        orchestrator.timeout = LONG_S
        assert "quick" in sources(orchestrator.extract_all(frame(1)))


def test_the_default_time_is_the_documented_one():
    with ExtractorOrchestrator([Quick]) as orchestrator:
        assert orchestrator.timeout == 0.15


@pytest.mark.parametrize(
    ("extractors", "complaint"),
    [
        ([Quick, Quick], "two extractors are called 'quick'"),
        ([Builds], "no extractor is called 'quick', and 'builds' needs it"),
    ],
)
def test_extractors_that_do_not_fit_together_are_refused(extractors, complaint):
    with pytest.raises(PluginError, match=complaint):
        ExtractorOrchestrator(extractors)


def test_a_circle_is_refused():
    class Left(Builds):
        name, depends = "left", ("right",)

    class Right(Builds):
        name, depends = "right", ("left",)

    with pytest.raises(PluginError, match="in a circle: left, right"):
        ExtractorOrchestrator([Left, Right])

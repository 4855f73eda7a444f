"""An extractor's backends in the hands of the host: what is chosen, loaded, handed out, closed and told."""

import logging
import threading

import numpy as np
import pytest

from visualbase.frame import Frame
from visualpath.core.errors import DeviceUnavailable, ExtractionError, ModelMissingError, PluginError
from visualpath.core.extractor import BaseExtractor
from visualpath.core.ladder import Patience
from visualpath.core.observation import Observation
from visualpath.plugin.backends import Choice, load_each
from visualpath.process import backends as backends_module
from visualpath.process.backend_state import LOAD_PATIENCE_NS, Shown
from visualpath.process.backends import Backends
from visualpath.process.background_load import loading
from visualpath.process.host import ExtractorHost
from visualpath.process.orchestrator import ExtractorOrchestrator

S = 1_000_000_000


class Model:
    """Fails while its name is in `failing`."""

    failing: set = set()

    def __init__(self, name):
        self.name, self.closed = name, False

    def look(self):
        assert not self.closed
        if self.name in self.failing:
            raise RuntimeError(f"{self.name} fails")

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def failing():
    Model.failing = set()
    return Model.failing


class Workshop:
    """Loaders of `Model`s: what is in `missing` cannot be loaded, and what is in `held` takes until it is set."""

    def __init__(self):
        self.missing, self.held, self.made, self.threads = {}, {}, [], []

    def loader(self, name):
        def load():
            self.threads.append(threading.current_thread().name)
            if name in self.held:
                assert self.held[name].wait(15)
            if name in self.missing:
                raise self.missing[name]
            self.made.append(Model(name))
            return self.made[-1]

        return load


@pytest.fixture
def workshop():
    return Workshop()


class Clock:
    now = 0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def changes():
    return []


@pytest.fixture
def backends(workshop, clock, changes):
    """Of the given names, not open yet."""

    def make(*names):
        choice = Choice({name: workshop.loader(name) for name in names}, Patience(3, 30 * S, 100 * S, 2), {})
        return Backends("face", choice, lambda change: changes.append(change.counter), clock)

    return make


@pytest.fixture
def opened(backends):
    def make(*names):
        made = backends(*names)
        made.open()
        return made

    return make


def look(made):
    """One frame, as the host does it; whether it was looked at."""
    made.step_up()
    while True:
        try:
            made.models.look()
        except Exception as error:
            if not made.failed(error):
                return False
        else:
            made.worked()
            return True


def stepped(made, wait_for):
    """Wait until what is loaded in the background is taken, or refused."""
    made.step_up()
    wait_for(lambda: made.step_up() or not made.shown.loading)


# What is tried ----------------------------------------------------------------------------------


def test_of_several_backends_that_are_tried_those_that_cannot_be_used_are_told(workshop):
    workshop.missing["a"] = OSError("gone")
    choice = Choice({name: workshop.loader(name) for name in "ab"}, Patience(), {})
    assert load_each(choice) == {"a": "OSError: gone"}


def test_what_was_tried_is_closed(workshop):
    load_each(Choice({"a": workshop.loader("a")}, Patience(), {}))
    assert [model.closed for model in workshop.made] == [True]


# The start --------------------------------------------------------------------------------------


def test_the_best_that_loads_is_in_use(opened, workshop):
    workshop.missing["a"] = ModelMissingError("model 'a' is not in models: run `vpctl models pull a`")
    assert opened("a", "b").models.name == "b"


def test_what_is_better_is_told_with_its_reason(opened, workshop):
    workshop.missing["a"] = ModelMissingError("model 'a' is not in models: run `vpctl models pull a`")
    shown = opened("a", "b").shown
    assert (shown.name, shown.rung, shown.state) == ("b", 1, "fallback")
    assert shown.reason == "a: model 'a' is not in models: run `vpctl models pull a`"


def test_backends_below_the_one_in_use_are_not_loaded(opened, workshop):
    opened("a", "b")
    assert [model.name for model in workshop.made] == ["a"]


def test_when_none_loads_the_error_has_every_reason(backends, workshop):
    workshop.missing = {"a": ModelMissingError("a is missing"), "b": RuntimeError("no GPU")}
    with pytest.raises(PluginError) as caught:
        backends("a", "b").open()
    assert str(caught.value) == "no backend can be loaded: a: a is missing; b: RuntimeError: no GPU"


@pytest.mark.parametrize(
    ("error", "counters"),
    [
        (ModelMissingError("gone"), ["refused.missing", "down.missing"]),
        (DeviceUnavailable("no GPU"), ["refused.device", "down.device"]),
        (OSError("gone"), ["refused.load", "down.load"]),
    ],
)
def test_a_start_on_a_lesser_backend_is_counted_by_its_reason(opened, workshop, changes, error, counters):
    workshop.missing["a"] = error
    opened("a", "b")
    assert changes == counters


def test_a_start_on_a_lesser_backend_is_one_warning(opened, workshop, caplog):
    workshop.missing["a"] = ModelMissingError("no\nfile")
    opened("a", "b")
    assert caplog.messages == ["extractor 'face' runs on b: a: no file"]


def test_what_a_backend_says_of_itself_is_shown(opened, monkeypatch):
    monkeypatch.setattr(Model, "about", {"device": "cpu", "threads": 1}, raising=False)
    assert opened("a").shown.about == {"device": "cpu", "threads": "1"}


def test_a_backend_that_cannot_speak_of_itself_works_all_the_same(opened, monkeypatch):
    monkeypatch.setattr(Model, "about", property(lambda _: 1 / 0), raising=False)
    assert opened("a").shown.about == {"about": "ZeroDivisionError: division by zero"}


# A step down ------------------------------------------------------------------------------------


def test_the_frame_that_opens_the_breaker_is_looked_at_by_the_next(opened, failing):
    made = opened("a", "b")
    failing.add("a")
    assert [look(made) for _ in range(4)] == [False, False, True, True]


def test_a_step_down_is_told_once(opened, failing, changes, caplog):
    made = opened("a", "b")
    failing.add("a")
    for _ in range(10):
        look(made)
    assert changes == ["down.errors"]
    assert caplog.messages == [
        "extractor 'face' runs on b: a: 3 frames in a row failed, the last by RuntimeError: a fails"
    ]


def test_what_was_given_up_is_closed(opened, failing, workshop):
    made = opened("a", "b")
    failing.add("a")
    for _ in range(3):
        look(made)
    assert [(model.name, model.closed) for model in workshop.made] == [("a", True), ("b", False)]


def test_a_backend_that_cannot_be_loaded_is_passed_over(opened, failing, workshop, changes):
    made = opened("a", "b", "c")
    failing.add("a")
    workshop.missing["b"] = OSError("gone")
    assert [look(made) for _ in range(3)][-1]
    assert (made.models.name, changes) == ("c", ["refused.load", "down.errors"])


def test_while_a_backend_is_loaded_for_a_waiting_frame_that_is_shown(opened, failing, clock):
    clock.now = 7
    made = opened("a", "b")
    seen = []
    made._loaders[1] = lambda: seen.append((made.shown.loading, made.shown.blocks_ns)) or Model("b")
    failing.add("a")
    for _ in range(3):
        look(made)
    assert seen == [("b", 7)]
    assert (made.shown.loading, made.shown.blocks_ns) == ("", 0)


def test_a_load_within_patience_is_no_inference():
    assert Shown(blocks_ns=2 * S).inference_ns(picked_ns=1 * S, now=2 * S + LOAD_PATIENCE_NS) == 0


def test_a_load_that_never_ends_becomes_one():
    assert Shown(blocks_ns=2 * S).inference_ns(picked_ns=1 * S, now=9 * S + LOAD_PATIENCE_NS) == 7 * S


def test_an_inference_begins_again_after_a_load():
    assert Shown(loaded_ns=5 * S).inference_ns(picked_ns=1 * S, now=8 * S) == 3 * S


def test_when_a_load_held_frames_up_its_end_is_known(opened, failing, clock):
    made = opened("a", "b")
    failing.add("a")
    clock.now = 7
    for _ in range(3):
        look(made)
    assert made.shown.loaded_ns == 7


# All fail ---------------------------------------------------------------------------------------


@pytest.fixture
def lost(opened, failing, changes):
    """Both fail."""
    made = opened("a", "b")
    failing.update("ab")
    for _ in range(6):
        look(made)
    changes.clear()
    return made


def test_when_all_fail_the_last_stays_in_use_and_the_state_says_so(lost):
    assert (lost.models.name, lost.shown.state) == ("b", "failed")
    assert lost.shown.reason == (
        "a: 3 frames in a row failed, the last by RuntimeError: a fails; "
        "b: 3 frames in a row failed, the last by RuntimeError: b fails"
    )


def test_when_all_fail_each_frame_is_still_tried(lost, failing):
    failing.clear()
    assert look(lost)


def test_frames_that_work_after_all_are_told_once(lost, failing, changes):
    failing.clear()
    for _ in range(5):
        look(lost)
    assert (changes, lost.shown.state) == (["recovered.frame"], "fallback")


def test_a_backend_alone_is_loaded_again_when_it_fails(opened, failing, clock, workshop, changes, wait_for):
    made = opened("a")
    failing.add("a")
    for _ in range(3):
        look(made)
    clock.now = 30 * S
    stepped(made, wait_for)
    assert changes == ["failed.errors", "recovered.reload"]
    assert [model.closed for model in workshop.made] == [True, False]


# A step up --------------------------------------------------------------------------------------


@pytest.fixture
def spare(opened, failing, changes):
    """`a` has failed; `b` is in use."""
    made = opened("a", "b")
    failing.add("a")
    for _ in range(3):
        look(made)
    failing.clear()
    changes.clear()
    return made


def test_a_better_backend_is_loaded_in_another_thread(spare, clock, workshop, wait_for):
    clock.now = 30 * S
    stepped(spare, wait_for)
    assert (spare.models.name, workshop.threads[-1]) == ("a", "backend")


def test_frames_go_on_while_it_loads(spare, clock, workshop):
    workshop.held["a"] = threading.Event()
    clock.now = 30 * S
    assert [look(spare) for _ in range(20)] == [True] * 20
    assert (spare.models.name, spare.shown.loading, spare.shown.blocks_ns) == ("b", "a", 0)
    workshop.held["a"].set()


def test_on_probation_the_lesser_one_is_kept(spare, clock, workshop, wait_for):
    clock.now = 30 * S
    stepped(spare, wait_for)
    assert (spare.shown.state, workshop.made[1].closed) == ("probation", False)


def test_after_probation_the_lesser_one_is_closed(spare, clock, workshop, wait_for):
    clock.now = 30 * S
    stepped(spare, wait_for)
    for _ in range(2):
        look(spare)
    assert (spare.shown.state, workshop.made[1].closed) == ("ok", True)


def test_a_frame_that_fails_on_probation_is_looked_at_by_the_lesser_one(spare, clock, failing, changes, wait_for):
    clock.now = 30 * S
    stepped(spare, wait_for)
    failing.add("a")
    assert look(spare)
    assert (spare.models.name, changes) == ("b", ["up.probe", "down.probation"])


def test_after_probation_failed_the_lesser_one_is_not_loaded_again(spare, clock, failing, workshop, wait_for):
    clock.now = 30 * S
    stepped(spare, wait_for)
    failing.add("a")
    look(spare)
    assert [model.name for model in workshop.made] == ["a", "b", "a"]


def test_a_better_one_that_cannot_be_loaded_is_told_and_tried_later(spare, clock, workshop, changes, caplog, wait_for):
    caplog.clear()
    workshop.missing["a"] = ModelMissingError("gone")
    clock.now = 30 * S
    stepped(spare, wait_for)
    assert (changes, spare.shown.retry_ns) == (["refused.missing"], 90 * S)
    assert caplog.messages == ["extractor 'face': a cannot be loaded: gone; tried again in 60 s"]


def test_a_loader_that_ends_its_thread_is_refused(spare, clock, workshop, changes, wait_for):
    workshop.missing["a"] = SystemExit(1)
    clock.now = 30 * S
    stepped(spare, wait_for)
    assert changes == ["refused.load"]


def test_a_step_up_is_told_and_its_success_too(spare, clock, changes, caplog, wait_for):
    caplog.clear()
    caplog.set_level(logging.INFO)
    clock.now = 30 * S
    stepped(spare, wait_for)
    for _ in range(2):
        look(spare)
    assert changes == ["up.probe"]
    assert caplog.messages == [
        "extractor 'face' runs on a again, 2 frames on probation",
        "extractor 'face': a is no longer on probation",
    ]


@pytest.fixture
def coming(opened, failing, workshop, clock, wait_for):
    """`a` failed, and could not be loaded again; while `b` is loaded in the background, `a` works again."""
    workshop.missing["b"] = OSError("gone")
    made = opened("a", "b")
    failing.add("a")
    for _ in range(3):
        look(made)
    workshop.missing = {"a": OSError("gone")}
    workshop.held["b"] = threading.Event()
    clock.now = 30 * S
    stepped(made, wait_for)
    made.step_up()
    failing.clear()
    for _ in range(2):
        look(made)
    assert (made.models.name, made.shown.state, made.shown.loading) == ("a", "ok", "b")
    return made


def test_what_is_needed_while_it_loads_in_the_background_is_not_loaded_twice(coming, failing, workshop):
    failing.add("a")
    for _ in range(2):
        look(coming)
    workshop.held["b"].set()
    assert look(coming)
    assert [model.name for model in workshop.made] == ["a", "b"]


def test_a_lesser_one_that_is_no_longer_needed_is_closed(coming, workshop, wait_for):
    workshop.held["b"].set()
    wait_for(lambda: coming.step_up() or not coming.shown.loading)
    assert [(model.name, model.closed) for model in workshop.made] == [("a", False), ("b", True)]


# The end ----------------------------------------------------------------------------------------


def test_the_end_closes_what_is_loaded(opened, workshop):
    opened("a", "b").close()
    assert [model.closed for model in workshop.made] == [True]


def test_the_end_waits_for_a_load_that_ends_soon(spare, clock, workshop):
    workshop.held["a"] = threading.Event()
    clock.now = 30 * S
    spare.step_up()
    threading.Timer(0.1, workshop.held["a"].set).start()
    spare.close()
    assert ([model.closed for model in workshop.made], loading()) == ([True, True, True], False)


def test_the_end_does_not_wait_for_ever_and_closes_what_comes_later(spare, clock, workshop, wait_for, monkeypatch):
    monkeypatch.setattr(backends_module, "END_PATIENCE_S", 0.01)
    workshop.held["a"] = threading.Event()
    clock.now = 30 * S
    spare.step_up()
    spare.close()
    assert loading()
    workshop.held["a"].set()
    wait_for(lambda: [model.closed for model in workshop.made] == [True, True, True])


# In the host ------------------------------------------------------------------------------------


class Counting(BaseExtractor):
    """Remembers how many frames it has looked at."""

    name = "counting"
    backends = {"a": lambda _: Model("a"), "b": lambda _: Model("b")}

    def __init__(self, config=None):
        super().__init__(config)
        assert not self.config
        self.count = 0

    def extract(self, frame):
        self.models.look()
        self.count += 1
        return Observation(signals={"count": self.count}, metadata={"mine": self.models.name})


@pytest.fixture
def host():
    host = ExtractorHost(Counting, "face", {"backends": ["a", "b"], "ladder": {"errors": 2}})
    host.open()
    return host


def frame(frame_id, stream="cam1"):
    return Frame(np.zeros((2, 2, 3), np.uint8), frame_id, frame_id * 40, stream, 1)


def test_an_observation_says_which_backend_it_is_of(host):
    assert host.handle(frame(0)).observations[0].metadata == {"mine": "a", "backend": "a"}


def test_an_observation_of_a_lesser_backend_says_why(host, failing):
    failing.add("a")
    with pytest.raises(ExtractionError):
        host.handle(frame(0))
    assert host.handle(frame(1)).observations[0].metadata == {
        "mine": "b", "backend": "b",
        "degraded": "a: 2 frames in a row failed, the last by RuntimeError: a fails",
    }  # fmt: skip


def test_a_long_reason_is_cut_short_in_metadata(opened, workshop):
    workshop.missing["a"] = OSError("x" * 1000)
    assert len(opened("a", "b").mark["degraded"]) == 120


def test_after_a_step_up_the_extractor_has_the_better_models(failing, wait_for):
    host = ExtractorHost(Counting, "face", {"backends": ["a", "b"], "ladder": {"errors": 1, "retry": "1ms"}})
    host.open()
    failing.add("a")
    host.handle(frame(0))
    failing.clear()
    metadata = wait_for(lambda: (m := host.handle(frame(1)).observations[0].metadata)["backend"] == "a" and m)
    assert metadata["mine"] == "a"


def test_what_each_streams_object_remembers_survives_the_change(host, failing):
    for stream in ("cam1", "cam2", "cam2"):
        host.handle(frame(0, stream))
    failing.add("a")
    with pytest.raises(ExtractionError):
        host.handle(frame(1))
    counts = [host.handle(frame(2, stream)).observations[0].signals["count"] for stream in ("cam1", "cam2")]
    assert counts == [2.0, 3.0]


def test_what_a_backend_makes_the_extractor_say_wrongly_counts_against_it(failing):
    class Wrong(Counting):
        def extract(self, frame):
            return 42 if self.models.name == "a" else Observation()

    host = ExtractorHost(Wrong, "face", {"backends": ["a", "b"], "ladder": {"errors": 1}})
    host.open()
    assert host.handle(frame(0)).observations[0].metadata["backend"] == "b"


def test_of_a_class_without_backends_nothing_is_said_and_no_frame_is_tried_twice(failing):
    class Plain(Counting):
        backends = {}
        tried = 0

        def extract(self, frame):
            Plain.tried += 1
            raise RuntimeError("no")

    host = ExtractorHost(Plain, "face", {})
    host.open()
    for n in range(10):
        with pytest.raises(ExtractionError, match="RuntimeError: no"):
            host.handle(frame(n))
    assert (Plain.tried, host.backends) == (10, None)


def test_an_object_that_a_program_makes_is_given_the_backends_that_it_was_made_with():
    with ExtractorOrchestrator([Counting({"backend": "b"})]) as orchestrator:
        [observation] = orchestrator.extract_all(frame(0))
    assert observation.metadata["backend"] == "b"


def test_a_choice_that_cannot_be_is_a_plugin_error(failing):
    with pytest.raises(PluginError, match="extractor 'face' cannot start: backend: there is no 'c'; there are a, b"):
        ExtractorHost(Counting, "face", {"backend": "c"}).open()

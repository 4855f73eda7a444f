"""The one host of extractors: one object per stream, shared models, and no way for a plug-in to end it."""

from types import MappingProxyType
from typing import ClassVar

import numpy as np
import pytest

from visualbase.frame import Frame
from visualpath.core.errors import ExtractionError, PluginError
from visualpath.core.extractor import BaseExtractor
from visualpath.core.observation import Observation
from visualpath.process.host import ExtractorHost


class Models:
    closed = False

    def close(self):
        self.closed = True


class Scripted(BaseExtractor):
    """Does what the test tells it: `answer` is returned, or called with the frame."""

    made: ClassVar[list] = []
    loads = 0

    def __init__(self, config=None):
        super().__init__(config)
        self.frames, self.resets, self.closed = [], 0, False
        self.made.append(self)

    @classmethod
    def load_models(cls, config):
        cls.loads += 1
        return Models()

    def extract(self, frame):
        self.frames.append(frame)
        answer = self.config.get("answer")
        return answer(frame) if callable(answer) else answer

    def reset(self):
        self.resets += 1

    def close(self):
        self.closed = True


@pytest.fixture
def kind():
    """A fresh extractor class."""
    return type("Fresh", (Scripted,), {"made": [], "loads": 0})


@pytest.fixture
def opened(kind):
    """An open host, with what `extract` answers."""

    def make(answer=None, extractor=kind):
        host = ExtractorHost(extractor, "face", {"answer": answer})
        host.open()
        return host

    return make


def frame(frame_id=0, stream="cam1", epoch=1):
    return Frame(np.zeros((2, 2, 3), np.uint8), frame_id, frame_id * 40, stream, epoch)


# Dependencies -----------------------------------------------------------------------------------


class Dependent(Scripted):
    depends = ("face",)
    was_given: ClassVar[list] = []

    def extract(self, frame, seen=None):
        self.was_given.append(seen)


FACE = {"face": [Observation(source="face", signals={"conf": 0.5})]}


def test_an_extractor_that_depends_on_others_is_given_what_they_saw(opened):
    opened(extractor=Dependent).handle(frame(), FACE)
    assert Dependent.was_given.pop() == FACE


def test_an_extractor_that_depends_on_nobody_is_given_the_frame_alone(opened, kind):
    opened().handle(frame(3), FACE)
    assert [one.frame_id for one in kind.made[0].frames] == [3]


# Objects and models -----------------------------------------------------------------------------


def test_each_stream_has_an_object_of_its_own(opened, kind):
    host = opened()
    for stream in ("cam1", "cam2", "cam1", "cam2"):
        host.handle(frame(stream=stream))
    assert [[seen.stream for seen in one.frames] for one in kind.made] == [["cam1", "cam1"], ["cam2", "cam2"]]


def test_models_are_loaded_once(opened, kind):
    host = opened()
    for stream in ("cam1", "cam2", "cam3"):
        host.handle(frame(stream=stream))
    assert kind.loads == 1


def test_models_are_shared_between_streams(opened, kind):
    host = opened()
    for stream in ("cam1", "cam2"):
        host.handle(frame(stream=stream))
    assert kind.made[0].models is kind.made[1].models


def test_an_object_has_its_models_before_its_first_frame(opened, kind):
    host = opened(lambda _: Observation(signals={"has": float(isinstance(kind.made[0].models, Models))}))
    assert host.handle(frame()).observations[0].signals == {"has": 1.0}


def test_a_new_epoch_resets_the_object_of_the_stream(opened, kind):
    host = opened()
    for epoch in (1, 1, 2):
        host.handle(frame(epoch=epoch))
    assert kind.made[0].resets == 1


def test_a_new_epoch_resets_no_other_stream(opened, kind):
    host = opened()
    for stream, epoch in (("cam1", 1), ("cam2", 1), ("cam2", 2), ("cam1", 1)):
        host.handle(frame(stream=stream, epoch=epoch))
    assert kind.made[0].resets == 0


def test_the_first_epoch_is_no_reset(opened, kind):
    opened().handle(frame(epoch=7))
    assert kind.made[0].resets == 0


def test_close_closes_every_object(opened, kind):
    host = opened()
    for stream in ("cam1", "cam2"):
        host.handle(frame(stream=stream))
    host.close()
    assert [one.closed for one in kind.made] == [True, True]


def test_close_closes_the_models_last(opened, kind):
    host = opened()
    host.handle(frame())
    models = kind.made[0].models
    kind.close = lambda self: setattr(self, "models_were_open", not models.closed)
    host.close()
    assert (kind.made[0].models_were_open, models.closed) == (True, True)


def test_a_host_that_was_never_used_closes_its_object(opened, kind):
    opened().close()
    assert kind.made[0].closed


# Opening ----------------------------------------------------------------------------------------


def test_models_that_cannot_be_loaded_are_a_plugin_error_with_the_cause(kind):
    def fail(config):
        raise FileNotFoundError("face.onnx")

    kind.load_models = fail
    with pytest.raises(PluginError, match=r"extractor 'face' cannot start: FileNotFoundError: face\.onnx"):
        ExtractorHost(kind, "face", {}).open()


def test_a_configuration_that_the_plugin_refuses_is_a_plugin_error(kind):
    def fail(self, config):
        raise ValueError("threshold must be below 1")

    kind.__init__ = fail
    with pytest.raises(PluginError, match="threshold must be below 1"):
        ExtractorHost(kind, "face", {}).open()


def test_a_cause_that_has_no_text_is_a_plugin_error(kind):
    kind.load_models = failing(Mute())
    with pytest.raises(PluginError, match="extractor 'face' cannot start: Mute, whose text cannot be made"):
        ExtractorHost(kind, "face", {}).open()


# Answers ----------------------------------------------------------------------------------------


def test_none_is_no_observation(opened):
    assert opened(None).handle(frame()).observations == []


def test_one_observation_is_a_list_of_one(opened):
    assert len(opened(Observation(signals={"conf": 0.5})).handle(frame()).observations) == 1


@pytest.mark.parametrize("kind_of_list", [list, tuple])
def test_several_observations_keep_their_order(opened, kind_of_list):
    several = kind_of_list(Observation(signals={"n": n}) for n in range(3))
    assert [o.signals["n"] for o in opened(several).handle(frame()).observations] == [0.0, 1.0, 2.0]


def test_the_host_fills_in_source_frame_and_time(opened):
    [observation] = opened(lambda _: Observation()).handle(frame(7)).observations
    assert (observation.source, observation.frame_id, observation.t_ns) == ("face", 7, 280)


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.array(0.5), 0.5])
def test_numpy_scalars_become_floats(opened, value):
    [observation] = opened(Observation(signals={"conf": value})).handle(frame()).observations
    assert (type(observation.signals["conf"]), observation.signals["conf"]) == (float, 0.5)


@pytest.mark.parametrize("value", [True, np.bool_(True), 1, np.int64(1)])
def test_truth_values_and_integers_become_floats(opened, value):
    [observation] = opened(Observation(signals={"smiles": value})).handle(frame()).observations
    assert (type(observation.signals["smiles"]), observation.signals["smiles"]) == (float, 1.0)


def test_the_time_that_the_extractor_took_is_measured(opened):
    assert opened().handle(frame()).extract_ms > 0


def test_metadata_of_any_mapping_becomes_a_dict(opened):
    [observation] = opened(Observation(metadata=MappingProxyType({"m": 1}))).handle(frame()).observations
    assert (type(observation.metadata), observation.metadata) == (dict, {"m": 1})


# What a plug-in may do wrong --------------------------------------------------------------------


def failing(what):
    def fail(*_):
        raise what

    return fail


def test_an_exception_is_an_extraction_error_with_its_type_and_text(opened):
    with pytest.raises(ExtractionError, match="ZeroDivisionError: by zero"):
        opened(failing(ZeroDivisionError("by zero"))).handle(frame())


def test_the_host_goes_on_after_an_exception(opened):
    host = opened(lambda seen: None if seen.frame_id else failing(RuntimeError("no"))())
    with pytest.raises(ExtractionError):
        host.handle(frame(0))
    assert host.handle(frame(1)).observations == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), np.float32("nan")])
def test_a_signal_that_is_not_finite_is_an_extraction_error_that_names_it(opened, value):
    with pytest.raises(ExtractionError, match="signal 'conf' is"):
        opened(Observation(signals={"conf": value})).handle(frame())


@pytest.mark.parametrize("value", ["high", None, [0.5], np.array([0.1, 0.2]), 10**400, 1j], ids=lambda v: repr(v)[:9])
def test_a_signal_that_is_no_number_is_an_extraction_error(opened, value):
    with pytest.raises(ExtractionError, match="signals must be numbers"):
        opened(Observation(signals={"conf": value})).handle(frame())


def test_a_signal_whose_name_is_no_text_is_an_extraction_error(opened):
    with pytest.raises(ExtractionError, match="signals must be numbers by name"):
        opened(Observation(signals={1: 0.5})).handle(frame())


@pytest.mark.parametrize("signals", [None, [0.5], "conf"])
def test_signals_that_are_no_mapping_are_an_extraction_error(opened, signals):
    with pytest.raises(ExtractionError, match="signals must be numbers"):
        opened(Observation(signals=signals)).handle(frame())


class Failing:
    """Whatever is asked of it, it raises."""

    def fail(self, *_):
        raise RuntimeError("on another device")

    __float__ = __repr__ = items = fail


class Mute(Exception):
    __str__ = __repr__ = Failing.fail


class FailingList(list):
    __iter__ = Failing.fail


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Observation(signals={"conf": Failing()}), "signals must be numbers by name: RuntimeError: on another device"),
        (Observation(signals=Failing()), "signals must be numbers by name: RuntimeError: on another device"),
        (Observation(signals={Failing(): 1.0}), "signals must be numbers by name, not by Failing"),
        (FailingList([Observation()]), "RuntimeError: on another device"),
    ],
    ids=["a number", "signals", "a name", "a list"],
)
def test_what_fails_in_the_hands_of_the_host_is_an_extraction_error(opened, answer, said):
    with pytest.raises(ExtractionError) as caught:
        opened(answer).handle(frame())
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Mute(), "Mute, whose text cannot be made: RuntimeError"),
        (ExtractionError(Mute()), "ExtractionError, whose text cannot be made: RuntimeError"),
        (FileNotFoundError(2, "gone", "/\udcff.bin"), "FileNotFoundError: [Errno 2] gone: '/\\udcff.bin'"),
        (ValueError("\udcff"), "ValueError: ?"),
        (ValueError("x" * 5000), "ValueError: " + "x" * 1988),
    ],
    ids=["none", "none inside", "escaped", "no UTF-8", "too long"],
)
def test_the_text_of_any_exception_can_be_sent(opened, error, said):
    with pytest.raises(ExtractionError) as caught:
        opened(failing(error)).handle(frame())
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (None, "metadata must be values by name, not NoneType"),
        (["m"], "metadata must be values by name, not list"),
        ({1: 2}, "metadata must be values by name, not by int"),
    ],
)
def test_metadata_that_is_no_mapping_of_names_is_an_extraction_error(opened, metadata, said):
    with pytest.raises(ExtractionError, match=said):
        opened(Observation(metadata=metadata)).handle(frame())


@pytest.mark.parametrize(
    "answer", [42, 0.5, True, "face", {"conf": 0.5}, [0.5], [None], object()], ids=lambda v: repr(v)[:9]
)
def test_an_answer_of_the_wrong_type_is_an_extraction_error_that_names_it(opened, answer):
    with pytest.raises(ExtractionError, match=r"extract\(\) returned \w+, not Observation"):
        opened(answer).handle(frame())


def test_a_generator_is_no_answer(opened):
    with pytest.raises(ExtractionError, match="returned generator"):
        opened(lambda _: (Observation() for _ in range(2))).handle(frame())


def test_a_reset_that_fails_is_an_extraction_error(opened, kind):
    host = opened()
    host.handle(frame(epoch=1))
    kind.reset = failing(RuntimeError("stuck"))
    with pytest.raises(ExtractionError, match="RuntimeError: stuck"):
        host.handle(frame(epoch=2))


def test_a_reset_that_failed_is_tried_again_with_the_next_frame(opened, kind):
    host = opened()
    host.handle(frame(epoch=1))
    reset, kind.reset = kind.reset, failing(RuntimeError("stuck"))
    with pytest.raises(ExtractionError):
        host.handle(frame(epoch=2))
    kind.reset = reset
    host.handle(frame(epoch=2))
    assert kind.made[0].resets == 1


def test_an_object_that_cannot_be_made_for_a_further_stream_is_an_extraction_error(opened, kind):
    host = opened()
    host.handle(frame(stream="cam1"))
    kind.__init__ = failing(MemoryError("no room"))
    with pytest.raises(ExtractionError, match="MemoryError: no room"):
        host.handle(frame(stream="cam2"))


def test_an_object_whose_close_fails_keeps_no_other_from_closing(opened, kind):
    host = opened()
    for stream in ("cam1", "cam2"):
        host.handle(frame(stream=stream))
    kind.made[0].close = failing(RuntimeError("stuck"))
    host.close()
    assert (kind.made[1].closed, kind.made[1].models.closed) == (True, True)

"""The classes that plug-in authors see."""

import pytest

from visualpath.core.extractor import BaseExtractor
from visualpath.core.fusion import BaseFusion, FusionResult
from visualpath.core.observation import Observation
from visualpath.core.trigger import Trigger


class Least(BaseExtractor):
    """The least that an extractor must have."""

    def extract(self, frame):
        return None


def trigger(label, score):
    return Trigger(label=label, t_start_ns=0, t_end_ns=0, frame_id=0, score=score, reason=f"why {label}")


def test_an_observation_needs_nothing_at_all():
    observation = Observation()
    assert (observation.source, observation.frame_id, observation.t_ns, observation.signals) == ("", -1, -1, {})


def test_a_confidence_becomes_a_signal():
    assert Observation(signals={"count": 1.0}, confidence=0.5).signals == {"count": 1.0, "confidence": 0.5}


def test_a_confidence_does_not_change_the_callers_signals():
    signals = {"count": 1.0}
    Observation(signals=signals, confidence=0.5)
    assert signals == {"count": 1.0}


def test_two_observations_share_no_signals():
    assert Observation().signals is not Observation().signals


def test_a_results_trigger_is_its_first():
    result = FusionResult(triggers=(trigger("a", 0.25), trigger("b", 0.75)))
    assert (result.should_trigger, result.trigger.label, result.score, result.reason) == (True, "a", 0.25, "why a")


def test_a_result_without_triggers_triggers_nothing():
    result = FusionResult()
    assert (result.should_trigger, result.trigger, result.score, result.reason) == (False, None, 0.0, "")


def test_an_extractor_has_a_copy_of_its_config():
    config = {"threshold": 1}
    extractor = Least(config)
    config["threshold"] = 2
    assert extractor.config == {"threshold": 1}


def test_an_extractor_needs_extract_alone():
    extractor = Least()
    extractor.reset()
    extractor.close()
    assert (extractor.config, extractor.models, Least.load_models({})) == ({}, None, None)


@pytest.mark.parametrize("interface", [BaseExtractor, BaseFusion])
def test_an_interface_alone_is_no_plug_in(interface):
    with pytest.raises(TypeError, match="abstract"):
        interface()

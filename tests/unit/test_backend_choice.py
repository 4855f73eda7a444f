"""Which backends a configuration chooses, and what that means for the pictures and for the other settings."""

import pytest

from facemoment.extractors.expression import ExpressionExtractor
from facemoment.extractors.face import FaceConfig, FaceExtractor
from facemoment.extractors.pose import PoseConfig, PoseExtractor
from visualpath.core.errors import PluginConfigError
from visualpath.core.extractor import BaseExtractor
from visualpath.core.ladder import Patience
from visualpath.core.observation import Observation
from visualpath.plugin.backends import choose
from visualpath.process.host import ExtractorHost
from visualpath.process.view import View

S = 1_000_000_000


class Choosy(BaseExtractor):
    name = "choosy"
    backends = {"a": lambda config: ("a", dict(config)), "b": lambda config: ("b", dict(config))}

    def extract(self, frame):
        return Observation(signals={"seen": 1.0})


@pytest.mark.parametrize(
    ("config", "names"),
    [
        ({}, ["a"]),
        ({"backend": "b"}, ["b"]),
        ({"backends": ["b", "a"]}, ["b", "a"]),
    ],
)
def test_the_configuration_chooses_backends_and_by_default_the_first(config, names):
    assert list(choose(Choosy, config).loaders) == names


def test_the_plugin_gets_what_is_not_the_hosts():
    assert choose(Choosy, {"backend": "b", "ladder": {}, "size": 3}).config == {"size": 3}


def test_a_loader_gets_what_the_plugin_gets():
    assert choose(Choosy, {"backend": "b", "size": 3}).loaders["b"]() == ("b", {"size": 3})


class Particular(Choosy):
    input_width, pixel_format = 160, "gray"
    backends = dict.fromkeys(("small", "whole", "colour", "usual"), dict)
    backend_pictures = {"small": (80, "gray"), "whole": (None, "gray"), "colour": (80, "bgr")}
    backend_settings = {"small": ("size",), "whole": ("size", "deep"), "colour": ("hue",)}


@pytest.mark.parametrize(
    ("chosen", "pictures"),
    [
        (["small"], (80, "gray")),
        (["usual"], (160, "gray")),
        (["small", "usual"], (160, "gray")),
        (["usual", "colour"], (160, "bgr")),
        (["whole", "usual"], (None, "gray")),
    ],
)
def test_pictures_are_as_large_and_as_coloured_as_any_of_the_chosen_wants_them(chosen, pictures):
    choice = choose(Particular, {"backends": chosen})
    assert (choice.input_width, choice.pixel_format) == pictures


def test_the_host_sees_pictures_as_the_chosen_backend_wants_them():
    host = ExtractorHost(Particular, "particular", {"backend": "colour"})
    host.open()
    assert host.view == View(80, "bgr")


@pytest.mark.parametrize("chosen", [["small"], ["usual", "whole"]])
def test_a_setting_that_a_chosen_backend_reads_is_taken(chosen):
    assert choose(Particular, {"backends": chosen, "size": 3}).config == {"size": 3}


def test_a_setting_that_no_chosen_backend_reads_is_refused_with_what_mends_it():
    with pytest.raises(PluginConfigError) as caught:
        choose(Particular, {"backends": ["usual", "colour"], "size": 3})
    assert str(caught.value) == (
        "size: no backend that is chosen reads it, only small and whole: write `backend: small`, or take it out"
    )


def test_a_class_without_backends_keeps_its_whole_configuration():
    class Plain(Choosy):
        backends = {}

    assert choose(Plain, {"backend": "mesh"}).config == {"backend": "mesh"}


def test_the_ladders_settings_are_read():
    written = {"errors": 7, "retry": "1s", "retry_max": "2m", "probation": 3}
    assert choose(Choosy, {"ladder": written}).patience == Patience(7, 1 * S, 120 * S, 3)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"backend": "c"}, "backend: there is no 'c'; there are a, b"),
        ({"backends": ["a", "c"]}, "backends: there is no 'c'; there are a, b"),
        ({"backends": [["a"]]}, "backends: there is no ['a']; there are a, b"),
        ({"backends": ["a", "a"]}, "backends: 'a' stands here twice: take one out"),
        ({"backends": []}, "backends: must be a list of some of a, b, the best first"),
        ({"backends": "a"}, "backends: must be a list of some of a, b, the best first"),
        ({"backend": "a", "backends": ["b"]}, "backends: write backend or backends, not both"),
        ({"ladder": {"tries": 3}}, "ladder.tries: unknown key; there are errors, retry, retry_max and probation"),
        ({"ladder": {"errors": 0}}, "ladder.errors: Expected `int` >= 1"),
        ({"ladder": {"retry": 30}}, "ladder.retry: 30 is no duration"),
        ({"ladder": {"retry_max": "1s"}}, "ladder.retry_max: must be at least as long as retry"),
    ],
)
def test_a_wrong_choice_is_refused_by_key(config, said):
    with pytest.raises(PluginConfigError) as caught:
        choose(Choosy, config)
    assert str(caught.value).startswith(said)


# face, expression and pose ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extractor", "config", "pictures"),
    [
        (FaceExtractor, {}, (640, "bgr")),
        (FaceExtractor, {"backend": "insightface"}, (640, "bgr")),
        (ExpressionExtractor, {}, (1, "gray")),
        (ExpressionExtractor, {"backend": "hsemotion"}, (640, "bgr")),
        (ExpressionExtractor, {"backends": ["hsemotion", "mesh"]}, (640, "bgr")),
        (PoseExtractor, {}, (480, "bgr")),
        (PoseExtractor, {"backend": "yolo"}, (640, "bgr")),
        (PoseExtractor, {"backends": ["yolo", "mediapipe"]}, (640, "bgr")),
    ],
)
def test_pictures_are_those_that_the_chosen_backends_need(extractor, config, pictures):
    choice = choose(extractor, config)
    assert (choice.input_width, choice.pixel_format) == pictures


@pytest.mark.parametrize(
    ("extractor", "config", "key", "reader"),
    [
        (FaceExtractor, {"device": "gpu"}, "device", "insightface"),
        (FaceExtractor, {"backend": "insightface", "model_selection": 0}, "model_selection", "mediapipe"),
        (ExpressionExtractor, {"backend": "mesh", "max_faces": 2}, "max_faces", "hsemotion"),
        (PoseExtractor, {"model": "yolo11s-pose"}, "model", "yolo and ultralytics"),
    ],
)
def test_a_setting_of_a_backend_that_is_not_chosen_is_refused(extractor, config, key, reader):
    with pytest.raises(PluginConfigError, match=f"^{key}: no backend that is chosen reads it, only {reader}: "):
        choose(extractor, config)


@pytest.mark.parametrize(
    ("extractor", "config"),
    [
        (FaceExtractor, {"backends": ["insightface", "mediapipe"], "device": "gpu", "model_selection": 0}),
        (FaceExtractor, {"min_confidence": 0.7, "max_faces": 1, "max_age_s": 1}),
        (PoseExtractor, {"min_confidence": 0.7, "max_age_s": 1}),
    ],
)
def test_settings_that_a_chosen_backend_reads_are_taken(extractor, config):
    assert set(choose(extractor, config).config) == set(config) - {"backends"}


@pytest.mark.parametrize(("extractor", "settings"), [(FaceExtractor, FaceConfig), (PoseExtractor, PoseConfig)])
def test_settings_that_are_said_to_be_of_one_backend_are_some(extractor, settings):
    said = {key for keys in extractor.backend_settings.values() for key in keys}
    assert said <= set(settings.__struct_fields__)

"""docs/extractors.md says what the extractors of facemoment take and give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from facemoment.backends.hsemotion import EMOTIONS
from facemoment.extractors import expression, face, gesture, pose
from facemoment.extractors.face_classifier import FaceClassifierExtractor
from facemoment.extractors.quality import QualityExtractor

PAGE = Path(__file__).parents[2] / "docs/extractors.md"
DOCUMENT = PAGE.read_text(encoding="utf-8")
CONFIGS = {
    "face": face.FaceConfig(),
    "expression": expression.ExpressionConfig(),
    "gesture": gesture.GestureConfig(),
    "pose": pose.PoseConfig(),
}
WITH_BACKENDS = (face.FaceExtractor, expression.ExpressionExtractor, pose.PoseExtractor)
NO_DEFAULT = {("pose", "min_confidence"): f"{pose.MEDIAPIPE_CONFIDENCE}; yolo: {pose.YOLO_CONFIDENCE}"}
"""What stands for None."""
EXTRACTORS = (
    face.FaceExtractor, expression.ExpressionExtractor, FaceClassifierExtractor, gesture.GestureExtractor,
    pose.PoseExtractor, QualityExtractor,
)  # fmt: skip


def section(name):
    return DOCUMENT.split(f"\n## {name}\n")[1].split("\n## ")[0]


def rows(name):
    """The table of a section: default and meaning by key."""
    lines = [line.split("|")[1:4] for line in section(name).splitlines() if line.startswith("| `")]
    return {key.strip(" `"): (default.strip(), meaning.strip()) for key, default, meaning in lines}


def as_told(value):
    return ", ".join(value) if isinstance(value, list) else str(value)


@pytest.mark.parametrize("name", CONFIGS)
def test_table_of_an_extractor_has_its_configuration_keys_with_their_defaults(name):
    told = {key: default for key, (default, _) in rows(name).items() if key != "backend"}
    defaults = {key: getattr(CONFIGS[name], key) for key in CONFIGS[name].__struct_fields__}
    assert told == {key: NO_DEFAULT.get((name, key), as_told(value)) for key, value in defaults.items()}


@pytest.mark.parametrize("extractor", WITH_BACKENDS, ids=lambda extractor: extractor.name)
def test_table_of_an_extractor_has_its_backends_the_default_first(extractor):
    default, meaning = rows(extractor.name)["backend"]
    assert [default, *re.findall("`(.+?)`", meaning)] == list(extractor.backends)


@pytest.mark.parametrize("extractor", WITH_BACKENDS, ids=lambda extractor: extractor.name)
def test_what_one_backend_alone_reads_is_said_to_be_its(extractor):
    said = {
        (each, key)
        for key, (_, meaning) in rows(extractor.name).items()
        for names in re.findall(r"^of ([\w ]+)[:;]", meaning)
        for each in names.split(" and ")
    }
    assert said == {(each, key) for each, keys in extractor.backend_settings.items() for key in keys}


@pytest.mark.parametrize("extractor", WITH_BACKENDS, ids=lambda extractor: extractor.name)
def test_the_other_backends_want_pictures_of_the_width_that_is_told(extractor):
    *_, other = extractor.backends
    width, _ = extractor.backend_pictures.get(other, (extractor.input_width, ""))
    assert f"want pictures {width} wide" in DOCUMENT.replace("\n", " ")


@pytest.mark.parametrize("plugin", ["ocr", "scene"])
def test_extractors_with_a_page_of_their_own_are_linked(plugin):
    [link] = re.findall(rf"\[`{plugin}`\]\((.+?)\)", DOCUMENT)
    assert (PAGE.parent / link).is_file()


@pytest.mark.parametrize("extractor", EXTRACTORS, ids=lambda extractor: extractor.name)
def test_width_that_an_extractor_asks_for_is_in_the_table(extractor):
    [row] = [line for line in DOCUMENT.splitlines() if line.startswith(f"| `{extractor.name}` |")]
    told = row.split("|")[3].strip()
    assert told == ("" if extractor.input_width == 1 else str(extractor.input_width))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("face", face.signals([])),
        ("gesture", gesture.signals([])),
        ("pose", pose.signals([])),
        ("expression", {*expression.SCORES, *EMOTIONS}),
    ],
)
def test_signals_of_an_extractor_are_in_its_section(name, said):
    assert [signal for signal in said if f"`{signal}`" not in section(name)] == []

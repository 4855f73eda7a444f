"""docs/extractors.md says what the extractors of facemoment take and give."""

from __future__ import annotations

from pathlib import Path

import pytest

from facemoment.extractors import expression, face, gesture, pose
from facemoment.extractors.face_classifier import FaceClassifierExtractor
from facemoment.extractors.quality import QualityExtractor

DOCUMENT = (Path(__file__).parents[2] / "docs/extractors.md").read_text()
CONFIGS = {"face": face.FaceConfig, "gesture": gesture.GestureConfig, "pose": pose.PoseConfig}
EXTRACTORS = (
    face.FaceExtractor, expression.ExpressionExtractor, FaceClassifierExtractor, gesture.GestureExtractor,
    pose.PoseExtractor, QualityExtractor,
)  # fmt: skip


def section(name):
    return DOCUMENT.split(f"\n## {name}\n")[1].split("\n## ")[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_table_of_an_extractor_has_its_configuration_keys_with_their_defaults(name):
    rows = [line.split("|")[1:3] for line in section(name).splitlines() if line.startswith("| `")]
    defaults = CONFIGS[name]()
    told = {key.strip(" `"): float(value) for key, value in rows}
    assert told == {key: getattr(defaults, key) for key in defaults.__struct_fields__}


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
    ],
)
def test_signals_of_an_extractor_are_in_its_section(name, said):
    assert [signal for signal in said if f"`{signal}`" not in section(name)] == []

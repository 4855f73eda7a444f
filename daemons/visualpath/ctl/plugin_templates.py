"""The files of an extractor's project, by path; `plugin_project` fills in what stands in <>."""

from __future__ import annotations

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "visualpath-<NAME>"
version = "0.1.0"
description = "<A_KIND> for visualpath"
requires-python = ">=3.10"
dependencies = ["numpy"]  # visualpath itself comes from its checkout: see README.md

[project.entry-points."visualpath.<KIND>s"]
<NAME> = "<MODULE>:<CLASS>"

[tool.setuptools]
py-modules = ["<MODULE>"]
"""

EXTRACTOR_MODULE = '''\
"""<NAME>: how much of the picture has changed since the last one, and where most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from visualbase.frame import Frame
from visualpath.core import BaseExtractor, Observation

COLUMNS, ROWS = 32, 18


@dataclass(frozen=True)
class Change:
    """Where most has changed: 0 to 1 from the left, and from the top."""

    x: float
    y: float


class <CLASS>(BaseExtractor):
    """Compares each picture with the one before.

    Signals:
        level: share of the picture that has changed, 0 to 1.

    Args:
        config: `threshold`: from how many levels of grey on something has changed, 1 to 255; default 12.

    Raises:
        ValueError: the configuration has an unknown key, or a value that is not allowed.
    """

    name = "<NAME>"
    version = "0.1.0"
    input_width = 160  # at least so many pixels wide; None: full size
    pixel_format = "gray"  # or "bgr": see extract()

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        if unknown := self.config.keys() - {"threshold"}:
            raise ValueError(f"<NAME>: unknown {', '.join(sorted(unknown))}; allowed is threshold (1 to 255)")
        self._threshold = self.config.get("threshold", 12)
        if not isinstance(self._threshold, (int, float)) or not 1 <= self._threshold <= 255:
            raise ValueError(f"<NAME>: threshold is {self._threshold!r}; allowed is 1 to 255")
        self._last: npt.NDArray[np.float32] | None = None

    def extract(self, frame: Frame) -> Observation[Change]:
        """Compare a picture, uint8 of shape (height, width, 1), with the last one of this stream."""
        samples = sampled(frame.data[:, :, 0])  # of "bgr", shape (height, width, 3), this takes the blue alone
        last, self._last = self._last, samples
        if last is None:
            return Observation(signals={"level": 0.0})
        change = np.abs(samples - last)
        row, column = np.unravel_index(change.argmax(), change.shape)
        return Observation(
            signals={"level": float((change >= self._threshold).mean())},
            data=Change(x=float((column + 0.5) / COLUMNS), y=float((row + 0.5) / ROWS)),
        )

    def reset(self) -> None:
        """A new epoch has begun: the last picture has nothing to do with the next."""
        self._last = None


def sampled(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Pick 18 x 32 pixels of a picture of any size: a copy, since a frame is not for keeping."""
    rows = np.linspace(0, grey.shape[0] - 1, ROWS).astype(int)
    columns = np.linspace(0, grey.shape[1] - 1, COLUMNS).astype(int)
    return grey[np.ix_(rows, columns)].astype(np.float32)
'''

EXTRACTOR_TEST = '''\
"""<NAME> keeps visualpath's contract, and sees what it should."""

import numpy as np
import pytest
from visualbase.frame import Frame
from visualpath.testing.conformance.runner import assert_conforms

from <MODULE> import <CLASS>


def frame(number, square_at):
    pixels = np.zeros((90, 160, 1), np.uint8)  # for "bgr": (90, 160, 3)
    pixels[30:60, square_at : square_at + 40] = 255
    return Frame(pixels, number, number * 40_000_000)


def test_it_conforms():
    assert_conforms("<NAME>")


def test_what_moves_is_seen_where_it_is():
    extractor = <CLASS>()
    extractor.extract(frame(0, 20))
    seen = extractor.extract(frame(1, 100))
    assert 0.05 < seen.signals["level"] < 0.5
    assert 0.3 < seen.data.y < 0.7


def test_nothing_changes_in_a_still_picture():
    extractor = <CLASS>()
    extractor.extract(frame(0, 20))
    assert extractor.extract(frame(1, 20)).signals["level"] == 0


def test_a_threshold_out_of_range_is_refused():
    with pytest.raises(ValueError, match="threshold"):
        <CLASS>({"threshold": 0})
'''

EXTRACTOR_README = """\
# <NAME>

An extractor for visualpath. `<MODULE>.py` is all of it; visualpath's docs/plugins.md says what may be in it.

A venv of its own, and the tests:

    <INSTALL>
    <VENV>/bin/pytest <FOLDER>

`vpctl plugins check <FOLDER>` runs the conformance kit and shows each check. Then, in visualpath.yaml:

    extractors:
      <NAME>:
        venv: <VENV>
        config: {threshold: 12}
    fusion:
      rules:
        - label: <NAME>
          when: <NAME>.level >= 0.05
          for: 200ms

and `vpctl up` (or `vpctl restart`). After a change of `<MODULE>.py`: `vpctl restart extractor-<NAME>`.
"""

DEPENDENT_MODULE = '''\
"""<NAME>: how bright the picture is where <DEPENDS> has found something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from visualbase.frame import Frame
from visualpath.core import BaseExtractor, Observation


class <CLASS>(BaseExtractor):
    """Looks into the boxes that `<DEPENDS>` gives.

    Signals:
        boxes: how many there are.
        level: mean brightness of the brightest, 0 to 1; absent where there is no box.

    Raises:
        ValueError: there is a configuration; it takes none.
    """

    name = "<NAME>"
    version = "0.1.0"
    input_width = 320  # at least so many pixels wide; None: full size
    pixel_format = "gray"  # or "bgr"
    depends = ("<DEPENDS>",)

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        super().__init__(config)
        if self.config:
            raise ValueError(f"<NAME>: takes no configuration, not {', '.join(self.config)}")

    def extract(self, frame: Frame, seen: Mapping[str, Sequence[Observation[Any]]] | None = None) -> Observation[Any]:
        """Measure what lies in each box.

        Args:
            seen: what `<DEPENDS>` said of this frame: its data is a list of mappings, whose x, y, w and h are fractions
                of the picture, as `face`, `gesture` and `pose` of facemoment give them.
        """
        boxes = [box for said in (seen or {}).get("<DEPENDS>", ()) for box in said.data or ()]
        levels = [brightness(frame, box) for box in boxes]
        signals = {"boxes": float(len(boxes))}
        return Observation(signals=signals | ({"level": max(levels)} if levels else {}), data=levels)


def brightness(frame: Frame, box: Mapping[str, Any]) -> float:
    """Mean of the pixels in a box, of one at least: a face at the edge may be narrower than that."""
    height, width = frame.data.shape[:2]
    left, top = min(int(box["x"] * width), width - 1), min(int(box["y"] * height), height - 1)
    right, bottom = round((box["x"] + box["w"]) * width), round((box["y"] + box["h"]) * height)
    return float(frame.data[top : max(bottom, top + 1), left : max(right, left + 1)].mean() / 255)
'''

DEPENDENT_TAPE = '''\
"""What the conformance kit feeds <NAME>: pictures, and what <DEPENDS> saw on each."""

import numpy as np
from visualpath.core import Observation


def tape():
    for number in range(24):
        picture = np.full((360, 640, 3), 60, np.uint8)
        left = 20 * number
        picture[100:200, left : left + 100] = 200
        box = {"track_id": 0, "x": left / 640, "y": 100 / 360, "w": 100 / 640, "h": 100 / 360}
        found = [] if number % 8 == 7 else [box]
        yield picture, {"<DEPENDS>": [Observation(signals={"count": float(len(found))}, data=found)]}
'''

DEPENDENT_TEST = '''\
"""<NAME> keeps visualpath's contract, and sees what it should."""

from pathlib import Path

import numpy as np
import pytest
from visualbase.frame import Frame
from visualpath.core import Observation
from visualpath.testing.conformance.runner import assert_conforms

from <MODULE> import <CLASS>


def looked(*boxes):
    pixels = np.zeros((180, 320, 1), np.uint8)
    pixels[:90, :160] = 255
    return <CLASS>().extract(Frame(pixels, 0, 0), {"<DEPENDS>": [Observation(data=list(boxes))]})


def test_it_conforms():
    assert_conforms("<NAME>", tape=Path(__file__).with_name("tape.py"))


def test_the_brightest_box_counts():
    bright, dark = {"x": 0.1, "y": 0.1, "w": 0.3, "h": 0.3}, {"x": 0.6, "y": 0.6, "w": 0.3, "h": 0.3}
    assert looked(dark, bright).signals == {"boxes": 2.0, "level": 1.0}


def test_where_there_is_no_box_there_is_no_level():
    assert looked().signals == {"boxes": 0.0}


def test_a_configuration_is_refused():
    with pytest.raises(ValueError, match="takes no configuration"):
        <CLASS>({"threshold": 0})
'''

DEPENDENT_README = """\
# <NAME>

An extractor for visualpath that looks at what `<DEPENDS>` has found. `<MODULE>.py` is all of it; visualpath's
docs/plugins.md says what may be in it, and docs/extractors.md what the extractors of facemoment give.

A venv of its own, and the tests:

    <INSTALL>
    <VENV>/bin/pytest <FOLDER>

`vpctl plugins check <FOLDER> --tape <FOLDER>/tests/tape.py` runs the conformance kit and shows each check. Then, in
visualpath.yaml:

    extractors:
      <DEPENDS>:
        venv: <DEPENDS>
      <NAME>:
        venv: <VENV>
        depends: [<DEPENDS>]
    fusion:
      rules:
        - label: <NAME>
          when: <NAME>.level >= 0.5
          for: 200ms

and `vpctl up` (or `vpctl restart`). After a change of `<MODULE>.py`: `vpctl restart extractor-<NAME>`.
"""

GITIGNORE = """\
.venv/
*.egg-info/
__pycache__/
"""


def project(kind: str, module: str, test: str, readme: str, **more: str) -> dict[str, str]:
    """The files of a project by path, of an extractor or a fusion."""
    a_kind = {"extractor": "An extractor", "fusion": "A fusion"}[kind]
    return {
        "pyproject.toml": PYPROJECT.replace("<KIND>", kind).replace("<A_KIND>", a_kind),
        "<MODULE>.py": module,
        "tests/test_<MODULE>.py": test,
        **more,
        "README.md": readme,
        ".gitignore": GITIGNORE,
    }


EXTRACTOR = project("extractor", EXTRACTOR_MODULE, EXTRACTOR_TEST, EXTRACTOR_README)
DEPENDENT = project(
    "extractor", DEPENDENT_MODULE, DEPENDENT_TEST, DEPENDENT_README, **{"tests/tape.py": DEPENDENT_TAPE}
)

"""The files of a plug-in project, by path; <NAME>, <MODULE>, <CLASS>, <FOLDER>, <VENV> and <INSTALL> are filled in."""

from __future__ import annotations

PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "visualpath-<NAME>"
version = "0.1.0"
description = "A <KIND> for visualpath"
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
    pixel_format = "gray"  # or "bgr"

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
        samples = sampled(frame.data[:, :, 0])
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
    pixels = np.zeros((90, 160, 1), np.uint8)
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

FUSION_MODULE = '''\
"""<NAME>: fires when a signal has risen by much."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from visualpath.core.errors import PluginConfigError
from visualpath.core.fusion import BaseFusion, FrameObservations, FusionResult
from visualpath.core.trigger import EvidenceItem, Trigger

COOLDOWN_NS = 2_000_000_000


class <CLASS>(BaseFusion):
    """Fires when a signal is higher than its lowest value since the last firing by `rise`.

    Args:
        config: `source` and `signal` say what is read (default: face.count), `rise` by how much it must rise (1.0).

    Raises:
        PluginConfigError: an unknown key, or a value that is not allowed.
    """

    name = "<NAME>"

    def __init__(self, config: Mapping[str, Any]) -> None:
        for key in config:
            if key not in ("source", "signal", "rise"):
                raise PluginConfigError((key,), "unknown key; allowed are source, signal and rise")
        self._source = str(config.get("source", "face"))
        self._signal = str(config.get("signal", "count"))
        self._rise = config.get("rise", 1.0)
        if not isinstance(self._rise, (int, float)) or not self._rise > 0:
            raise PluginConfigError(("rise",), f"is {self._rise!r}; write a number above 0")
        self.reset()

    def reset(self) -> None:
        """A new epoch has begun: its times have nothing to do with the old ones."""
        self._low: tuple[float, int] | None = None
        self._quiet_until_ns = 0

    def resume(self, label: str, t_end_ns: int) -> None:
        """Keep the cooldown over a restart of the daemon."""
        self._quiet_until_ns = t_end_ns + COOLDOWN_NS

    def update(self, frame: FrameObservations) -> FusionResult:
        """Take the next frame; a source that is missing, skipped or saw nothing tells nothing."""
        seen = frame.observations.get(self._source)
        value = seen[0].signals.get(self._signal) if seen else None
        if value is None:
            return FusionResult()
        if self._low is None or value < self._low[0]:
            self._low = value, frame.t_ns
        low, low_ns = self._low
        if value - low < self._rise or frame.t_ns < self._quiet_until_ns:
            return FusionResult(observations_used=1)
        self._low, self._quiet_until_ns = (value, frame.t_ns), frame.t_ns + COOLDOWN_NS
        moment = Trigger(
            label="<NAME>",
            t_start_ns=low_ns,
            t_end_ns=frame.t_ns,
            frame_id=frame.frame_id,
            reason=f"{self._source}.{self._signal} rose from {low:g} to {value:g}",
            evidence=(EvidenceItem(self._source, frame.frame_id, self._signal, value),),
        )
        return FusionResult(triggers=(moment,), observations_used=1)
'''

FUSION_TAPE = '''\
"""What the conformance kit feeds <NAME>: a signal that rises every four seconds, with gaps."""

from visualpath.core import Observation
from visualpath.core.fusion import FrameObservations

FRAME_NS = 40_000_000


def tape():
    for number in range(300):
        if number % 10 == 9:
            yield FrameObservations(number, number * FRAME_NS, {}, missing=("face",))
            continue
        seen = Observation("face", number, number * FRAME_NS, signals={"count": float(number % 100 >= 50)})
        yield FrameObservations(number, number * FRAME_NS, {"face": [seen]})
'''

FUSION_TEST = '''\
"""<NAME> keeps visualpath's contract, and fires when it should."""

from pathlib import Path

import pytest
from visualpath.core import Observation
from visualpath.core.errors import PluginConfigError
from visualpath.core.fusion import FrameObservations
from visualpath.testing.conformance.runner import assert_conforms

from <MODULE> import <CLASS>


def at(number, count):
    return FrameObservations(number, number * 40_000_000, {"face": [Observation("face", signals={"count": count})]})


def test_it_conforms():
    assert_conforms("<NAME>", "fusion", tape=Path(__file__).with_name("tape.py"))


def test_a_rise_fires_once():
    fusion = <CLASS>({})
    fired = [trigger for number in range(40) for trigger in fusion.update(at(number, float(number > 20))).triggers]
    assert [trigger.frame_id for trigger in fired] == [21]


def test_a_rise_of_nothing_is_refused_with_its_key():
    with pytest.raises(PluginConfigError) as refused:
        <CLASS>({"rise": 0})
    assert refused.value.key == ("rise",)
'''

FUSION_README = """\
# <NAME>

A fusion for visualpath: it decides what was a moment. `<MODULE>.py` is all of it; visualpath's docs/plugins.md says
what may be in it. It runs in the venv `core`, beside visualpath itself, and may need nothing that is not in there:

    <INSTALL>
    vpctl plugins check <FOLDER> --tape <FOLDER>/tests/tape.py

The tests need pytest, which `core` has not: run them with the venv `dev` of visualpath's checkout after the same
installation there. Then, in visualpath.yaml, and `vpctl restart`:

    fusion:
      plugin: <NAME>
      config: {source: face, signal: count, rise: 1.0}
"""

GITIGNORE = """\
.venv/
*.egg-info/
__pycache__/
"""


def _project(kind: str, module: str, test: str, readme: str, **more: str) -> dict[str, str]:
    return {
        "pyproject.toml": PYPROJECT.replace("<KIND>", kind),
        "<MODULE>.py": module,
        "tests/test_<MODULE>.py": test,
        **more,
        "README.md": readme,
        ".gitignore": GITIGNORE,
    }


EXTRACTOR = _project("extractor", EXTRACTOR_MODULE, EXTRACTOR_TEST, EXTRACTOR_README)
FUSION = _project("fusion", FUSION_MODULE, FUSION_TEST, FUSION_README, **{"tests/tape.py": FUSION_TAPE})

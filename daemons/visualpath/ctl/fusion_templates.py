"""The files of a fusion's project, by path, as `plugin_templates` has those of an extractor."""

from __future__ import annotations

from visualpath.ctl.plugin_templates import project

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

FUSION = project("fusion", FUSION_MODULE, FUSION_TEST, FUSION_README, **{"tests/tape.py": FUSION_TAPE})

"""What a fusion must do on any day: decide the same of the same, forget when told, and survive what is missing."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from visualpath.core.errors import PluginConfigError, told
from visualpath.core.fusion import BaseFusion, Decision, FrameObservations, FusionResult, GateChange, RuleState
from visualpath.core.observation import Observation
from visualpath.core.stream_fusion import trig_of
from visualpath.testing.conformance.extractor_checks import UNKNOWN_KEY, check_metadata
from visualpath.testing.conformance.pictures import FRAME_NS
from visualpath.testing.conformance.places import line_of_error
from visualpath.testing.conformance.tape import read_tape
from visualpath.testing.conformance.verdict import Doubted, Plan, Refused
from visualpath.testing.conformance.watch import Watch
from visualpath_protocol.codec import Codec, encode
from visualpath_protocol.messages import Trig
from visualpath_protocol.sockets import TRIGGERS

TAPE_SETS = 250
TRIG_CODEC = Codec(Trig, max_bytes=TRIGGERS.max_bytes)

Told = list[Trig]


class FusionTrial:
    """What the checks of a fusion share; see `Trial`."""

    def __init__(self, plan: Plan, fusion: type[BaseFusion], root: str, watch: Watch) -> None:
        self.plan = plan
        self.fusion = fusion
        self.root = root
        self.watch = watch
        self.sets: Sequence[FrameObservations] = read_tape(plan.tape) if plan.tape else list(self._own_sets())
        if not all(isinstance(each, FrameObservations) for each in self.sets):
            raise Refused(f"{plan.tape}: tape() gives what is no FrameObservations")

    def make(self) -> BaseFusion:
        """A fresh object, as for one stream."""
        kind: Any = self.fusion
        with self.watch.starting("the construction"):
            try:
                fusion: BaseFusion = kind(self.plan.config)
            except Exception as error:
                hint = "" if self.plan.config else ": if it needs a configuration, give it with --plugin-config"
                raise Refused(f"it cannot be made: {told(error)}{hint}", line_of_error(error, self.root)) from error
        return fusion

    def update(self, fusion: BaseFusion, frame: FrameObservations, what: str) -> Told:
        """Let it decide on one set.

        Raises:
            Refused: it failed, or gave what cannot go on.
        """
        with self.watch.doing(f"update() with {what}"):
            try:
                result = fusion.update(frame)
                states = fusion.explain()
            except Exception as error:
                raise Refused(f"update() failed with {what}: {told(error)}", line_of_error(error, self.root)) from error
        if not isinstance(result, FusionResult):
            raise Refused(f"update() returned {type(result).__name__}, not FusionResult, with {what}")
        for note in result.notes:
            if not isinstance(note, (GateChange, Decision)):
                raise Refused(f"a note is a {type(note).__name__}: only GateChange and Decision are")
        if not all(isinstance(state, RuleState) for state in states):
            raise Refused("explain() gives what is no RuleState")
        try:
            msgspec.json.encode([result.notes, result.metadata, states])
            return [TRIG_CODEC.decode(encode(trig_of("kit", 1, trigger))) for trigger in result.triggers]
        except Exception as error:
            raise Refused(f"a trigger, note or metadata cannot travel with {what}: {told(error)}") from error

    def run(self, fusion: BaseFusion) -> Told:
        """All triggers of the tape."""
        fired: Told = []
        for number, each in enumerate(self.sets):
            fired += self.update(fusion, each, f"set {number} of the tape")
        return fired

    def call(self, what: str, method: Any, *args: Any) -> Any:
        """Call another method of the interface."""
        with self.watch.doing(what):
            try:
                return method(*args)
            except Exception as error:
                raise Refused(f"{what} failed: {told(error)}", line_of_error(error, self.root)) from error

    def sources(self) -> tuple[str, ...]:
        """Whose observations the kit's own sets hold."""
        return self.fusion.depends or ("somebody",)

    def _own_sets(self) -> Iterator[FrameObservations]:
        """Each source sees something, nothing, is missing or skips, as it comes; without signals that mean anything."""
        chance = random.Random(3)  # noqa: S311  (no secret hangs on it)
        for number in range(TAPE_SETS):
            observations: dict[str, list[Observation[Any]]] = {}
            absent: dict[str, list[str]] = {"missing": [], "skipped": []}
            for source in self.sources():
                fate = chance.choice(("sees", "sees", "nothing", "missing", "skipped"))
                if fate in absent:
                    absent[fate].append(source)
                else:
                    seen = Observation[Any](source, number, number * FRAME_NS, signals={"kit": chance.random()})
                    observations[source] = [seen] if fate == "sees" else []
            yield FrameObservations(
                number, number * FRAME_NS, observations, tuple(absent["missing"]), tuple(absent["skipped"])
            )


def check_class(trial: FusionTrial) -> str:
    """Its name, and whose observations it needs."""
    check_metadata(trial.fusion, trial.plan.name)
    return f"{trial.plan.name}, needs {', '.join(trial.fusion.depends) or 'nobody by name'}"


def check_config(trial: FusionTrial) -> str:
    """It can be made as configured, and a mistyped key is refused with a PluginConfigError."""
    trial.make()
    kind: Any = trial.fusion
    with trial.watch.starting("the construction with an unknown key"):
        try:
            kind({**trial.plan.config, UNKNOWN_KEY: 1})
        except PluginConfigError as error:
            return f"an unknown key is refused: {error}"
        except Exception as error:
            raise Refused(
                "a wrong configuration must be refused with PluginConfigError((key,), message), from which "
                f"`vpctl validate` tells the line, not with {told(error)}",
                line_of_error(error, trial.root),
            ) from error
    raise Doubted("an unknown key is taken without a word: a typo in visualpath.yaml would go unseen")


def check_update(trial: FusionTrial) -> str:
    """What it decides on the tape can travel."""
    fusion = trial.make()
    doubts = trial.call("doubts()", fusion.doubts, FRAME_NS)
    if not (isinstance(doubts, list) and all(isinstance(doubt, str) for doubt in doubts)):
        raise Refused("doubts() gives what is no list of texts")
    fired = trial.run(fusion)
    if not fired:
        raise Doubted(
            f"none of {len(trial.sets)} sets fired, so its triggers are not tried: give it "
            "some on which it fires: --tape FILE.py, whose tape() gives FrameObservations"
        )
    return f"{len(fired)} triggers on {len(trial.sets)} sets: {', '.join(sorted({trig.label for trig in fired}))}"


def check_reset(trial: FusionTrial) -> str:
    """After reset() it decides the same of the same sets."""
    fusion = trial.make()
    first = trial.run(fusion)
    trial.call("reset()", fusion.reset)
    again = trial.run(fusion)
    return _same(first, again, "reset() does not forget the past: the same sets in the next epoch give others")


def check_resume(trial: FusionTrial) -> str:
    """Told what fired before a restart, two objects decide the same."""
    fired = trial.run(trial.make())
    told_of = [(trig.label, trig.t_end_ns) for trig in fired[:1]] or [("kit", FRAME_NS)]
    runs = []
    for _ in range(2):
        fusion = trial.make()
        for label, t_end_ns in told_of:
            trial.call("resume()", fusion.resume, label, t_end_ns)
        runs.append(trial.run(fusion))
    return _same(runs[0], runs[1], "after resume() two objects decide differently")


def check_streams(trial: FusionTrial) -> str:
    """What it decides on one stream has nothing to do with another."""
    alone = trial.run(trial.make())
    one, two = trial.make(), trial.make()
    beside: Told = []
    for number, each in enumerate(trial.sets):
        beside += trial.update(one, each, f"set {number} of the tape")
        trial.update(two, each, f"set {number} of the tape")
    return _same(alone, beside, "objects of two streams share state (an attribute of the class? a global?)")


def _same(first: Told, second: Told, otherwise: str) -> str:
    if first == second:
        return f"the same {len(first)} triggers"
    parted = next((str(one) for one in [*first, *second] if one not in first or one not in second), "their order")
    raise Refused(f"{otherwise}: {len(first)} triggers, then {len(second)}; {parted}")


def check_odd_sets(trial: FusionTrial) -> str:
    """Sets as they come when extractors die, are replaced, or say what nobody expects."""
    names = trial.sources()
    bare: dict[str, list[Observation[Any]]] = {name: [Observation(name)] for name in names}
    many: dict[str, list[Observation[Any]]] = {
        name: [Observation(name, signals={"kit": 1e300, "count": -1.0})] * 50 for name in names
    }
    odd: list[tuple[str, dict[str, list[Observation[Any]]], tuple[str, ...], tuple[str, ...]]] = [
        ("nothing but missing sources", {}, names, ()),
        ("nothing but skips", {}, (), names),
        ("nobody at all", {}, (), ()),
        ("observations without signals and data", bare, (), ()),
        ("a source that nobody knows", {"stranger": [Observation("stranger", signals={"x": 1.0})]}, names, ()),
        ("many observations, and values that nobody expects", many, (), ()),
        ("nothing seen", {name: [] for name in names}, (), ()),
    ]
    fusion = trial.make()
    t_ns = 0
    for number, (what, observations, missing, skipped) in enumerate(odd):
        t_ns += FRAME_NS if number % 2 else 3_600_000_000_000
        trial.update(fusion, FrameObservations(number * 7, t_ns, observations, missing, skipped), what)
    return ", ".join(what for what, *_ in odd)

"""Why there was, or was not, a trigger: what rules, conditions and the replay of a record say about a moment."""

from pathlib import Path

import numpy as np
import pytest

from visualpath.core.conditions import parse_condition
from visualpath.core.errors import RecordError
from visualpath.core.fusion import BaseFusion, FrameObservations
from visualpath.core.observation import Observation
from visualpath.core.rules import RulesFusion
from visualpath.core.stream_types import ByHand, Tick
from visualpath.ctl.commands.explain import _print
from visualpath.ctl.console import Vpctl
from visualpath.process import witness
from visualpath.process.explain import explain
from visualpath.process.record import files_at
from visualpath.process.replay import Replay
from visualpath.process.survey import Moment
from visualpath_protocol.messages import Bound, StreamState

MS = 1_000_000


# Conditions -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "values", "blamed"),
    [
        ("a.x > 1", {"x": 2}, []),
        ("a.x > 1", {"x": 1}, [("x", True)]),
        ("a.x > 1", {}, [("x", True)]),
        ({"all": ["a.x > 1", "a.y > 1", "a.z > 1"]}, {"x": 2, "y": 0}, [("y", True), ("z", True)]),
        ({"any": ["a.x > 1", "a.y > 1"]}, {"x": 0}, [("x", True), ("y", True)]),
        ({"any": ["a.x > 1", "a.y > 1"]}, {"x": 2}, []),
        ({"not": "a.x > 1"}, {"x": 2}, [("x", False)]),
        ({"not": {"all": ["a.x > 1", "a.y > 1"]}}, {"x": 2, "y": 2}, [("x", False), ("y", False)]),
        ({"not": {"any": ["a.x > 1", "a.y > 1"]}}, {"x": 2, "y": 0}, [("x", False)]),
        ({"all": [{"not": "a.x > 1"}, "a.y > 1"]}, {"x": 2, "y": 2}, [("x", False)]),
    ],
)
def test_a_condition_names_the_comparisons_by_which_it_fails_and_what_they_would_have_to_be(spec, values, blamed):
    condition = parse_condition(spec)
    against = condition.against(True, lambda signal: values.get(signal[1]))
    assert [(comparison.signal[1], wanted) for comparison, wanted in against] == blamed


def test_comparisons_come_in_the_order_written():
    condition = parse_condition({"all": ["a.x > 1", {"not": "a.y < 2"}, {"any": ["b.z == 3"]}]})
    assert list(map(str, condition.comparisons())) == ["a.x > 1", "a.y < 2", "b.z == 3"]


# Rules ----------------------------------------------------------------------------------------------


def rules_after(*frames, when="face.count >= 1"):
    """The state of a rule after frames of (t_ms, count)."""
    rule = {"label": "smile", "when": when, "for": "100ms", "cooldown": "1s", "max_gap": "300ms"}
    fusion = RulesFusion([rule])
    for t_ms, count in frames:
        seen = {} if count is None else {"face": [Observation(signals={"count": float(count)})]}
        fusion.update(FrameObservations(frame_id=t_ms, t_ns=t_ms * MS, observations=seen))
    (state,) = fusion.explain()
    return state


def test_a_rule_tells_since_when_it_holds():
    state = rules_after((0, 0), (50, 1), (100, 1))
    assert (state.holds, state.hold_from_ns, state.for_ns, state.cooldown_until_ns) == (True, 50 * MS, 100 * MS, 0)


def test_after_a_firing_it_tells_the_cooldown():
    state = rules_after((0, 1), (100, 1))
    assert (state.hold_from_ns, state.cooldown_until_ns) == (None, 1100 * MS)


def test_a_value_is_told_with_its_frame_and_how_long_it_stands():
    (reading,) = rules_after((0, 1), (200, None)).readings
    assert (reading.source, reading.signal, reading.comparison) == ("face", "count", "face.count >= 1")
    assert (reading.value, reading.frame_id, reading.t_ns, reading.stands_until_ns) == (1.0, 0, 0, 300 * MS)
    assert (reading.holds, reading.wanted) == (True, None)


def test_a_value_that_stands_no_longer_is_unknown_and_still_told():
    (reading,) = rules_after((0, 1), (301, None)).readings
    assert (reading.holds, reading.wanted, reading.value) == (None, True, 1.0)


def test_a_signal_that_was_never_seen_has_no_value():
    (reading,) = rules_after((0, None)).readings
    assert (reading.holds, reading.value, reading.frame_id) == (None, None, None)


def test_a_rule_of_several_times_tells_how_many_there_were():
    rule = {"label": "smile", "when": "face.count >= 1", "count": 3, "within": "5s"}
    fusion = RulesFusion([rule])
    for t_ms, count in ((0, 1.0), (50, 0.0), (100, 1.0)):
        seen = {"face": [Observation(signals={"count": count})]}
        fusion.update(FrameObservations(frame_id=t_ms, t_ns=t_ms * MS, observations=seen))
    (state,) = fusion.explain()
    assert state.waits_for == "the condition to hold 3 times within 5 s (so far 2)"


def test_a_fusion_plug_in_need_not_explain_itself():
    class Silent(BaseFusion):
        def update(self, frame):
            raise NotImplementedError

    assert Silent().explain() == []


# A moment -------------------------------------------------------------------------------------------


def at(scene, t_ms, epoch=3):
    scene.end()
    return explain(files_at(scene.folder), "cam1", Moment(epoch, t_ms * MS))


def why(scene, t_ms):
    (verdict,) = at(scene, t_ms).rules
    return verdict.answer


@pytest.fixture
def live(scene):
    scene.live("face", "text")
    return scene


@pytest.fixture
def make_live(make_scene):
    """Make a live scene of one rule."""

    def make(rule):
        scene = make_scene(rule)
        scene.live("face", "text")
        return scene

    return make


def test_a_moment_within_a_trigger_is_a_yes_with_its_id(live):
    live.faces(0, 10)
    (verdict,) = at(live, 100).rules
    assert verdict.answer.startswith(f"yes: TRIG {verdict.fired} smile cam1/3 0.000s..0.200s")


@pytest.fixture
def together(make_scene):
    """Two rules wait for the same thing, at 100 ms, and for one thing each besides."""
    scene = make_scene(
        config="""
streams: {cam1: {source: a.mp4}}
extractors: {face: {}, text: {}}
fusion:
  rules:
    - {label: smile, when: face.count >= 1, count: 2, within: 5s}
    - {label: grin, when: {all: [face.count >= 1, face.conf >= 0.8]}, count: 2, within: 5s}
"""
    )
    scene.live("face", "text")
    for frame_id in range(4):
        scene.obs("text", frame_id)
        scene.obs("face", frame_id, count=float(frame_id < 1), conf=0.9 if frame_id < 1 else 0.5)
    return at(scene, 100)


def test_what_several_rules_wait_for_is_told_once_with_what_they_have_in_common(together):
    (waiting,) = together.waiting
    assert (waiting.what, waiting.labels, waiting.reasons) == (
        "the condition to hold 2 times within 5 s (so far 1)",
        ["smile", "grin"],
        ["face.count was 0 (needs >= 1) on frame #2"],
    )


def test_a_rule_that_waits_with_others_tells_what_is_its_own(together):
    assert together.rules[1].answer == "no: face.conf was 0.5 (needs >= 0.8) on frame #2"


def test_a_rule_that_waits_with_others_and_has_nothing_of_its_own_tells_what_for(together):
    assert together.rules[0].answer == "no: it waited for the condition to hold 2 times within 5 s (so far 1)"


def test_people_read_once_what_several_rules_wait_for(together, capsys):
    _print(Vpctl(Path("visualpath.yaml"), as_json=False), together, together.rules, "")
    shown = capsys.readouterr().out
    assert "\nsmile, grin waited for the condition to hold 2 times within 5 s (so far 1); face.count was 0 (" in shown
    assert shown.count("\n  face.count >= 1  ") == 1


def test_what_one_rule_alone_waits_for_is_not_told_apart(live):
    live.faces(0, 10)
    assert at(live, 100).waiting == []


def test_a_value_that_did_not_do_is_told_with_its_frame(live):
    live.faces(0, 10, count=0.0)
    assert why(live, 250) == "no: face.count was 0 (needs >= 1) on frame #5"


def test_a_cooldown_is_told_with_the_trigger_it_comes_from(live):
    live.faces(0, 10)
    fired = at(live, 100).rules[0].fired
    assert why(live, 300) == f"no: cooldown until 1.200s, after {fired} at 0.200s"


def test_a_hold_that_waited_for_its_score_is_told(make_scene):
    scene = make_scene(
        config="""
streams: {cam1: {source: a.mp4}}
extractors: {face: {}, text: {}}
fusion:
  rules:
    - {label: smile, when: face.count >= 1, for: 200ms, score: face.conf, min_score: 0.8}
"""
    )
    scene.live("face", "text")
    for frame_id in range(8):
        scene.obs("text", frame_id)
        scene.obs("face", frame_id, count=float(frame_id < 6), conf=0.5)
    assert why(scene, 100) == (
        "no: held for 0.250 s of 0.2 s, waiting for face.conf >= 0.8 (it was 0.5), when face.count was 0 (needs >= 1) "
        "on frame #6"
    )


FACE = {"track_id": 0, "x": 0.4, "y": 0.4, "w": 0.2, "h": 0.2, "confidence": 0.9, "yaw": 10.0, "pitch": 0.0}
V_SIGN = {
    "track_id": 0, "handedness": "right", "confidence": 0.9, "x": 0.1, "y": 0.1, "w": 0.1, "h": 0.1,
    "gesture": "v_sign", "score": 0.8, "landmarks": np.zeros((21, 3), np.float32),
}  # fmt: skip


def people(make_scene, *signs, face=FACE):
    """A scene with a face on 50 frames, and a v-sign on some."""
    scene = make_scene(
        config="""
streams: {cam1: {source: a.mp4}}
extractors: {face: {}, gesture: {}}
fusion: {plugin: highlight, config: {triggers: [v-sign]}}
"""
    )
    scene.live("face", "gesture")
    for frame_id in range(50):
        scene.obs("face", frame_id, data=[face])
        scene.obs("gesture", frame_id, data=[V_SIGN] if frame_id in signs else [])
    return scene


def test_a_moment_before_a_closed_gate_is_told_with_the_gate_and_why(make_scene):
    scene = people(make_scene, face={**FACE, "yaw": 60.0})
    assert why(scene, 1000) == (
        "no: it waited for the gate to open; face.|yaw| was 60 (needs <= 25) on frame #20; gesture.v_sign is unknown: "
        "no hand in sight (needs > 0)"
    )


def test_a_sign_before_the_gate_has_opened_is_told_with_how_long_all_was_well(make_scene):
    assert why(people(make_scene, 8, 9), 400) == "no: it waited for the gate to open (all well for 0.400 s of 0.7 s)"


def test_a_sign_on_one_frame_is_told_with_what_ended_it(make_scene):
    assert why(people(make_scene, 20), 1000) == (
        "no: held for 0.000 s, waiting for frame 2 of 2 in a row, when gesture.v_sign became unknown at 1.000s (last "
        "seen on frame #20)"
    )


def test_a_sign_in_the_cooldown_is_told_with_the_trigger_it_comes_from(make_scene):
    scene = people(make_scene, 20, 21, 30, 31)
    fired = at(scene, 1050).rules[0].fired
    assert why(scene, 1500) == f"no: cooldown until 3.050s, after {fired} at 1.050s"


def test_a_replay_of_a_highlight_gives_the_same_bytes(make_scene):
    scene = people(make_scene, 20, 21, 30, 31)
    scene.end()
    replay = Replay(files_at(scene.folder))
    assert sum(len(step.outcomes) for step in replay.steps()) > 50
    assert [each.body for each in replay.decided] == scene.trigs
    assert len(scene.trigs) == 1


def test_a_hold_that_a_value_ended_is_told_with_its_length(live):
    live.faces(0, 3)
    live.faces(4, 10, count=0.0)
    expected = "no: held for 0.150 s of 0.2 s when face.count was 0 (needs >= 1) on frame #4"
    assert why(live, 0) == why(live, 150) == expected


def test_a_hold_that_ended_because_the_source_skipped_is_told_with_the_reason(make_live):
    scene = make_live("label: smile, when: face.count >= 1, for: 600ms")
    scene.faces(0, 2)
    for frame_id in range(3, 11):
        scene.obs("text", frame_id)
        scene.skip("face", frame_id, frame_id)
    scene.faces(11, 20)
    expected = (
        "no: held for 0.400 s of 0.6 s when face.count became unknown at 0.400s "
        "(last seen on frame #2; face skipped (backpressure) #3-#8)"
    )
    assert why(scene, 100) == expected


def test_a_hold_that_ended_while_no_frame_came_is_no_hold_of_the_next_frame(make_live):
    scene = make_live("label: smile, when: face.count >= 1, for: 600ms")
    scene.faces(0, 2)
    scene.faces(12, 14)
    assert "became unknown at 0.400s (last seen on frame #2)" in why(scene, 100)


def test_a_long_hold_is_followed_to_its_end(make_live):
    scene = make_live("label: smile, when: face.count >= 1, for: 10s")
    scene.faces(0, 99)
    scene.faces(100, 101, count=0.0)
    assert "held for 4.950 s of 10 s when face.count was 0" in why(scene, 100)


def test_a_hold_that_a_time_jump_ended_is_told(live):
    live.faces(0, 2)
    for n in range(4):
        for source in ("text", "face"):
            live.obs(source, 3 + n, t_ms=100_000 + 50 * n, at_ms=200 + 50 * n, count=1.0)
    assert why(live, 100) == "no: held for 0.100 s of 0.2 s when time jumped"


def test_a_hold_at_the_end_of_the_record_is_open(live):
    live.faces(0, 2)
    assert why(live, 100) == "not yet: held for 0.100 s of 0.2 s when the record ends"


def test_a_signal_that_was_never_seen_is_told_with_what_the_source_did(live):
    live.down("face", 0)
    for frame_id in range(5):
        live.obs("text", frame_id)
    assert why(live, 200) == "no: face.count was never seen (needs >= 1); face was down on #0-#4"


def test_an_obs_without_the_signal_is_told(live):
    for frame_id in range(5):
        live.obs("face", frame_id, other=1.0)
        live.obs("text", frame_id)
    assert why(live, 200) == "no: face.count was never seen (needs >= 1); face reported without count on #0-#4"


def test_what_must_not_be_is_told_so(make_live):
    scene = make_live("label: nobody, when: {not: face.count >= 1}")
    scene.faces(0, 3)
    assert why(scene, 100) == "no: face.count was 1 (must not be >= 1) on frame #2"


def test_the_last_frame_at_the_moment_counts_not_one_that_comes_later(live):
    live.faces(0, 2)
    live.faces(8, 10)
    answer = at(live, 390)
    assert (answer.frame_id, answer.frame_t_ns) == (2, 100 * MS)
    assert answer.notes == ["after that frame no source reported #3 to #7"]


def test_a_time_rounded_down_to_a_millisecond_means_the_frame_just_after_it(live):
    live.faces(0, 2)
    live.end()
    answer = explain(files_at(live.folder), "cam1", Moment(3, 100 * MS - 400_000))
    assert answer.frame_id == 2


def test_another_epoch_is_not_mixed_in(live):
    live.faces(0, 10, count=0.0)
    live.live(epoch=4, at_ms=3000)
    for frame_id in range(10):
        live.obs("face", frame_id, at_ms=3100 + 50 * frame_id, epoch=4, count=1.0)
    assert at(live, 100, epoch=3).rules[0].fired is None
    assert at(live, 100, epoch=4).rules[0].fired is not None


def test_where_no_set_left_there_is_nothing_to_explain(live):
    live.faces(0, 2)
    with pytest.raises(RecordError, match=r"no set of cam1 left within 10 s of 60\.000s"):
        at(live, 60_000)


def test_triggers_near_the_moment_are_told_those_by_hand_too(live):
    live.faces(0, 10)
    live.feed(ByHand(label="look", t_ns=500 * MS, frame_id=10, reason="a noise"), 600)
    assert [trig.label for trig in at(live, 900).triggers] == ["smile", "look"]


def test_a_source_that_came_late_is_told(live):
    live.obs("face", 0, count=1.0)
    live.faces(1, 2)
    live.obs("text", 0, at_ms=130)
    live.faces(3, 4)
    assert states(at(live, 0)) == {"face": "reported", "text": "late"}


def states(answer):
    return {each.source: each.state for each in answer.sources}


@pytest.mark.parametrize(
    ("skip", "why"), [(True, "error"), (False, "it reported a later frame and never spoke of this one")]
)
def test_a_source_that_skipped_is_told_with_the_reason(live, skip, why):
    live.obs("face", 0, count=1.0)
    if skip:
        live.skip("text", 0, 0, reason="error")
    else:
        live.obs("text", 1)
    live.faces(2, 4)
    (source,) = (each for each in at(live, 0).sources if each.source == "text")
    assert (source.state, source.why) == ("skipped", why)


def test_a_skip_that_came_after_the_set_had_left_is_told(live):
    live.obs("face", 0, count=1.0)
    live.obs("face", 4, count=1.0)
    live.skip("text", 0, 0, at_ms=300)
    (source,) = (each for each in at(live, 0).sources if each.source == "text")
    assert (source.state, source.why) == ("missing", "slow; its SKIP came later (backpressure)")


@pytest.mark.parametrize("why", ["slow", "down"])
def test_a_source_that_is_missing_is_told_with_why(live, why):
    if why == "down":
        live.down("text", 0)
    live.obs("face", 0, count=1.0)
    live.obs("face", 4, count=1.0)
    (source,) = (each for each in at(live, 0).sources if each.source == "text")
    assert (source.state, source.why) == ("missing", why)


def test_when_the_set_left_and_why_is_told(live):
    live.obs("face", 0, count=1.0)
    live.obs("face", 4, count=1.0)
    answer = at(live, 0)
    assert (answer.left, answer.hold_ns, answer.stream_state) == ("window", 100 * MS, "live")


def test_a_long_record_is_explained_only_around_the_moment(live, monkeypatch):
    asked = []
    monkeypatch.setattr(RulesFusion, "explain", lambda self: asked.append(1) or [])
    monkeypatch.setattr(witness, "BEFORE_NS", 500 * MS)
    live.faces(0, 200, count=0.0)
    at(live, 5000)
    assert 10 <= len(asked) <= 60


# What must not be said -------------------------------------------------------------------------------


@pytest.fixture
def long(make_live):
    """A rule that needs a second."""
    return lambda when="face.count >= 1": make_live(f"label: smile, when: {when}, for: 1s")


def epoch_4(scene, at_ms, **fields):
    scene.feed(StreamState(stream="cam1", epoch=4, state="live", fps=20.0, **fields), at_ms)


AS_RECORDED = "(as recorded; it cannot be derived again from what is left of the record)"


@pytest.mark.parametrize("t_ms", [600, 950])
def test_a_trigger_whose_beginning_has_rolled_off_is_a_yes_as_recorded(long, t_ms):
    scene = long()
    scene.faces(0, 9)
    scene.recorder._begin_next_file(5490 * MS)
    scene.faces(10, 60)
    scene.end()
    scene.files()[0].unlink()
    answer = why(scene, t_ms)
    assert answer.startswith("yes: TRIG ")
    assert answer.endswith(AS_RECORDED)


def with_a_gap(scene, last=60, count=1.0):
    scene.faces(0, 9)
    scene.recorder._dropped = 3
    scene.faces(10, last, count=count)


@pytest.mark.parametrize("t_ms", [300, 800])
def test_a_trigger_across_a_gap_is_a_yes_as_recorded(long, t_ms):
    scene = long()
    with_a_gap(scene)
    assert why(scene, t_ms).endswith(AS_RECORDED)


def test_a_hold_across_a_gap_ends_there(long):
    scene = long()
    with_a_gap(scene, last=12, count=0.0)
    assert why(scene, 300) == "no: held for 0.450 s of 1 s when the record has a gap"


def test_a_value_from_before_a_gap_was_not_never_seen(long):
    scene = long()
    scene.faces(0, 9)
    scene.recorder._dropped = 3
    for frame_id in range(10, 15):
        scene.obs("text", frame_id)
    scene.obs("face", 14)
    assert why(scene, 600).startswith("no: face.count was never seen after the gap in the record (needs >= 1)")


def test_a_trigger_that_the_record_does_not_have_is_told_so(live, monkeypatch):
    monkeypatch.setattr(live.recorder, "put_trigs", lambda *_: None)
    live.faces(0, 10)
    assert why(live, 100).endswith("(decided from the record, which does not have it)")


def test_an_obs_that_was_late_in_another_epoch_is_not_this_ones(live):
    live.obs("face", 0, count=1.0)
    live.faces(1, 2)
    live.obs("text", 0, at_ms=130)
    epoch_4(live, 3000)
    live.obs("face", 0, epoch=4, at_ms=3010, count=1.0)
    live.obs("face", 4, epoch=4, at_ms=3210, count=1.0)
    assert states(at(live, 0, epoch=3))["text"] == "late"
    assert states(at(live, 0, epoch=4))["text"] == "missing"


def failing_on(monkeypatch, nth, method="update"):
    """The rules raise on their nth frame."""
    calls, whole = [], getattr(RulesFusion, method)

    def fail(self, *args):
        calls.append(args)
        if len(calls) == nth:
            raise ValueError("no more")
        return whole(self, *args)

    monkeypatch.setattr(RulesFusion, method, fail)


def failed_in_epoch_3(live, monkeypatch, nth):
    live.faces(0, 4)
    epoch_4(live, 3000)
    for source in ("text", "face"):
        live.obs(source, 4, epoch=4, at_ms=3210, count=1.0)
    failing_on(monkeypatch, nth)
    return at(live, 200, epoch=3).failed


def test_a_failure_of_the_plug_in_is_that_of_its_frame(live, monkeypatch):
    assert failed_in_epoch_3(live, monkeypatch, 5) == "ValueError: no more"


def test_a_failure_of_the_plug_in_in_another_epoch_is_not_this_ones(live, monkeypatch):
    assert failed_in_epoch_3(live, monkeypatch, 6) == ""


def test_a_plug_in_that_fails_to_explain_itself_has_not_failed_on_the_frame(live, monkeypatch):
    live.faces(0, 4)
    failing_on(monkeypatch, 5, "explain")
    answer = at(live, 200)
    assert (answer.failed, answer.rules) == ("", [])
    assert answer.notes == ["the fusion plug-in fails to explain itself: ValueError: no more"]


def test_a_rule_that_a_plug_in_tells_of_no_more_has_no_hold_any_more(live, monkeypatch):
    live.faces(0, 2)
    whole = RulesFusion.explain
    monkeypatch.setattr(RulesFusion, "explain", lambda self: whole(self) if self._known.t_ns < 100 * MS else [])
    assert why(live, 50).startswith("no: held for 0.050 s of 0.2 s when the plug-in ended it")


def test_a_moment_long_after_a_trigger_is_not_part_of_it(live):
    live.faces(10, 14)
    live.faces(180, 200, count=0.0)
    assert why(live, 8000) == "no: no frame was fused from 0.700s to 9.000s"


def test_a_moment_before_all_frames_is_not_part_of_what_follows(live):
    live.faces(10, 20)
    assert why(live, 200) == "no: no frame was fused before 0.500s"


def test_a_moment_between_two_frames_is_part_of_a_hold_that_goes_on(make_live):
    scene = make_live("label: smile, when: face.count >= 1, for: 9s, max_gap: 5s")
    for frame_id in (0, 60, 61):
        scene.faces(frame_id, frame_id)
    assert why(scene, 1500) == "not yet: held for 3.050 s of 9 s when the record ends"


def test_a_hold_that_a_new_epoch_ended_is_told(long):
    scene = long()
    scene.faces(0, 9)
    epoch_4(scene, 600)
    assert why(scene, 200) == "no: held for 0.450 s of 1 s when epoch 4 began"


def test_a_hold_that_the_end_of_the_stream_ended_is_told(long):
    scene = long()
    scene.faces(0, 9)
    scene.feed(StreamState(stream="cam1", epoch=3, state="ended", last_frame_id=9, last_t_ns=450 * MS), 520)
    scene.feed(Tick(), 5000)
    assert why(scene, 200) == "no: held for 0.450 s of 1 s when the stream ended"


def test_a_value_that_no_hold_needed_is_not_blamed_for_its_end(long):
    scene = long("{any: [face.count >= 1, text.n >= 1]}")
    scene.obs("text", 0, n=0.0)
    scene.obs("face", 0, count=1.0)
    scene.faces(1, 6)
    scene.faces(7, 20, count=0.0)
    assert why(scene, 200) == "no: held for 0.300 s of 1 s when face.count was 0 (needs >= 1) on frame #7"


def silence_of(answer, source="text"):
    (report,) = (each for each in answer.sources if each.source == source)
    return report.why


def test_a_frame_outside_of_a_stride_is_told_so(live):
    live.up("text", 0, stride=2)
    live.obs("face", 1, count=1.0)
    assert silence_of(at(live, 50)) == "its stride"


def test_a_frame_before_a_bound_is_told_so(live):
    live.obs("face", 1, count=1.0)
    live.feed(Bound(source="text", instance="i", seq=1, stream="cam1", epoch=3, t_ns=60 * MS), 80)
    assert silence_of(at(live, 50)) == "its BOUND"


def test_a_trigger_by_hand_is_not_the_rules(live):
    live.faces(0, 10, count=0.0)
    live.feed(ByHand(label="smile", t_ns=500 * MS, frame_id=10, reason="a noise"), 530)
    live.faces(11, 12, count=0.0)
    assert why(live, 500) == "no: face.count was 0 (needs >= 1) on frame #10"


def test_where_time_jumped_back_the_last_time_is_explained(live):
    live.faces(0, 200, count=0.0)
    for n in range(60):
        for source in ("text", "face"):
            live.obs(source, 201 + n, t_ms=1000 + 50 * n, at_ms=10_070 + 50 * n, count=1.0)
    answer = at(live, 1500)
    assert answer.frame_id > 200
    assert answer.notes == ["time jumped back: epoch 3 came to that moment again, this is the last time"]


@pytest.mark.parametrize("t_ms", [500, 2000])
def test_the_streams_state_is_of_this_epoch(live, t_ms):
    live.faces(0, 40)
    live.feed(StreamState(stream="cam1", epoch=4, state="stalled"), 2100)
    assert at(live, t_ms).stream_state == "live"


def test_the_streams_state_is_of_the_moment(live):
    live.faces(0, 10)
    live.feed(StreamState(stream="cam1", epoch=3, state="stalled", last_t_ns=500 * MS), 600)
    assert at(live, 200).stream_state == "live"


@pytest.mark.parametrize(
    ("when", "value", "expected"),
    [
        ("face.count >= 1", 1 - 1e-12, "face.count was 0.999999999999 (needs >= 1)"),
        ("face.count > 1234567.5", 1234567.25, "face.count was 1234567.25 (needs > 1234567.5)"),
        ("face.count >= 1", 0.123456789, "face.count was 0.123457 (needs >= 1)"),
    ],
)
def test_a_value_is_told_in_digits_enough_to_tell_it_from_the_threshold(long, when, value, expected):
    scene = long(when)
    scene.faces(0, 9, count=value)
    assert why(scene, 300) == f"no: {expected} on frame #6"

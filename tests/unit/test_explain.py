"""Why there was, or was not, a trigger: what rules, conditions and the replay of a record say about a moment."""

import pytest

from visualpath.core.conditions import parse_condition
from visualpath.core.errors import RecordError
from visualpath.core.fusion import BaseFusion, FrameObservations
from visualpath.core.observation import Observation
from visualpath.core.rules import RulesFusion
from visualpath.core.stream_fusion import ByHand
from visualpath.process import explain as explain_module
from visualpath.process.explain import explain
from visualpath.process.record import files_at
from visualpath.process.survey import Moment

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


def test_a_moment_within_a_trigger_is_a_yes_with_its_id(live):
    live.faces(0, 10)
    (verdict,) = at(live, 100).rules
    assert verdict.answer.startswith(f"yes: TRIG {verdict.fired} smile cam1/3 0.000s..0.200s")


def test_a_value_that_did_not_do_is_told_with_its_frame(live):
    live.faces(0, 10, count=0.0)
    assert why(live, 250) == "no: face.count was 0 (needs >= 1) on frame #5"


def test_a_cooldown_is_told_with_the_trigger_it_comes_from(live):
    live.faces(0, 10)
    fired = at(live, 100).rules[0].fired
    assert why(live, 300) == f"no: cooldown until 1.200s, after {fired} at 0.200s"


def test_a_hold_that_a_value_ended_is_told_with_its_length(live):
    live.faces(0, 3)
    live.faces(4, 10, count=0.0)
    expected = "no: held for 0.150 s of 0.2 s when face.count was 0 (needs >= 1) on frame #4"
    assert why(live, 0) == why(live, 150) == expected


def test_a_hold_that_ended_because_the_source_skipped_is_told_with_the_reason(make_scene):
    scene = make_scene(
        "streams: {cam1: {source: a}}\nextractors: {face: {}, text: {}}\n"
        "fusion: {rules: [{label: smile, when: face.count >= 1, for: 600ms}]}\n"
    )
    scene.live("face", "text")
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


def test_a_hold_that_ended_while_no_frame_came_is_no_hold_of_the_next_frame(make_scene):
    scene = make_scene(
        "streams: {cam1: {source: a}}\nextractors: {face: {}, text: {}}\n"
        "fusion: {rules: [{label: smile, when: face.count >= 1, for: 600ms}]}\n"
    )
    scene.live("face", "text")
    scene.faces(0, 2)
    scene.faces(12, 14)
    assert "became unknown at 0.400s (last seen on frame #2)" in why(scene, 100)


def test_a_long_hold_is_followed_to_its_end(make_scene):
    scene = make_scene(
        "streams: {cam1: {source: a}}\nextractors: {face: {}, text: {}}\n"
        "fusion: {rules: [{label: smile, when: face.count >= 1, for: 10s}]}\n"
    )
    scene.live("face", "text")
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


def test_what_must_not_be_is_told_so(make_scene):
    scene = make_scene(
        "streams: {cam1: {source: a}}\nextractors: {face: {}, text: {}}\n"
        "fusion: {rules: [{label: nobody, when: {not: face.count >= 1}}]}\n"
    )
    scene.live("face", "text")
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


@pytest.mark.parametrize(("skip", "why"), [(True, "error"), (False, "its stride or a BOUND says so")])
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
    monkeypatch.setattr(explain_module, "BEFORE_NS", 500 * MS)
    live.faces(0, 200, count=0.0)
    at(live, 5000)
    assert 10 <= len(asked) <= 60

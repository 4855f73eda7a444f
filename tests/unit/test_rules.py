"""The built-in fusion: holds, cooldowns, gaps; all in event time."""

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from visualpath.core.errors import RuleError
from visualpath.core.fusion import FrameObservations
from visualpath.core.observation import Observation
from visualpath.core.rules import RulesFusion

MS = 1_000_000


def rule(when="face.count >= 1", **keys):
    keys = {"label": "smile", "for": "100ms", "cooldown": "1s", "max_gap": "300ms", **keys}
    return {"when": when, **keys}


def frame(t_ms, frame_id=None, **signals):
    """A set at `t_ms`; `face=2` is face.count = 2, `face=None` an OBS that found nothing."""
    observations = {
        source: [] if value is None else [Observation(source=source, signals={"count": float(value)})]
        for source, value in signals.items()
    }
    return FrameObservations(frame_id=t_ms if frame_id is None else frame_id, t_ns=t_ms * MS, observations=observations)


def fired(fusion, *frames):
    """(t_start, t_end) in ms of each trigger."""
    triggers = [trigger for each in frames for trigger in fusion.update(each).triggers]
    return [(trigger.t_start_ns / MS, trigger.t_end_ns / MS) for trigger in triggers]


def steady(first_ms, last_ms, step_ms=50, **signals):
    return [frame(t, **signals) for t in range(first_ms, last_ms + 1, step_ms)]


# Holding --------------------------------------------------------------------------------------------


def test_it_fires_on_the_frame_on_which_the_hold_has_lasted_for():
    assert fired(RulesFusion([rule()]), *steady(0, 150, face=1)) == [(0, 100)]


def test_the_hold_begins_at_the_first_frame_on_which_the_condition_is_true():
    assert fired(RulesFusion([rule()]), frame(0, face=0), *steady(50, 200, face=1)) == [(50, 150)]


def test_a_hold_one_ns_short_does_not_fire():
    fusion = RulesFusion([rule(**{"for": "100ms"})])
    almost = FrameObservations(frame_id=2, t_ns=100 * MS - 1, observations=frame(0, face=1).observations)
    assert fired(fusion, frame(0, face=1), almost) == []


def test_a_false_frame_ends_the_hold():
    frames = [frame(0, face=1), frame(50, face=0), frame(100, face=1), frame(150, face=1)]
    assert fired(RulesFusion([rule()]), *frames) == []


def test_without_for_it_fires_on_the_first_true_frame():
    assert fired(RulesFusion([rule(**{"for": 0})]), frame(70, face=1)) == [(70, 70)]


def test_the_trigger_names_the_firing_frame():
    fusion = RulesFusion([rule()])
    fusion.update(frame(0, frame_id=7, face=1))
    assert fusion.update(frame(100, frame_id=9, face=1)).trigger.frame_id == 9


def test_the_reason_says_condition_and_hold():
    fusion = RulesFusion([rule()])
    fusion.update(frame(0, face=1))
    assert fusion.update(frame(125, face=1)).reason == "face.count >= 1 for 0.125 s"


# After a firing -------------------------------------------------------------------------------------


def test_nothing_is_counted_until_the_cooldown_is_over_then_a_new_hold_is():
    assert fired(RulesFusion([rule()]), *steady(0, 1300, face=1)) == [(0, 100), (1100, 1200)]


def test_the_cooldown_is_over_exactly_at_its_end():
    fusion = RulesFusion([rule(**{"for": 0, "cooldown": "1s"})])
    assert fired(fusion, frame(0, face=1), frame(999, face=1), frame(1000, face=1)) == [(0, 0), (1000, 1000)]


def test_without_cooldown_a_new_hold_begins_on_the_next_frame():
    fusion = RulesFusion([rule(cooldown=0)])
    assert fired(fusion, *steady(0, 250, face=1)) == [(0, 100), (150, 250)]


def test_a_hold_that_began_in_the_cooldown_counts_from_its_end_only():
    frames = [*steady(0, 100, face=1), frame(200, face=0), *steady(900, 1250, face=1)]
    assert fired(RulesFusion([rule()]), *frames) == [(0, 100), (1100, 1200)]


# Unknown --------------------------------------------------------------------------------------------


def test_a_value_stands_for_max_gap():
    fusion = RulesFusion([rule()])
    assert fired(fusion, frame(0, face=1), frame(100)) == [(0, 100)]


def test_a_value_still_stands_exactly_at_max_gap():
    fusion = RulesFusion([rule(**{"for": "300ms", "max_gap": "300ms"})])
    assert fired(fusion, frame(0, face=1), frame(300)) == [(0, 300)]


def test_a_value_lapses_after_max_gap():
    fusion = RulesFusion([rule(**{"for": "301ms", "max_gap": "300ms"})])
    assert fired(fusion, frame(0, face=1), frame(301)) == []


def test_a_hold_ends_in_a_gap_between_two_true_frames():
    fusion = RulesFusion([rule()])
    assert fired(fusion, frame(0, face=1), frame(301, face=1), frame(401, face=1)) == [(301, 401)]


def test_a_source_that_looked_and_found_nothing_does_not_make_its_signal_false():
    assert fired(RulesFusion([rule()]), frame(0, face=1), frame(50, face=None), frame(100, face=None)) == [(0, 100)]


def test_the_negation_of_an_unknown_signal_does_not_fire():
    fusion = RulesFusion([rule({"not": "face.count >= 1"}, **{"for": 0})])
    assert fired(fusion, frame(0), frame(50, pose=1)) == []


def test_the_negation_of_a_false_signal_fires():
    fusion = RulesFusion([rule({"not": "face.count >= 1"}, **{"for": 0})])
    assert fired(fusion, frame(0), frame(50, face=0)) == [(50, 50)]


def test_any_goes_on_when_one_of_its_true_parts_lapses():
    fusion = RulesFusion([rule({"any": ["face.count >= 1", "pose.count >= 1"]}, **{"for": "400ms"})])
    frames = [frame(0, face=1, pose=1), *steady(100, 400, 100, pose=1)]
    assert fired(fusion, *frames) == [(0, 400)]


def test_signals_of_two_sources_meet_across_frames():
    fusion = RulesFusion([rule({"all": ["face.count >= 1", "pose.count >= 1"]}, **{"for": 0})])
    assert fired(fusion, frame(0, face=1), frame(50, pose=1)) == [(50, 50)]


# What is read ---------------------------------------------------------------------------------------


def test_the_first_observation_that_has_the_signal_gives_it():
    def update(*signals):
        observations = {"face": [Observation(signals=each) for each in signals]}
        return FrameObservations(frame_id=0, t_ns=0, observations=observations)

    two = update({"other": 9.0}, {"count": 1.0}, {"count": 0.0})
    assert fired(RulesFusion([rule(**{"for": 0})]), two) == [(0, 0)]


def test_signals_of_a_source_that_is_not_in_the_rule_are_not_kept():
    fusion = RulesFusion([rule()])
    fusion.update(frame(0, face=1, pose=1))
    assert set(fusion._known.values) == {("face", "count")}


def test_observations_used_counts_those_of_all_sources():
    fusion = RulesFusion([rule()])
    assert fusion.update(frame(0, face=1, pose=1, text=None)).observations_used == 2


def test_evidence_names_each_value_with_the_frame_it_was_seen_on():
    fusion = RulesFusion([rule({"all": ["face.count >= 1", "pose.count >= 1"]}, **{"for": 0})])
    fusion.update(frame(0, frame_id=3, face=2))
    trigger = fusion.update(frame(50, frame_id=4, pose=5)).trigger
    assert [(e.source, e.frame_id, e.signal, e.value) for e in trigger.evidence] == [
        ("face", 3, "count", 2.0),
        ("pose", 4, "count", 5.0),
    ]


def test_a_value_that_had_lapsed_is_no_evidence():
    fusion = RulesFusion([rule({"any": ["face.count >= 1", "pose.count >= 1"]}, **{"for": 0})])
    fusion.update(frame(0, face=0))
    trigger = fusion.update(frame(1000, pose=1)).trigger
    assert [e.source for e in trigger.evidence] == ["pose"]


# Score ----------------------------------------------------------------------------------------------


def score_of(value, **keys):
    fusion = RulesFusion([rule(**{"for": 0, "score": "pose.count", **keys})])
    return fusion.update(frame(0, face=1, **({} if value is None else {"pose": value}))).score


@pytest.mark.parametrize(("value", "score"), [(0.25, 0.25), (7, 1.0), (-3, 0.0), (0, 0.0), (1, 1.0)])
def test_the_score_signal_is_clamped(value, score):
    assert score_of(value) == score


def test_an_unknown_score_signal_scores_nothing():
    assert score_of(None) == 0.0


def test_without_a_score_signal_the_score_is_one():
    assert score_of(None, score="") == 1.0


# Several rules --------------------------------------------------------------------------------------


def test_several_rules_fire_on_one_frame_in_the_order_written():
    rules = [rule(label="b", **{"for": 0}), rule(label="a", **{"for": 0})]
    assert [t.label for t in RulesFusion(rules).update(frame(0, face=1)).triggers] == ["b", "a"]


def test_a_firing_of_one_rule_does_not_cool_down_another():
    fast, slow = rule(label="fast"), rule(label="slow", **{"for": "200ms"})
    assert fired(RulesFusion([fast, slow]), *steady(0, 200, face=1)) == [(0, 100), (0, 200)]


# Restart and new epochs -----------------------------------------------------------------------------


def test_resume_keeps_the_cooldown_of_before_the_restart():
    fusion = RulesFusion([rule(**{"for": 0})])
    fusion.resume("smile", 500 * MS)
    assert fired(fusion, frame(1499, face=1), frame(1500, face=1)) == [(1500, 1500)]


def test_resume_of_another_label_changes_nothing():
    fusion = RulesFusion([rule(**{"for": 0})])
    fusion.resume("frown", 500 * MS)
    assert fired(fusion, frame(600, face=1)) == [(600, 600)]


def test_resume_never_shortens_a_cooldown():
    fusion = RulesFusion([rule(**{"for": 0})])
    fusion.update(frame(1000, face=1))
    fusion.resume("smile", 0)
    assert fired(fusion, frame(1999, face=1)) == []


def test_reset_forgets_the_cooldown():
    fusion = RulesFusion([rule(**{"for": 0})])
    fusion.update(frame(5000, face=1))
    fusion.reset()
    assert fired(fusion, frame(0, face=1)) == [(0, 0)]


def test_reset_forgets_the_hold():
    fusion = RulesFusion([rule()])
    fusion.update(frame(0, face=1))
    fusion.reset()
    assert fired(fusion, *steady(100, 200, face=1)) == [(100, 200)]


def test_reset_forgets_the_values():
    fusion = RulesFusion([rule(**{"for": 0})])
    fusion.update(frame(0, face=1))
    fusion.reset()
    assert fired(fusion, frame(10)) == []


# Construction ---------------------------------------------------------------------------------------


def test_a_condition_that_cannot_be_read_is_refused():
    with pytest.raises(RuleError):
        RulesFusion([rule("face")])


def test_a_score_that_is_no_signal_is_refused():
    with pytest.raises(RuleError, match="is no signal"):
        RulesFusion([rule(score="face")])


@pytest.mark.parametrize("bad", [{"label": "x"}, rule(label="Über"), rule(lable="x"), rule(**{"for": 5}), {}])
def test_a_mapping_that_is_no_rule_is_refused(bad):
    with pytest.raises(msgspec.ValidationError):
        RulesFusion([bad])


# Laws -----------------------------------------------------------------------------------------------

tapes = st.lists(
    st.tuples(st.integers(1, 400), st.sampled_from([None, 0, 1]), st.sampled_from([None, 0, 1])), max_size=80
)
whens = st.sampled_from(
    [
        "face.count >= 1",
        {"not": "face.count >= 1"},
        {"all": ["face.count >= 1", "pose.count >= 1"]},
        {"any": ["face.count >= 1", {"not": "pose.count >= 1"}]},
    ]
)


@given(tapes, whens, st.integers(0, 500), st.integers(0, 1500), st.integers(0, 500))
def test_every_hold_lasts_for_and_no_two_firings_fall_within_a_cooldown(tape, when, for_ms, cooldown_ms, max_gap_ms):
    keys = {"for": f"{for_ms}ms", "cooldown": f"{cooldown_ms}ms", "max_gap": f"{max_gap_ms}ms"}
    t_ms, frames = 0, []
    for step_ms, face, pose in tape:
        t_ms += step_ms
        frames.append(frame(t_ms, **{k: v for k, v in (("face", face), ("pose", pose)) if v is not None}))
    spans = fired(RulesFusion([rule(when, **keys)]), *frames)
    assert all(t_end - t_start >= for_ms for t_start, t_end in spans)
    assert all(t_start - before >= cooldown_ms for (_, before), (t_start, _) in itertools.pairwise(spans))
    assert all(t_start > before for (_, before), (t_start, _) in itertools.pairwise(spans))


@given(tapes, st.integers(0, 500))
def test_on_every_frame_of_a_hold_the_condition_was_true(tape, for_ms):
    t_ms, truth, frames = 0, {}, []
    for step_ms, face, _ in tape:
        t_ms += step_ms
        frames.append(frame(t_ms, **({} if face is None else {"face": face})))
        truth[t_ms] = face
    for t_start, t_end in fired(RulesFusion([rule(**{"for": f"{for_ms}ms"})]), *frames):
        inside = [t for t in truth if t_start <= t <= t_end and truth[t] is not None]
        assert all(truth[t] == 1 for t in inside)
        assert all(later - earlier <= 300 for earlier, later in itertools.pairwise(inside))


# What ended a hold ----------------------------------------------------------------------------------


def ended_by(when, *frames):
    """The comparisons that ended the hold on the last frame."""
    fusion = RulesFusion([rule(when, **{"for": "9s"})])
    for each in frames:
        fusion.update(each)
    (state,) = fusion.explain()
    return [reading.comparison for reading in state.ended_by]


BOTH = {"all": ["face.count >= 1", "pose.count >= 1"]}
EITHER = {"any": ["face.count >= 1", "pose.count >= 1"]}


@pytest.mark.parametrize(
    ("when", "frames", "blamed"),
    [
        (BOTH, [frame(0, face=1, pose=1), frame(50, face=0, pose=1)], ["face.count >= 1"]),
        (BOTH, [frame(0, face=1, pose=1), frame(200, face=1), frame(350, face=1, pose=1)], ["pose.count >= 1"]),
        (EITHER, [frame(0, face=1, pose=0), frame(200, face=1), frame(350, face=0)], ["face.count >= 1"]),
        (EITHER, [frame(0, face=1, pose=1), frame(50, face=0)], []),
        (BOTH, [frame(0, face=1, pose=1), frame(50, face=0, pose=1), frame(100, face=0, pose=1)], []),
    ],
)
def test_a_hold_is_ended_by_what_kept_it_up_and_no_longer_did(when, frames, blamed):
    assert ended_by(when, *frames) == blamed


# Several times --------------------------------------------------------------------------------------

TWICE = {"count": 2, "within": "1s"}


def pulses(*starts_ms, long_ms=100, last_ms=2000):
    """True for `long_ms` from each start on, else false."""
    return [
        frame(t, face=int(any(start <= t <= start + long_ms for start in starts_ms))) for t in range(0, last_ms, 50)
    ]


def test_it_fires_when_it_has_held_count_times_within_the_span_from_the_first_on():
    assert fired(RulesFusion([rule(**TWICE)]), *pulses(100, 600)) == [(100, 700)]


def test_one_time_is_not_enough_however_long():
    assert fired(RulesFusion([rule(**TWICE)]), *pulses(100, long_ms=1500)) == []


@pytest.mark.parametrize(("second_ms", "expected"), [(1000, [(100, 1100)]), (1050, [])])
def test_the_last_time_must_have_lasted_by_the_end_of_the_span(second_ms, expected):
    assert fired(RulesFusion([rule(**TWICE)]), *pulses(100, second_ms)) == expected


def test_a_time_that_is_shorter_than_for_does_not_count():
    frames = [*pulses(100, long_ms=50, last_ms=400), *steady(400, 600, face=1)]
    assert fired(RulesFusion([rule(**TWICE)]), *frames) == []


def test_times_that_are_too_old_make_room_for_later_ones():
    assert fired(RulesFusion([rule(**TWICE)]), *pulses(0, 1200, 1500)) == [(1200, 1600)]


def test_a_hold_that_only_an_unknown_value_has_ended_is_not_another_time():
    frames = [*steady(0, 150, face=1), *steady(200, 600), *steady(650, 900, face=1)]
    assert fired(RulesFusion([rule(count=2, within="5s")]), *frames) == []


@pytest.mark.parametrize(("false_ms", "expected"), [(50, []), (100, [(0, 350)])])
def test_a_flicker_shorter_than_for_makes_no_second_time(false_ms, expected):
    frames = [frame(t, face=int(not 150 <= t < 150 + false_ms)) for t in range(0, 1000, 50)]
    assert fired(RulesFusion([rule(**TWICE)]), *frames) == expected


def test_after_a_firing_the_times_before_it_count_no_more():
    fusion = RulesFusion([rule(**TWICE, cooldown="100ms")])
    assert fired(fusion, *pulses(0, 250, 550, 850)) == [(0, 350), (550, 950)]


def test_times_in_the_cooldown_do_not_count():
    fusion = RulesFusion([rule(count=2, within="3s", cooldown="1s")])
    assert fired(fusion, *pulses(0, 250, 500, 800, 1400)) == [(0, 350)]


def test_times_before_a_firing_that_is_told_do_not_count():
    fusion = RulesFusion([rule(count=2, within="5s", cooldown="100ms")])
    fired(fusion, *pulses(0, last_ms=300))
    fusion.resume("smile", 250 * MS)
    assert fired(fusion, *(frame(t, face=int(t >= 400)) for t in range(300, 700, 50))) == []


def test_a_reset_forgets_the_times():
    fusion = RulesFusion([rule(**TWICE)])
    fired(fusion, *pulses(100, last_ms=300))
    fusion.reset()
    assert fired(fusion, *pulses(100, last_ms=400)) == []


def test_the_reason_says_how_many_times():
    fusion = RulesFusion([rule(**TWICE)])
    (trigger,) = [trigger for each in pulses(100, 600) for trigger in fusion.update(each).triggers]
    assert trigger.reason == "face.count >= 1 2 times in 0.600 s"


@given(st.lists(st.sampled_from([0, 1, None]), max_size=60), st.integers(1, 4), st.integers(2, 20))
def test_count_is_the_obvious_count(values, count, span):
    """Against a slow twin: every frame looks back over all that was seen. `for` is 0 and nothing lapses."""
    keys = {"count": count, "within": f"{span * 50}ms"} if count > 1 else {}
    fusion = RulesFusion([rule(**{"for": 0, "cooldown": 0, "max_gap": "10m"}, **keys)])
    frames = [frame(i * 50, **({} if value is None else {"face": value})) for i, value in enumerate(values)]
    rises, standing, was, expected = [], 0, 0, []
    for i, value in enumerate(values):
        standing = standing if value is None else value
        if standing and not was:
            rises.append(i)
        was = standing
        if standing and len([rise for rise in rises if count == 1 or i - rise <= span]) >= count:
            expected.append((rises[-count] * 50, i * 50))
            rises, was = [], 0  # a new hold begins on the next frame
    assert fired(fusion, *frames) == expected


# A least score --------------------------------------------------------------------------------------


def scored(t_ms, conf, count=1):
    signals = {"count": float(count), **({} if conf is None else {"conf": conf})}
    return FrameObservations(t_ms, t_ms * MS, {"face": [Observation(source="face", signals=signals)]})


SURE = {"score": "face.conf", "min_score": 0.8}


def test_a_hold_that_is_long_enough_waits_for_the_score():
    frames = [scored(t, 0.5 if t < 250 else 0.8) for t in range(0, 401, 50)]
    assert fired(RulesFusion([rule(**SURE)]), *frames) == [(0, 250)]


def test_a_hold_that_ends_before_the_score_is_reached_does_not_fire():
    frames = [scored(0, 0.5), scored(100, 0.7), scored(150, 0.9, count=0)]
    assert fired(RulesFusion([rule(**SURE)]), *frames) == []


def test_a_score_before_the_hold_is_long_enough_does_not_count():
    frames = [scored(0, 0.9), scored(50, 0.9), scored(100, 0.5), scored(150, 0.5)]
    assert fired(RulesFusion([rule(**SURE)]), *frames) == []


def test_an_unknown_score_is_none():
    assert fired(RulesFusion([rule(**SURE)]), *(scored(t, None) for t in (0, 100, 200))) == []


@pytest.mark.parametrize(
    "keys",
    [{"count": 2}, {"within": "1s"}, {"count": 11, "within": "1s"}, {"min_score": 0.5}],
    ids=lambda keys: "-".join(keys),
)
def test_keys_that_do_not_go_together_are_refused(keys):
    with pytest.raises(RuleError):
        RulesFusion([rule(**keys)])

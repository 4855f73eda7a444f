"""HighlightFusion on scripted tapes: triggers, gate, defaults, presets, what is unknown, restarts, explanations."""

import itertools
import pickle

import msgspec
import numpy as np
import pytest

from facemoment.fusion.highlight import HighlightFusion
from facemoment.fusion.settings import LABELS, HighlightSettings
from facemoment.vision import ClassifiedFace, Expression, Face, Hand, Pose
from visualpath.core.errors import PluginConfigError
from visualpath.core.fusion import Decision, FrameObservations, GateChange
from visualpath.core.observation import Observation

MS = 1_000_000
STEP = 50
OPEN_AT = 700
"""With the default gate and a frame every 50 ms from 0 on."""


def face(track_id=0, **fields):
    """A face that satisfies the gate and gives no reason: it looks past the camera."""
    return Face(**{
        "track_id": track_id, "x": 0.4, "y": 0.4, "w": 0.2, "h": 0.2, "confidence": 0.9,
        "yaw": 10.0, "pitch": 0.0, "gaze": 0.0, **fields,
    })  # fmt: skip


def smile(value, track_id=0, **emotions):
    return Expression(
        track_id=track_id, smile=value, mouth_open=0.0, eyes_closed=0.0, brow_raise=0.0, emotions=emotions
    )


def hand(gesture="none", track_id=0, score=0.8):
    return Hand(
        track_id=track_id, handedness="right", confidence=0.9, x=0.1, y=0.1, w=0.1, h=0.1, gesture=gesture,
        score=score if gesture != "none" else 0.0, landmarks=np.zeros((21, 3), np.float32),
    )  # fmt: skip


def pose(hand_wave):
    return Pose(
        track_id=0,
        x=0.1,
        y=0.1,
        w=0.5,
        h=0.8,
        confidence=0.9,
        keypoints=np.zeros((17, 3), np.float32),
        hand_wave=hand_wave,
    )


def role(track_id, name):
    return ClassifiedFace(track_id=track_id, role=name, score=0.5, stability=0.5, size=0.5, centrality=0.5, inside=1.0)


FACES = (face(),)


def frame(t_ms, faces=FACES, missing=(), skipped=(), **sources):
    """A set; a source that is not given says nothing, one that is None reports without data."""
    quality = sources.pop("quality", None)
    given = {"face": list(faces)} if faces is not None else {}
    given |= {name: None if data is None else list(data) for name, data in sources.items()}
    observations = {name: [Observation(source=name, data=data)] for name, data in given.items()}
    if quality is not None:
        observations["quality"] = [Observation(source="quality", signals=quality)]
    return FrameObservations(
        frame_id=round(t_ms / STEP), t_ns=round(t_ms * MS), observations=observations, missing=missing, skipped=skipped
    )


def calm(first_ms=0, last_ms=OPEN_AT, **sources):
    """Frames without a reason; up to the one that opens the gate."""
    return [frame(t, **sources) for t in range(first_ms, last_ms + 1, STEP)]


def run(fusion, *frames):
    return [fusion.update(each) for each in frames]


def fired(fusion, *frames):
    """(label, t_start, t_end) in ms of each trigger."""
    triggers = [trigger for result in run(fusion, *frames) for trigger in result.triggers]
    return [(trigger.label, trigger.t_start_ns / MS, trigger.t_end_ns / MS) for trigger in triggers]


def gate_changes(fusion, *frames):
    """(opened, at ms) of each change of the gate."""
    notes = [(each.t_ns / MS, note) for each in frames for note in fusion.update(each).notes]
    return [(note.is_open, at) for at, note in notes if isinstance(note, GateChange)]


def opened(config=None, **sources):
    """A fusion whose gate has just opened, at OPEN_AT."""
    fusion = HighlightFusion(config)
    run(fusion, *calm(**sources))
    return fusion


def state(fusion, label):
    return next(each for each in fusion.explain() if each.label == label)


V = {"gesture": [hand("v_sign")]}
"""The simplest reason."""

# Triggers -------------------------------------------------------------------------------------------


def test_a_smile_that_rises_far_above_what_it_was_is_a_moment():
    fusion = opened(expression=[smile(0.1)])
    frames = [frame(t, expression=[smile(0.9)]) for t in (750, 800)]
    assert fired(fusion, *frames) == [("expression", 750, 800)]


def test_an_emotion_that_rises_is_a_moment():
    fusion = opened(expression=[smile(0.1, surprise=0.1)])
    frames = [frame(t, expression=[smile(0.1, surprise=0.9)]) for t in (750, 800)]
    assert fired(fusion, *frames) == [("expression", 750, 800)]


def test_a_face_that_becomes_neutral_is_none():
    fusion = opened(expression=[smile(0.1, neutral=0.1)])
    assert fired(fusion, *(frame(t, expression=[smile(0.1, neutral=0.9)]) for t in (750, 800))) == []


def test_a_smile_that_is_always_there_is_none():
    assert fired(HighlightFusion(), *calm(last_ms=2000, expression=[smile(0.9)])) == []


@pytest.mark.parametrize(("value", "expected"), [(0.5, []), (0.51, [("expression", 750, 800)])])
def test_an_expression_must_exceed_one_half(value, expected):
    fusion = opened(expression=[smile(0.0)])
    assert fired(fusion, *(frame(t, expression=[smile(value)]) for t in (750, 800))) == expected


def test_a_small_step_of_what_has_never_moved_is_none():
    """As much as 1.4 of the least standard deviation."""
    fusion = opened(expression=[smile(0.45)])
    assert fired(fusion, *(frame(t, expression=[smile(0.52)]) for t in (750, 800))) == []


def alternating(last_ms=OPEN_AT):
    """A smile of mean 0.45 whose standard deviation is about 0.1."""
    return [frame(t, expression=[smile(0.35 if t % 100 else 0.55)]) for t in range(0, last_ms + 1, STEP)]


@pytest.mark.parametrize("fps", [5, 10, 30, 60])
def test_a_smile_that_comes_in_seven_tenths_of_a_second_is_a_moment_at_every_frame_rate(fps):
    times = [i * 1000 / fps for i in range(fps * 3)]
    frames = [frame(t, expression=[smile(0.05 + 0.85 * min(max((t - 1500) / 700, 0), 1))]) for t in times]
    assert [label for label, _, _ in fired(HighlightFusion(), *frames)] == ["expression"]


@pytest.mark.parametrize(("preset", "n"), [("high_sensitivity", 1), ("default", 0)])
def test_by_how_many_deviations_an_expression_must_rise(preset, n):
    """0.65 is 1.8 deviations above the mean."""
    fusion = HighlightFusion({"preset": preset, "expression_value": 0.55, "frames": 1})
    run(fusion, *alternating())
    (result,) = run(fusion, frame(750, expression=[smile(0.65)]))
    assert len(result.triggers) == n


@pytest.mark.parametrize(("speed", "expected"), [(29.0, []), (31.0, [("head-turn", 750, 800)])])
def test_a_head_must_turn_towards_the_camera_at_30_degrees_a_second(speed, expected):
    """It has turned for 0.25 s by the frame after the gate has opened; |yaw| falls to 15 degrees."""

    def yaw(t):
        return 15.0 + speed * min(max(0.8 - t / 1000, 0.0), 0.3)

    frames = [frame(t, faces=[face(yaw=yaw(t))]) for t in range(0, 801, STEP)]
    assert fired(HighlightFusion(), *frames) == expected


def test_a_head_that_turns_away_is_no_moment():
    frames = [frame(t, faces=[face(yaw=max(0.0, (t - 600) * 0.05))]) for t in range(0, 1001, STEP)]
    assert fired(HighlightFusion(), *frames) == []


def test_a_head_that_turns_past_the_camera_is_a_moment_only_until_there():
    """From 700 on; it faces the camera at 900, and is as far on the other side at 1100."""
    frames = [frame(t, faces=[face(yaw=20 - 0.1 * max(0, t - 700))]) for t in range(0, 1401, STEP)]
    assert fired(HighlightFusion({"cooldown": 0}), *frames) == [("head-turn", 800, 850), ("head-turn", 900, 950)]


@pytest.mark.parametrize(
    ("fps", "preset"), [(3.5, "high_sensitivity"), (5, "default"), (10, "default"), (30, "default"), (60, "default")]
)
def test_a_turn_of_50_degrees_a_second_is_found_at_every_frame_rate(fps, preset):
    times = [i * 1000 / fps for i in range(round(fps * 2))]
    frames = [frame(t, faces=[face(yaw=20 - 0.05 * min(max(0, t - 1000), 400))]) for t in times]
    fusion = HighlightFusion({"preset": preset, "triggers": ["head-turn"]})
    assert [label for label, _, _ in fired(fusion, *frames)] == ["head-turn"]


@pytest.mark.parametrize(("preset", "degrees"), [("default", 1.0), ("high_sensitivity", 0.7)])
def test_a_still_head_whose_yaw_is_uncertain_does_not_turn(preset, degrees):
    """A minute at 30 frames per second; such are the yaws of the faces in the sign-language clips."""
    noise = np.random.default_rng(1).normal(0, degrees, 1800)
    frames = (frame(i * 1000 / 30, faces=[face(yaw=12.0 + each)]) for i, each in enumerate(noise))
    fusion = HighlightFusion({"preset": preset, "triggers": ["head-turn"]})
    assert sum(len(fusion.update(each).triggers) for each in frames) == 0


@pytest.mark.parametrize("after", [[0.0] * 5, [20.0, 17.0, 17.0, 17.0, 17.0]], ids=["gap", "jitter"])
def test_what_was_before_a_gap_and_what_is_just_after_it_make_no_turn(after):
    """It looked 20 degrees away before the mesh was lost for longer than max_gap."""
    frames = [*calm(last_ms=800, faces=[face(yaw=20.0)]), *calm(850, 1100, faces=[face(yaw=None)])]
    frames += [frame(1150 + i * STEP, faces=[face(yaw=yaw)]) for i, yaw in enumerate(after)]
    assert fired(HighlightFusion({"frames": 1}), *frames) == []


@pytest.mark.parametrize(("speed", "score"), [(45, 0.5), (90, 1.0), (120, 1.0)])
def test_the_faster_a_head_turns_the_higher_the_score(speed, score):
    fusion = HighlightFusion({"frames": 1, "gate": {"yaw": 180}})
    results = run(fusion, *(frame(t, faces=[face(yaw=speed * (1 - t / 1000))]) for t in range(0, OPEN_AT + 1, STEP)))
    assert results[-1].score == pytest.approx(score)


@pytest.mark.parametrize(("wave", "expected"), [(0.49, []), (0.5, [("hand-wave", 750, 800)])])
def test_a_hand_that_waves_is_a_moment(wave, expected):
    assert fired(opened(), *(frame(t, pose=[pose(wave)]) for t in (750, 800))) == expected


@pytest.mark.parametrize(("gaze", "expected"), [(0.49, []), (0.5, [("camera-gaze", 750, 800)])])
def test_a_look_into_the_camera_is_a_moment(gaze, expected):
    assert fired(opened(), *(frame(t, faces=[face(gaze=gaze)]) for t in (750, 800))) == expected


def test_of_several_bodies_the_one_that_waves_counts():
    assert fired(opened(), *(frame(t, pose=[pose(0.0), pose(0.9)]) for t in (750, 800))) == [("hand-wave", 750, 800)]


def two(left_yaw, right_yaw, swapped=False):
    pair = [face(0, x=0.2, yaw=left_yaw), face(1, x=0.6, yaw=right_yaw)]
    return pair[::-1] if swapped else pair


@pytest.mark.parametrize(("yaws", "n"), [((16, -16), 1), ((15, -16), 0), ((16, -15), 0), ((-16, 16), 0), ((16, 16), 0)])
def test_two_who_are_turned_to_each_other_are_a_moment(yaws, n):
    frames = [frame(t, faces=two(*yaws)) for t in (750, 800)]
    labels = [label for label, _, _ in fired(opened(faces=two(0, 0)), *frames)]
    assert labels.count("looking-at-each-other") == n


@pytest.mark.parametrize(("gesture", "label"), [("v_sign", "v-sign"), ("thumbs_up", "thumbs-up")])
def test_a_gesture_is_a_moment(gesture, label):
    assert fired(opened(), *(frame(t, gesture=[hand(gesture)]) for t in (750, 800))) == [(label, 750, 800)]


def test_another_gesture_is_none():
    assert fired(opened(), *(frame(t, gesture=[hand("fist")]) for t in (750, 800))) == []


def test_a_trigger_has_frame_score_reason_and_the_values_that_spoke_for_it():
    fusion = opened()
    trigger = run(fusion, frame(750, **V), frame(800, **V))[1].trigger
    (evidence,) = trigger.evidence
    assert (trigger.frame_id, trigger.score, trigger.reason) == (16, 0.8, "the right hand shows v_sign, 0.80")
    assert (evidence.source, evidence.frame_id, evidence.signal, evidence.value) == ("gesture", 16, "v_sign", 0.8)


def test_data_may_come_as_plain_messagepack():
    frames = [*calm(), frame(750, **V), frame(800, **V)]
    plain = [
        FrameObservations(each.frame_id, each.t_ns, {
            source: [Observation(source=source, data=[msgspec.structs.asdict(one) for one in seen.data])]
            for source, (seen,) in each.observations.items()
        })
        for each in frames
    ]  # fmt: skip
    assert fired(HighlightFusion(), *plain) == fired(HighlightFusion(), *frames) == [("v-sign", 750, 800)]


# Frames in a row and cooldown -----------------------------------------------------------------------


def test_one_frame_is_not_enough():
    assert fired(opened(), frame(750, **V), frame(800, gesture=[hand()]), frame(850, **V)) == []


def test_nothing_of_a_kind_fires_until_its_cooldown_is_over_then_a_new_row_begins():
    frames = [frame(t, **V) for t in range(750, 2951, STEP)]
    assert fired(opened(), *frames) == [("v-sign", 750, 800), ("v-sign", 2800, 2850)]


def test_each_kind_has_a_cooldown_of_its_own():
    fusion = opened()
    run(fusion, frame(750, **V), frame(800, **V))
    frames = [frame(t, gesture=[hand("thumbs_up")]) for t in (850, 900)]
    assert fired(fusion, *frames) == [("thumbs-up", 850, 900)]


def test_a_row_is_one_hands_or_one_faces():
    frames = [frame(750, gesture=[hand("v_sign", 0)]), frame(800, gesture=[hand("v_sign", 1)])]
    assert fired(opened(), *frames) == []


def test_faces_may_swap_places_in_the_list():
    fusion = opened(faces=two(10, 10))
    looking = [face(0, x=0.2, gaze=0.9), face(1, x=0.6)]
    frames = [frame(750, faces=looking), frame(800, faces=looking[::-1])]
    assert fired(fusion, *frames) == [("camera-gaze", 750, 800)]


def test_left_and_right_are_by_place_not_by_order():
    frames = [frame(t, faces=two(20, -20, swapped=t == 800)) for t in (750, 800)]
    assert ("looking-at-each-other", 750, 800) in fired(opened(faces=two(20, 0)), *frames)


# Gate -----------------------------------------------------------------------------------------------


def test_the_gate_opens_when_all_has_been_well_for_700_ms():
    assert gate_changes(HighlightFusion(), *calm(last_ms=1000)) == [(True, 700)]


def test_the_gate_is_closed_one_ns_before():
    fusion = HighlightFusion()
    almost = FrameObservations(14, 700 * MS - 1, frame(700).observations)
    assert gate_changes(fusion, *calm(last_ms=650), almost) == []


def test_one_bad_frame_begins_the_wait_anew():
    frames = [frame(t, faces=[face(yaw=60.0 if t == 300 else 0.0)]) for t in range(0, 1101, STEP)]
    assert gate_changes(HighlightFusion(), *frames) == [(True, 1050)]


def test_the_gate_closes_when_something_has_failed_for_300_ms():
    assert gate_changes(opened(), *calm(750, 1200, faces=[face(yaw=60.0)])) == [(False, 1050)]


def test_a_failure_that_is_shorter_leaves_it_open():
    frames = [*calm(750, 1000, faces=[face(yaw=60.0)]), *calm(1050, 2000)]
    assert gate_changes(opened(), *frames) == []


def test_a_change_of_the_gate_says_why():
    notes = [note for result in run(opened(), *calm(750, 1200, faces=[face(yaw=60.0)])) for note in result.notes]
    assert notes == [GateChange(False, "face.|yaw| 60 (needs <= 25)")]


def test_nothing_fires_while_it_is_closed():
    assert fired(HighlightFusion(), *calm(last_ms=650, **V)) == []


def test_a_row_begins_when_it_opens():
    assert fired(HighlightFusion(), *calm(last_ms=800, **V)) == [("v-sign", 700, 750)]


def holds_open(**sources):
    """Whether a gate opens on such frames."""
    return gate_changes(HighlightFusion(), *calm(**sources)) == [(True, 700)]


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("confidence", 0.7, 0.69),
        ("yaw", 25.0, 25.1),
        ("yaw", -25.0, -25.1),
        ("pitch", 20.0, 20.1),
        ("pitch", -20.0, -20.1),
        ("inside", 0.99, 0.98),
    ],
)
def test_what_the_gate_asks_of_a_face(field, good, bad):
    assert holds_open(faces=[face(**{field: good})])
    assert not holds_open(faces=[face(**{field: bad})])


@pytest.mark.parametrize(
    ("size", "is_well"), [(0.05, False), (0.08, True), (0.77, True), (0.8, False)], ids=["tiny", "small", "big", "huge"]
)
def test_the_gate_has_limits_for_the_area_of_a_face(size, is_well):
    assert holds_open(faces=[face(x=0.5 - size / 2, y=0.5 - size / 2, w=size, h=size)]) is is_well


@pytest.mark.parametrize(("x", "is_well"), [(0.79, True), (0.81, False)])
def test_the_gate_has_a_limit_for_how_far_a_face_is_off_the_centre(x, is_well):
    """The box is 0.2 wide: its middle is at x + 0.1, and 0.9 is 0.8 of the way to the edge."""
    assert holds_open(faces=[face(x=x)]) is is_well


@pytest.mark.parametrize(
    ("quality", "is_well"),
    [
        ({"blur": 25.0, "brightness": 0.05}, True),
        ({"blur": 24.0, "brightness": 0.5}, False),
        ({"blur": 90.0, "brightness": 0.04}, False),
        ({"blur": 90.0, "brightness": 0.95}, True),
        ({"blur": 90.0, "brightness": 0.96}, False),
    ],
)
def test_the_gate_asks_for_a_sharp_and_bright_picture(quality, is_well):
    assert holds_open(quality=quality) is is_well


@pytest.mark.parametrize(("n", "is_well"), [(0, False), (1, True), (2, True), (3, False)])
def test_the_gate_wants_one_or_two_faces(n, is_well):
    assert holds_open(faces=[face(i, x=0.1 + 0.25 * i) for i in range(n)]) is is_well


def test_without_a_classifier_every_face_must_satisfy():
    assert not holds_open(faces=[face(0, x=0.2), face(1, x=0.6, yaw=60.0)])


# The main face --------------------------------------------------------------------------------------

BOTH = [face(0, x=0.2), face(1, x=0.6, yaw=60.0)]
ROLES = [role(0, "main"), role(1, "passenger")]


def test_with_a_classifier_only_the_main_face_must_satisfy():
    assert holds_open(faces=BOTH, face_classifier=ROLES)


def test_with_a_classifier_only_the_main_face_makes_moments():
    fusion = opened(faces=BOTH, face_classifier=ROLES)
    frames = [frame(t, faces=[face(0, x=0.2), face(1, x=0.6, gaze=0.9)], face_classifier=ROLES) for t in (750, 800)]
    assert fired(fusion, *frames) == []


def test_with_a_classifier_main_face_and_passenger_look_at_each_other():
    faces = [*two(20, -20), face(2, x=0.4, yaw=0.0)]
    third = role(2, "noise")
    fusion = opened(faces=[*two(0, 0), face(2, x=0.4)], face_classifier=[*ROLES, third])
    frames = [frame(t, faces=faces, face_classifier=[*ROLES, third]) for t in (750, 800)]
    assert ("looking-at-each-other", 750, 800) in fired(fusion, *frames)


def test_with_a_classifier_nobody_else_is_looked_at():
    fusion = opened(faces=two(0, 0), face_classifier=[ROLES[0], role(1, "transient")])
    frames = [frame(t, faces=two(20, -20), face_classifier=[ROLES[0], role(1, "transient")]) for t in (750, 800)]
    assert "looking-at-each-other" not in [label for label, _, _ in fired(fusion, *frames)]


def test_without_a_main_face_the_gate_stays_closed():
    assert not holds_open(face_classifier=[role(0, "transient")])


def test_a_main_face_that_is_not_among_the_faces_keeps_the_gate_closed():
    """The classifier spoke last of a face that has gone since."""
    frames = [frame(0, face_classifier=[role(7, "main")]), *calm(50, 250, skipped=("face_classifier",))]
    fusion = HighlightFusion({"gate": {"open_after": 0}})
    assert gate_changes(fusion, *frames) == []
    assert blamed(fusion) == ["face_classifier.main >= 1"]


def test_noise_is_not_counted_as_a_face():
    crowd = [face(0), *(face(i, x=0.01, w=0.01, h=0.01) for i in (1, 2, 3))]
    assert holds_open(faces=crowd, face_classifier=[role(0, "main"), *(role(i, "noise") for i in (1, 2, 3))])


def test_a_classifier_that_says_nothing_leaves_it_unknown_which_face_counts():
    assert not holds_open(missing=("face_classifier",))


# Unknown --------------------------------------------------------------------------------------------


def test_a_source_that_takes_no_part_is_not_asked_for():
    assert holds_open(quality=None)


@pytest.mark.parametrize("how", ["missing", "skipped"])
def test_a_source_that_takes_part_and_says_nothing_keeps_the_gate_closed(how):
    assert not holds_open(**{how: ("quality",)})


def test_a_face_without_angles_keeps_the_gate_closed():
    assert not holds_open(faces=[face(yaw=None, pitch=None, gaze=None)])


def test_angles_that_a_frame_lacks_stand_for_max_gap():
    frames = [frame(t, faces=[face(yaw=None) if t % 300 else face()]) for t in range(0, 701, STEP)]
    assert gate_changes(HighlightFusion(), *frames) == [(True, 700)]


def test_an_angle_that_is_no_number_is_one_that_the_frame_lacks():
    frames = [frame(t, faces=[face(yaw=float("nan")) if t % 300 else face()]) for t in range(0, 701, STEP)]
    assert gate_changes(HighlightFusion(), *frames) == [(True, 700)]


def test_one_of_two_faces_without_angles_keeps_the_gate_closed():
    assert not holds_open(faces=[face(0, x=0.2), face(1, x=0.6, yaw=None)])


def test_a_source_that_took_part_and_is_not_even_named_any_more_closes_the_gate():
    fusion = opened(quality={"blur": 90.0, "brightness": 0.5})
    assert gate_changes(fusion, *calm(750, 2000)) == [(False, 1350)]


def test_a_classifier_that_dies_closes_the_gate():
    fusion = opened(face_classifier=[role(0, "main")])
    assert gate_changes(fusion, *calm(750, 2000, missing=("face_classifier",))) == [(False, 1350)]


def test_a_number_that_is_none_is_unknown():
    assert not holds_open(faces=[face(confidence=float("nan"))])


def test_frames_that_the_face_source_leaves_out_do_not_close_the_gate():
    frames = [frame(t, faces=None if t % 300 else (face(),), skipped=("face",)) for t in range(750, 3000, STEP)]
    assert gate_changes(opened(), *frames) == []


def test_a_face_source_that_dies_closes_the_gate_after_max_gap_and_300_ms():
    """Its last word, at 700, stands until 1000; the first frame after that is 1050."""
    frames = [frame(t, faces=None, missing=("face",), gesture=[]) for t in range(750, 2000, STEP)]
    assert gate_changes(opened(), *frames) == [(False, 1350)]


def test_a_long_silence_of_all_closes_the_gate_and_it_must_open_anew():
    assert gate_changes(opened(), *calm(5000, 5800)) == [(False, 5000), (True, 5700)]


def test_a_short_silence_of_all_does_not():
    assert gate_changes(opened(), *calm(1250, 2000)) == []


def test_a_frame_on_which_its_source_says_nothing_neither_breaks_a_row_nor_adds_to_it():
    frames = [frame(750, **V), frame(800, missing=("gesture",)), frame(850, **V)]
    assert fired(opened(), *frames) == [("v-sign", 750, 850)]


def test_a_row_ends_when_its_source_has_been_silent_for_longer_than_max_gap():
    frames = [frame(750, **V), *calm(800, 1050), frame(1100, **V)]
    assert fired(opened(), *frames) == []


def test_a_face_that_is_gone_breaks_its_row():
    frames = [frame(750, faces=[face(gaze=0.9)]), frame(800, faces=[]), frame(850, faces=[face(gaze=0.9)])]
    assert fired(opened(), *frames) == []


def test_observations_without_data_say_nothing():
    frames = [frame(750, **V), frame(800, gesture=None), frame(850, **V)]
    assert fired(opened(), *frames) == [("v-sign", 750, 850)]


def test_data_of_another_kind_are_refused_and_change_nothing():
    fusion = opened()
    run(fusion, frame(750, **V))
    with pytest.raises(msgspec.ValidationError):
        fusion.update(frame(800, pose=[{"colour": "red"}], **V))
    assert fired(fusion, frame(850, **V)) == [("v-sign", 750, 850)]


# Restarts -------------------------------------------------------------------------------------------


def test_the_same_tape_gives_the_same_results():
    def tape():
        for t in range(0, 6000, STEP):
            yield frame(
                t, faces=two(t % 37 - 10, -(t % 41) / 2), expression=[smile(t % 900 / 900), smile(0.1, 1)],
                pose=[pose(t % 700 / 700)], gesture=[hand("v_sign" if t % 800 > 400 else "thumbs_up")],
                quality={"blur": 100.0, "brightness": 0.5},
            )  # fmt: skip

    first, second = (run(HighlightFusion({"gate": {"yaw": 30}}), *tape()) for _ in range(2))
    assert first == second
    assert len([trigger for result in first for trigger in result.triggers]) > 5


def test_after_a_reset_it_decides_as_a_fresh_one():
    fusion = opened()
    run(fusion, *calm(750, 3000, expression=[smile(0.4)], **V))
    fusion.reset()
    tape = calm(last_ms=4000, expression=[smile(0.6)], **V)
    assert run(fusion, *tape) == run(HighlightFusion(), *tape)


def test_a_firing_before_a_restart_keeps_its_cooldown():
    fusion = HighlightFusion()
    fusion.resume("v-sign", 100 * MS)
    assert fired(fusion, *calm(last_ms=2200, **V)) == [("v-sign", 2100, 2150)]


def test_a_firing_of_another_label_keeps_nothing_back():
    fusion = HighlightFusion()
    fusion.resume("thumbs-up", 100 * MS)
    assert fired(fusion, *calm(last_ms=800, **V)) == [("v-sign", 700, 750)]


def size_after(n_faces):
    """Bytes of what is kept after so many faces have come and gone, each with a smile, and a hand with a v-sign."""
    fusion = HighlightFusion()
    for i in range(n_faces):
        for t in (i * 1000, i * 1000 + STEP):
            run(fusion, frame(t, faces=[face(i)], expression=[smile(0.9, i)], gesture=[hand("v_sign", i)]))
    return len(pickle.dumps(fusion))


def test_those_who_have_gone_are_forgotten():
    assert size_after(1000) < size_after(20) + 500


# Explanations ---------------------------------------------------------------------------------------


def test_every_kind_explains_itself():
    assert [each.label for each in HighlightFusion().explain()] == list(LABELS)


def test_a_closed_gate_is_told_with_what_keeps_it_so():
    fusion = HighlightFusion()
    run(fusion, frame(0, faces=[face(yaw=60.0)], **V))
    v_sign = state(fusion, "v-sign")
    blamed = [(each.comparison, each.value) for each in v_sign.readings if each.wanted is not None]
    assert (v_sign.holds, v_sign.hold_from_ns, v_sign.waits_for) == (True, None, "the gate to open")
    assert blamed == [("face.|yaw| <= 25", 60.0)]


def blamed(fusion, label="v-sign"):
    return [each.comparison for each in state(fusion, label).readings if each.source != "gesture"]


def test_a_gate_that_has_no_face_to_ask_blames_that_alone():
    fusion = HighlightFusion()
    run(fusion, frame(0, faces=[], gesture=[hand()]))
    assert blamed(fusion) == ["face.count >= 1"]


def test_a_gate_that_has_no_main_face_to_ask_blames_that_alone():
    fusion = HighlightFusion()
    run(fusion, frame(0, face_classifier=[role(0, "transient")]))
    assert blamed(fusion) == ["face_classifier.main >= 1"]


def test_a_gate_that_hears_nothing_of_faces_blames_that_alone():
    fusion = opened(face_classifier=[role(0, "main")])
    run(fusion, *(frame(t, faces=None, missing=("face",), gesture=[]) for t in range(750, 1500, STEP)))
    assert blamed(fusion) == ["face.count >= 1", "face.count <= 2", "face_classifier.main >= 1"]


def test_a_gate_that_is_about_to_open_tells_for_how_long_all_has_been_well():
    fusion = HighlightFusion()
    run(fusion, *calm(last_ms=400))
    assert state(fusion, "v-sign").waits_for == "the gate to open (all well for 0.400 s of 0.7 s)"


def test_a_reason_below_its_threshold_is_told_with_its_value():
    fusion = opened(faces=[face(gaze=0.3)])
    (reading,) = state(fusion, "camera-gaze").readings
    assert (reading.comparison, reading.value, reading.holds, reading.wanted) == ("face.gaze >= 0.5", 0.3, False, True)


def test_a_cooldown_is_told():
    fusion = opened()
    run(fusion, frame(750, **V), frame(800, **V), frame(850, **V))
    assert state(fusion, "v-sign").cooldown_until_ns == 2800 * MS


def test_a_row_that_is_too_short_is_told():
    fusion = opened()
    run(fusion, frame(750, **V))
    assert (state(fusion, "v-sign").hold_from_ns, state(fusion, "v-sign").waits_for) == (
        750 * MS,
        "frame 2 of 2 in a row",
    )


def test_what_ended_a_row_is_told():
    fusion = opened()
    run(fusion, frame(750, **V), frame(800, gesture=[hand()]))
    assert [(each.comparison, each.value) for each in state(fusion, "v-sign").ended_by] == [("gesture.v_sign > 0", 0.0)]


def test_to_explain_changes_no_decision():
    tape = [*calm(last_ms=1000, **V), *calm(1050, 3000, faces=[face(gaze=0.9)])]
    asked = HighlightFusion()
    assert [(asked.update(each), asked.explain())[0] for each in tape] == run(HighlightFusion(), *tape)


def test_each_frame_on_which_a_reason_held_leaves_a_decision():
    fusion = HighlightFusion()
    results = run(fusion, *calm(last_ms=800, **V))
    decisions = [[note for note in result.notes if isinstance(note, Decision)] for result in results]
    assert decisions[1] == [
        Decision("v-sign", False, "it waits for the gate to open (all well for 0.050 s of 0.7 s)")
    ]  # fmt: skip
    assert decisions[14:] == [
        [Decision("v-sign", False, "it waits for frame 2 of 2 in a row")],
        [Decision("v-sign", True, "the right hand shows v_sign, 0.80")],
        [Decision("v-sign", False, "cooldown until 2.750s")],
    ]


def test_a_stream_slower_than_max_gap_is_doubted():
    assert HighlightFusion().doubts(300 * MS) == []
    assert "raise it" in HighlightFusion().doubts(301 * MS)[0]


# Configuration --------------------------------------------------------------------------------------


def test_the_defaults_are_the_documents():
    settings = HighlightSettings.parse({})
    gate = settings.gate
    assert (gate.open_after_ns, gate.close_after_ns, gate.max_faces) == (700 * MS, 300 * MS, 2)
    assert (gate.confidence, gate.yaw, gate.pitch) == (0.7, 25, 20)
    assert (settings.ewma_alpha, settings.expression_z, settings.expression_value) == (0.1, 2.0, 0.5)
    assert (settings.head_turn, settings.camera_gaze, settings.each_other) == (30, 0.5, 15)
    assert (settings.frames, settings.cooldown_ns) == (2, 2000 * MS)
    assert tuple(settings.triggers) == LABELS


def test_the_defaults_that_the_documents_leave_open():
    settings = HighlightSettings.parse({})
    gate = settings.gate
    assert (gate.inside, gate.off_centre, gate.min_area, gate.max_area) == (0.99, 0.8, 0.005, 0.6)
    assert (gate.blur, gate.min_brightness, gate.max_brightness) == (25, 0.05, 0.95)
    assert (settings.hand_wave, settings.max_gap_ns) == (0.5, 300 * MS)


def preset(name, **changes):
    """The defaults with what a preset changes, and nothing else."""
    return msgspec.structs.replace(HighlightSettings.parse({}), preset=name, **changes)


def test_the_default_preset_is_the_defaults():
    assert HighlightSettings.parse({"preset": "default"}) == preset("default")


def test_high_sensitivity():
    expected = preset("high_sensitivity", expression_z=1.5, head_turn=20, frames=1, cooldown_ns=1500 * MS)
    assert HighlightSettings.parse({"preset": "high_sensitivity"}) == expected


def test_conservative():
    gate = msgspec.structs.replace(HighlightSettings.parse({}).gate, open_after_ns=1000 * MS)
    expected = preset("conservative", expression_z=2.5, frames=3, cooldown_ns=3000 * MS, gate=gate)
    assert HighlightSettings.parse({"preset": "conservative"}) == expected


def test_a_key_overrides_its_preset_and_leaves_the_rest():
    settings = HighlightSettings.parse({"preset": "conservative", "frames": 5, "gate": {"yaw": 30}})
    assert (settings.frames, settings.gate.yaw, settings.gate.open_after_ns) == (5, 30, 1000 * MS)


@pytest.mark.parametrize(("preset", "frames", "opens_ms"), [("high_sensitivity", 1, 700), ("conservative", 3, 1000)])
def test_a_preset_decides(preset, frames, opens_ms):
    last_ms = opens_ms + (frames - 1) * STEP
    assert fired(HighlightFusion({"preset": preset}), *calm(last_ms=2000, **V)) == [("v-sign", opens_ms, last_ms)]


@pytest.mark.parametrize("every_ms", [20, 200])
@pytest.mark.parametrize("preset", ["default", "high_sensitivity", "conservative"])
def test_with_every_preset_a_step_of_the_smile_is_a_moment(preset, every_ms):
    frames = [frame(t, expression=[smile(0.1 if t < 1600 else 0.9)]) for t in range(0, 2601, every_ms)]
    assert [label for label, _, _ in fired(HighlightFusion({"preset": preset}), *frames)] == ["expression"]


def test_only_the_triggers_that_are_named_are_looked_for():
    fusion = opened({"triggers": ["thumbs-up"]})
    assert fired(fusion, *calm(750, 900, **V)) == []


def test_what_is_asked_for_by_name_needs_its_extractor():
    assert HighlightFusion({"triggers": ["hand-wave", "v-sign"]}).depends == ("face", "pose", "gesture")
    assert HighlightFusion().depends == ("face",)


@pytest.mark.parametrize(
    ("config", "key", "message"),
    [
        ({"colldown": "1s"}, ("colldown",), "unknown key; did you mean 'cooldown'?"),
        ({"gate": {"jaw": 3}}, ("gate", "jaw"), "unknown key; did you mean 'yaw'?"),
        ({"cooldown": 3}, ("cooldown",), "3 is no duration"),
        ({"gate": {"yaw": "wide"}}, ("gate", "yaw"), "Expected `float`"),
        ({"frames": 0}, ("frames",), ">= 1"),
        ({"preset": "wild"}, ("preset",), "write one of default, high_sensitivity, conservative"),
        ({"triggers": ["v_sign"]}, ("triggers", 0), "write one of expression"),
        ({"gate": {"min_area": 0.7}}, ("gate", "min_area"), "is above max_area"),
        ({"triggers": []}, ("triggers",), "length >= 1"),
        ({"head_turn": float("inf")}, ("head_turn",), "<= 1000000"),
        ({"gate": {"blur": float("nan")}}, ("gate", "blur"), ">= 0"),
    ],
    ids=itertools.count(),
)
def test_a_configuration_that_is_wrong_is_refused_with_its_key(config, key, message):
    with pytest.raises(PluginConfigError) as refused:
        HighlightFusion(config)
    assert refused.value.key == key
    assert message in refused.value.message

"""The frames of one stream as fusion's tap tells them: who has answered, who is waited for, what left and why."""

import pytest

from visualpath.ctl.sync_frames import (
    LATELY_NS,
    MAX_IN_WORK,
    MAX_SOURCES,
    UNTOLD_NS,
    ObsSeen,
    SetSeen,
    SkipSeen,
    StreamFrames,
)

MS = 1_000_000
WINDOW_NS = 100 * MS
START = 50_000 * MS


class Scene:
    """Fusion tells of `face`, `pose` and `text`; times are ms after the start."""

    def __init__(self):
        self.frames = StreamFrames(WINDOW_NS)
        self.expected = ["face", "pose", "text"]

    def obs(self, source, frame_id, at_ms, epoch=1):
        self.frames.heard_obs(ObsSeen(source, "cam1", epoch, frame_id), START + at_ms * MS)

    def skip(self, source, first, last, reason="backpressure", epoch=1):
        self.frames.heard_skip(SkipSeen(source, "cam1", epoch, first, last, reason))

    def left(self, frame_id, at_ms, hold_ms=0, obs=(), missing=(), skipped=(), reason="complete", epoch=1):
        aligned = SetSeen("cam1", epoch, frame_id, list(obs), list(missing), list(skipped), reason, hold_ms * MS)
        self.frames.heard_set(aligned, START + at_ms * MS)

    def newest(self, at_ms=0):
        self.frames.forget(START + at_ms * MS)
        return self.frames.newest(lambda _: self.expected, START + at_ms * MS)

    def slowest(self, at_ms=0):
        self.frames.forget(START + at_ms * MS)
        return self.frames.slowest(lambda _: self.expected, START + at_ms * MS)

    def states(self, at_ms=0):
        return {source: each["state"] for source, each in self.newest(at_ms)["sources"].items()}


@pytest.fixture
def scene():
    return Scene()


# In work --------------------------------------------------------------------------------------------


def test_before_the_first_obs_there_is_no_frame(scene):
    assert scene.newest() is None
    assert scene.slowest() is None
    assert scene.frames.complete() is None


def test_who_has_answered_has_the_time_since_the_first_obs(scene):
    scene.obs("text", 7, 0)
    scene.obs("face", 7, 22)
    sources = scene.newest(55)["sources"]
    assert sources["text"] == {"state": "seen", "ms": 0.0, "reason": ""}
    assert sources["face"] == {"state": "seen", "ms": 22.0, "reason": ""}


def test_who_is_waited_for_has_the_time_it_is_waited_for(scene):
    scene.obs("text", 7, 0)
    assert scene.newest(55)["sources"]["pose"] == {"state": "waiting", "ms": 55.0, "reason": ""}


def test_a_frame_in_work_is_held_until_the_present(scene):
    scene.obs("text", 7, 0)
    found = scene.newest(55)
    assert (found["frame_id"], found["hold_ms"], found["left"]) == (7, 55.0, None)


@pytest.mark.parametrize("before", [True, False])
def test_a_skip_holds_for_frames_begun_before_and_after_it(scene, before):
    if before:
        scene.skip("face", 6, 8)
    scene.obs("text", 7, 0)
    if not before:
        scene.skip("face", 6, 8)
    assert scene.newest(5)["sources"]["face"] == {"state": "skip", "ms": None, "reason": "backpressure"}


@pytest.mark.parametrize("frame_id", [5, 9])
def test_a_skip_does_not_hold_for_the_frames_beside_its_run(scene, frame_id):
    scene.skip("face", 6, 8)
    scene.obs("text", frame_id, 0)
    assert scene.states()["face"] == "waiting"


def test_a_second_obs_does_not_move_the_first(scene):
    scene.obs("text", 7, 0)
    scene.obs("face", 7, 22)
    scene.obs("face", 7, 40)
    assert scene.newest(55)["sources"]["face"]["ms"] == 22.0


def test_a_source_that_is_down_is_not_waited_for(scene):
    scene.frames.down.add("pose")
    scene.obs("text", 7, 0)
    assert scene.states()["pose"] == "down"


def test_a_source_that_nobody_expects_is_shown_when_it_answers(scene):
    scene.obs("guest", 7, 0)
    assert scene.states()["guest"] == "seen"


def test_the_newest_of_several_in_work_is_shown(scene):
    for frame_id in (8, 9, 7):
        scene.obs("text", frame_id, 0)
    assert scene.newest()["frame_id"] == 9


# Idle -----------------------------------------------------------------------------------------------


def test_missing_in_a_complete_frame_is_idle(scene):
    scene.left(6, 0, obs=["text"], missing=["pose"], reason="complete")
    scene.obs("text", 7, 1)
    assert scene.states(2)["pose"] == "idle"


def test_missing_when_the_window_is_over_is_not_idle(scene):
    scene.left(6, 0, obs=["text"], missing=["pose"], reason="window")
    scene.obs("text", 7, 1)
    assert scene.states(2)["pose"] == "waiting"


def test_who_is_down_is_not_idle(scene):
    scene.frames.down.add("pose")
    scene.left(6, 0, obs=["text"], missing=["pose"], reason="complete")
    assert scene.frames.idle == set()


@pytest.mark.parametrize("sign", ["obs", "skip"])
def test_a_sign_of_life_ends_idleness(scene, sign):
    scene.left(6, 0, obs=["text"], missing=["pose"], reason="complete")
    scene.obs("pose", 5, 1) if sign == "obs" else scene.skip("pose", 5, 5)
    assert scene.frames.idle == set()


# Left -----------------------------------------------------------------------------------------------


def test_with_nothing_in_work_the_last_that_left_is_shown_with_its_times(scene):
    scene.obs("text", 7, 0)
    scene.obs("face", 7, 22)
    scene.skip("pose", 7, 7)
    scene.left(7, 30, hold_ms=30, obs=["face", "text"], skipped=["pose"])
    found = scene.newest(1000)
    assert (found["hold_ms"], found["left"]) == (30.0, "complete")
    assert found["sources"]["face"] == {"state": "seen", "ms": 22.0, "reason": ""}
    assert found["sources"]["pose"] == {"state": "skip", "ms": None, "reason": "backpressure"}


def test_who_was_missing_when_the_window_was_over_is_shown(scene):
    scene.obs("text", 7, 0)
    scene.left(7, 100, hold_ms=100, obs=["text"], missing=["pose"], skipped=["face"], reason="window")
    assert scene.newest(101)["left"] == "window"
    assert scene.states(101) == {"text": "seen", "pose": "missing", "face": "skip"}


def test_who_has_gone_since_was_missing_then(scene):
    scene.left(7, 100, hold_ms=100, obs=["text"], missing=["pose"], skipped=["face"], reason="window")
    scene.frames.idle.add("pose")
    scene.left(8, 101, hold_ms=10, obs=["text"], missing=["pose"], skipped=["face"], reason="window")
    scene.frames.down.add("pose")
    scene.left(9, 102, hold_ms=10, obs=["text"], missing=["pose"], skipped=["face"], reason="window")
    assert scene.slowest(103)["sources"]["pose"] == {"state": "missing", "ms": 100.0, "reason": ""}
    assert scene.states(103)["pose"] == "down"


def test_an_obs_behind_its_set_is_late(scene):
    scene.obs("text", 7, 0)
    scene.left(7, 100, hold_ms=100, obs=["text"], missing=["pose"], skipped=["face"], reason="window")
    scene.obs("pose", 7, 134)
    assert scene.newest(140)["sources"]["pose"] == {"state": "late", "ms": 134.0, "reason": ""}


def test_a_frame_whose_obs_were_not_heard_has_no_times(scene):
    scene.left(7, 100, hold_ms=60, obs=["text"], skipped=["face", "pose"])
    found = scene.newest(101)
    assert (found["hold_ms"], found["sources"]["text"]["ms"]) == (60.0, None)


def test_it_is_late_from_the_first_obs_on_also_when_that_was_not_heard(scene):
    scene.left(7, 100, hold_ms=60, obs=["text"], missing=["pose"], skipped=["face"], reason="window")
    scene.obs("pose", 7, 134)
    assert scene.newest(140)["sources"]["pose"]["ms"] == 94.0


def test_the_slowest_of_the_last_seconds_is_found(scene):
    for frame_id, hold_ms in ((1, 30), (2, 90), (3, 40)):
        scene.left(frame_id, frame_id, hold_ms=hold_ms, obs=["text"])
    assert (scene.slowest(4)["frame_id"], scene.slowest(4)["hold_ms"]) == (2, 90.0)


def test_what_left_long_ago_is_forgotten(scene):
    scene.left(1, 0, hold_ms=90, obs=["text"])
    assert scene.slowest(LATELY_NS // MS)["frame_id"] == 1
    assert scene.slowest(LATELY_NS // MS + 1) is None


def test_the_share_of_complete_frames(scene):
    for frame_id, reason in enumerate(("complete", "window", "complete", "complete")):
        scene.left(frame_id, 0, reason=reason, obs=["text"])
    assert scene.frames.complete() == 0.75


# Epochs, and what the tap does not tell ---------------------------------------------------------------


def test_a_new_epoch_begins_with_nothing(scene):
    scene.obs("text", 7, 0)
    scene.frames.follow(1)
    scene.frames.follow(2)
    assert scene.newest(1) is None


def test_a_set_of_a_newer_epoch_begins_it(scene):
    scene.left(700, 0, obs=["text"], epoch=1)
    scene.left(0, 1, obs=["text"], epoch=2)
    scene.obs("text", 1, 2, epoch=2)
    assert scene.newest(3)["frame_id"] == 1


def test_one_sources_word_does_not_begin_an_epoch(scene):
    scene.frames.follow(1)
    scene.obs("text", 7, 0)
    scene.obs("face", 900, 1, epoch=99)
    assert scene.newest(2)["frame_id"] == 7


def test_what_is_of_an_older_epoch_is_not_taken(scene):
    scene.frames.follow(2)
    scene.obs("text", 7, 0, epoch=1)
    scene.left(7, 1, obs=["text"], epoch=1)
    assert scene.newest(2) is None


def test_a_skip_of_an_older_epoch_does_not_hold_in_this_one(scene):
    scene.frames.follow(2)
    scene.skip("face", 7, 7, epoch=1)
    scene.obs("text", 7, 0, epoch=2)
    assert scene.states(1)["face"] == "waiting"


def test_frame_ids_that_went_back_are_followed_from_the_next_set_on(scene):
    scene.left(700, 0, obs=["text"])
    scene.left(3, 1, obs=["text"])
    scene.obs("text", 4, 2)
    assert scene.newest(3)["frame_id"] == 4


def test_a_frame_whose_end_is_not_told_is_not_shown_for_ever(scene):
    scene.obs("text", 7, 0)
    overdue_ms = (WINDOW_NS + UNTOLD_NS) // MS
    assert scene.newest(overdue_ms)["frame_id"] == 7
    assert scene.newest(overdue_ms + 1) is None
    assert scene.frames.untold == 1


def test_a_frame_that_was_passed_has_left_untold(scene):
    scene.obs("text", 7, 0)
    scene.left(8, 1, obs=["text"])
    assert scene.newest(2)["frame_id"] == 8
    assert scene.frames.untold == 1


def test_frames_in_work_are_bounded(scene):
    for frame_id in range(MAX_IN_WORK + 3):
        scene.obs("text", frame_id, 0)
    assert scene.frames.untold == 3


def test_sources_are_bounded(scene):
    for number in range(MAX_SOURCES + 3):
        scene.obs(f"s{number}", 7, 0)
    scene.expected = []
    assert len(scene.newest()["sources"]) == MAX_SOURCES

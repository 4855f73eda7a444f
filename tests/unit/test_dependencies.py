"""Frames wait until every extractor that this one depends on has spoken; nothing waits for ever, nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visualpath.core.observation import Observation
from visualpath.extractor.dependencies import MAX_FRAMES, Skipped, Waiting
from visualpath.process.mailbox import Task
from visualpath.runtime.extractors import ExtractorConfig
from visualpath_protocol.messages import FrameHeader, Obs, ObservationBody, Skip

PATIENCE_NS = 100_000_000
FACE = {"face": ExtractorConfig(group="face")}
FACE_AND_POSE = {**FACE, "pose": ExtractorConfig(group="pose")}
TWO_FACES = {f"face-{n}": ExtractorConfig(group="face", stride=2, phase=n) for n in range(2)}
EVERY_THIRD = {"face": ExtractorConfig(group="face", stride=3)}


def waiting(dependencies=FACE, streams=("cam1", "cam2")):
    return Waiting(streams, dependencies, PATIENCE_NS)


def header(frame_id, stream="cam1", epoch=1):
    return FrameHeader(
        stream=stream, epoch=epoch, frame_id=frame_id, t_ns=frame_id, wall_ns=0, mono_ns=0, width=2, height=2,
        payloads=[],
    )  # fmt: skip


def obs(frame_id, source="face", stream="cam1", epoch=1, **signals):
    return Obs(
        source=source, instance="a1", seq=0, stream=stream, epoch=epoch, frame_id=frame_id, t_ns=frame_id, mono_ns=0,
        observations=[ObservationBody(signals=signals, data="d", metadata={"m": 1})], bound_ns=0,
    )  # fmt: skip


def skip(first, last, source="face", stream="cam1", epoch=1, reason="backpressure"):
    return Skip(
        source=source, instance="a1", seq=0, stream=stream, epoch=epoch, first_frame_id=first, last_frame_id=last,
        first_t_ns=first, t_ns=last, reason=reason, detail="its own",
    )  # fmt: skip


def ids(decisions, kind):
    return [one.header.frame_id for one in decisions if isinstance(one, kind)]


def told(line, *words):
    return [decision for word in words for decision in line.told(word)]


def offered(line, *frame_ids):
    return [decision for n in frame_ids for decision in line.offer(header(n), 0)]


# Passing on -------------------------------------------------------------------------------------


def test_without_dependencies_a_frame_passes_at_once():
    assert waiting({}).offer(header(5), 0) == [Task(header(5))]


def test_a_frame_waits_for_its_dependency():
    assert waiting().offer(header(5), 0) == []


def test_a_frame_passes_when_its_dependency_has_seen_it():
    line = waiting()
    offered(line, 5)
    assert ids(line.told(obs(5)), Task) == [5]


def test_a_frame_carries_what_its_dependency_saw():
    line = waiting()
    offered(line, 5)
    [task] = line.told(obs(5, conf=0.5))
    expected = Observation(
        source="face", frame_id=5, t_ns=5, signals={"conf": 0.5}, data="d", metadata={"m": 1}, timing={}
    )
    assert task.seen == {"face": [expected]}


def test_an_observation_that_comes_before_its_frame_is_kept():
    line = waiting()
    told(line, obs(5, conf=0.5))
    [task] = offered(line, 5)
    assert task.seen["face"][0].signals == {"conf": 0.5}


def test_a_frame_waits_for_all_its_dependencies():
    line = waiting(FACE_AND_POSE)
    offered(line, 5)
    assert line.told(obs(5, "pose")) == []
    [task] = line.told(obs(5, "face"))
    assert set(task.seen) == {"face", "pose"}


def test_frames_pass_in_the_order_in_which_they_came():
    line = waiting()
    offered(line, 4, 5, 6)
    assert told(line, obs(6), obs(5)) == []
    assert ids(line.told(obs(4)), Task) == [4, 5, 6]


@pytest.mark.parametrize(
    "other", [obs(5, stream="cam2"), obs(5, epoch=2), obs(4), obs(5, "pose"), obs(5, stream="nowhere"), skip(6, 9)]
)
def test_a_word_about_something_else_changes_nothing(other):
    line = waiting()
    offered(line, 5)
    assert line.told(other) == []
    assert ids(line.told(obs(5)), Task) == [5]


def test_each_stream_waits_for_itself():
    line = waiting()
    offered(line, 5)
    line.offer(header(5, "cam2"), 0)
    [task] = line.told(obs(5, stream="cam2"))
    assert task.header.stream == "cam2"


def test_a_word_that_comes_twice_counts_once():
    line = waiting()
    offered(line, 5)
    assert ids(told(line, obs(5), obs(5), skip(5, 5)), (Task, Skipped)) == [5]


# What a dependency skips ------------------------------------------------------------------------


def test_what_a_dependency_skips_is_skipped_at_once_for_the_same_reason():
    line = waiting()
    offered(line, 4, 5)
    assert line.told(skip(5, 5, reason="evicted")) == [Skipped(header(5), "evicted", "face skipped it")]


def test_a_run_of_skipped_frames_is_skipped_whole():
    line = waiting()
    offered(line, 4, 5, 6, 7)
    assert ids(line.told(skip(5, 6)), Skipped) == [5, 6]


def test_a_skip_that_comes_before_its_frames_is_kept():
    line = waiting()
    told(line, skip(5, 6))
    assert ids(offered(line, 4, 5, 6, 7), Skipped) == [5, 6]


def test_a_skip_that_is_half_early_is_kept_for_the_other_half():
    line = waiting()
    offered(line, 5)
    assert ids(line.told(skip(5, 6)), Skipped) == [5]
    assert ids(offered(line, 6), Skipped) == [6]


def test_frames_behind_a_skipped_one_pass():
    line = waiting()
    offered(line, 4, 5)
    told(line, obs(5))
    assert [type(one) for one in line.told(skip(4, 4))] == [Skipped, Task]


# Instances --------------------------------------------------------------------------------------


def test_of_several_instances_only_the_one_that_looks_at_the_frame_is_waited_for():
    line = waiting(TWO_FACES)
    offered(line, 4, 5)
    assert ids(told(line, obs(4, "face-0"), obs(5, "face-1")), Task) == [4, 5]


def test_what_instances_saw_goes_by_the_name_of_their_extractor():
    line = waiting(TWO_FACES)
    offered(line, 5)
    [task] = line.told(obs(5, "face-1"))
    assert [(group, one.source) for group, found in task.seen.items() for one in found] == [("face", "face")]


def test_a_run_that_an_instance_skips_is_about_its_own_frames_only():
    line = waiting(TWO_FACES)
    offered(line, 4, 5, 6)
    assert ids(line.told(skip(4, 6, "face-0")), Skipped) == [4, 6]


def test_a_frame_that_no_dependency_will_ever_look_at_is_skipped_at_once():
    assert waiting(EVERY_THIRD).offer(header(4), 0) == [Skipped(header(4), "stride", "face does not look at it")]


def test_a_frame_that_a_dependency_with_stride_looks_at_waits_for_it():
    line = waiting(EVERY_THIRD)
    assert offered(line, 6) == []
    assert ids(line.told(obs(6)), Task) == [6]


# Time and room ----------------------------------------------------------------------------------


def test_a_frame_that_nothing_comes_for_is_skipped_when_patience_ends():
    line = waiting(FACE_AND_POSE)
    line.offer(header(5), 1000)
    told(line, obs(5, "pose"))
    assert line.expire(1000 + PATIENCE_NS - 1) == []
    assert line.expire(1000 + PATIENCE_NS) == [Skipped(header(5), "timeout", "nothing from face in 100 ms")]


def test_a_frame_that_timed_out_lets_the_next_ones_pass():
    line = waiting()
    line.offer(header(5), 0)
    line.offer(header(6), 1)
    told(line, obs(6))
    assert [type(one) for one in line.expire(PATIENCE_NS)] == [Skipped, Task]


def test_a_word_that_comes_after_patience_has_ended_changes_nothing():
    line = waiting()
    offered(line, 5)
    line.expire(PATIENCE_NS)
    assert line.told(obs(5)) == []


def test_the_deadline_is_that_of_the_oldest_frame():
    line = waiting()
    assert line.next_deadline() is None
    line.offer(header(5, "cam2"), 20)
    line.offer(header(5, "cam1"), 30)
    assert line.next_deadline() == 20 + PATIENCE_NS


def test_of_more_frames_than_may_wait_the_oldest_is_skipped():
    line = waiting()
    assert offered(line, *range(MAX_FRAMES)) == []
    assert offered(line, MAX_FRAMES) == [Skipped(header(0), "backpressure", f"{MAX_FRAMES} newer frames wait as well")]


def test_of_more_early_words_than_are_kept_the_oldest_are_forgotten():
    line = waiting()
    told(line, *map(obs, range(MAX_FRAMES + 1)))
    assert ids(offered(line, 0), Task) == []
    assert ids(line.expire(PATIENCE_NS) + offered(line, *range(1, MAX_FRAMES + 1)), Task) == [*range(1, MAX_FRAMES + 1)]


def test_words_about_frames_that_have_come_are_not_kept():
    line = waiting()
    for n in range(1000):
        told(line, obs(n))
        offered(line, n)
    assert [len(words) for words in line._lines["cam1"].words.values()] == [0]


def test_words_of_strangers_are_not_kept():
    line = waiting()
    told(line, *(obs(n, f"stranger{n}") for n in range(1000)))
    assert line._lines["cam1"].words == {}


def test_all_that_waits_can_be_given_up():
    line = waiting()
    offered(line, 4, 5)
    line.offer(header(7, "cam2"), 0)
    assert line.give_up() == [header(4), header(5), header(7, "cam2")]


def test_what_was_given_up_does_not_leave_once_more():
    line = waiting()
    offered(line, 4, 5)
    line.give_up()
    assert (told(line, obs(4), skip(5, 5)), line.expire(PATIENCE_NS), line.next_deadline()) == ([], [], None)


# Any history ------------------------------------------------------------------------------------

NAMES = ("face-0", "face-1", "pose")
ALL = {**TWO_FACES, "pose": ExtractorConfig(group="pose")}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("frame"), st.integers(1, 3)),
        st.tuples(st.just("obs"), st.integers(0, 12), st.sampled_from(NAMES)),
        st.tuples(st.just("skip"), st.integers(0, 12), st.integers(0, 3), st.sampled_from(NAMES)),
        st.tuples(st.just("time"), st.integers(1, PATIENCE_NS)),
    ),
    max_size=60,
)


@given(STEPS)
def test_whatever_happens_each_frame_leaves_once_in_time_and_tasks_in_order(steps):
    line, now, newest, came, left = waiting(ALL), 0, -1, {}, []
    for step, *values in steps:
        if step == "frame":
            newest += values[0]
            came[newest] = now
            left += line.offer(header(newest), now)
        elif step == "obs":
            left += line.told(obs(*values))
        elif step == "skip":
            first, more, source = values
            left += line.told(skip(first, first + more, source))
        else:
            now += values[0]
            left += line.expire(now)
            gone = {one.header.frame_id for one in left}
            assert all(now - since < PATIENCE_NS for n, since in came.items() if n not in gone)
    left += line.expire(now + PATIENCE_NS)
    assert sorted(one.header.frame_id for one in left) == sorted(came)
    assert ids(left, Task) == sorted(ids(left, Task))
    assert all(set(one.seen) == {"face", "pose"} for one in left if isinstance(one, Task))

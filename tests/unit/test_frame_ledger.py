"""Silence is counted: frames of which a source has said neither OBS nor SKIP."""

from hypothesis import given
from hypothesis import strategies as st

from visualpath.core.frame_ledger import HORIZON, MAX_EARLY, FrameLedger


def ledger(*sources, epoch=3, stride=1, phase=0):
    made = FrameLedger(max_sources=4)
    made.published(epoch, None)
    for source in sources:
        made.join(source, stride, phase)
    return made


def say(made, *frame_ids, source="face", epoch=3):
    for frame_id in frame_ids:
        made.spoke(source, epoch, frame_id, frame_id)


def test_a_source_that_speaks_of_every_frame_is_never_silent():
    made = ledger("face")
    say(made, 0, 1, 2)
    assert made.published(3, 2) + made.settle() == []


def test_frames_nothing_was_said_of_are_counted_at_the_end():
    made = ledger("face")
    say(made, 0, 3)
    assert made.published(3, 4) == []
    assert made.settle() == [("face", 3)]


def test_they_are_counted_once():
    made = ledger("face")
    made.published(3, 4)
    made.settle()
    assert made.settle() == []


def test_the_order_of_words_does_not_matter():
    made = ledger("face")
    say(made, 2, 1, 0)
    made.published(3, 2)
    assert made.settle() == []


def test_a_skip_speaks_of_all_its_frames():
    made = ledger("face")
    made.spoke("face", 3, 0, 7)
    made.published(3, 9)
    assert made.settle() == [("face", 2)]


def test_of_a_source_with_a_stride_only_its_own_frames_count():
    made = ledger("face", stride=3, phase=1)
    say(made, 1, 7)
    made.published(3, 10)  # its own: 1, 4, 7, 10
    assert made.settle() == [("face", 2)]


def test_a_word_about_a_frame_that_is_not_its_own_counts_for_nothing():
    made = ledger("face", stride=3, phase=1)
    say(made, 1, 2, 4)
    made.published(3, 4)
    assert made.settle() == []


def test_a_source_that_comes_later_owes_nothing_for_what_was_before():
    made = ledger()
    made.published(3, 99)
    made.join("face", 1, 0)
    made.published(3, 101)
    assert made.settle() == [("face", 2)]


def test_a_source_that_comes_back_owes_the_frames_between():
    made = ledger("face")
    say(made, 0, 1)
    made.published(3, 9)
    made.join("face", 1, 0)
    say(made, 8, 9)
    assert made.settle() == [("face", 6)]


def test_a_new_epoch_settles_the_old_one():
    made = ledger("face")
    made.published(3, 4)
    assert made.published(4, None) == [("face", 5)]


def test_in_a_new_epoch_counting_starts_with_its_first_frame():
    made = ledger("face")
    made.published(4, 6)
    assert made.settle() == [("face", 7)]


def test_who_hears_of_a_stream_in_its_middle_owes_only_what_comes_then():
    made = FrameLedger(max_sources=4)
    made.join("face", 1, 0)
    made.published(3, 99)
    made.published(3, 100)
    assert made.settle() == [("face", 1)]


def test_a_word_that_overtakes_the_streams_own_about_an_epoch_counts():
    made = ledger("face")
    say(made, 0, epoch=4)
    made.published(4, 1)
    assert made.settle() == [("face", 1)]


def test_a_word_about_an_old_epoch_counts_for_nothing():
    made = ledger("face")
    say(made, 0, epoch=2)
    made.published(3, 0)
    assert made.settle() == [("face", 1)]


def test_a_frame_that_is_too_old_is_given_up_before_the_end():
    made = ledger("face")
    assert made.published(3, HORIZON) == [("face", 1)]


def test_a_wild_frame_id_is_not_believed():
    made = ledger("face")
    made.spoke("face", 3, 0, 10 * HORIZON)
    made.published(3, 1)
    assert made.settle() == [("face", 2)]


def test_a_stream_that_claims_to_be_far_ahead_costs_no_time_and_no_memory():
    made = ledger("face")
    say(made, 5)
    assert made.published(3, 2**62) == [("face", 2**62 - HORIZON)]


def test_wild_epochs_of_one_source_do_not_shut_out_the_words_of_another():
    made = ledger("rogue", "face")
    for _ in range(10_000):
        say(made, 0, source="rogue", epoch=2**62)
    say(made, 0, source="face", epoch=4)
    made.published(4, 0)
    assert made.settle() == [("rogue", 1)]


def test_a_word_about_a_wild_epoch_is_forgotten_when_there_are_too_many():
    made = ledger("face")
    say(made, *range(1000), epoch=4)
    made.published(4, 999)
    assert made.settle() == [("face", 1000 - MAX_EARLY)]


def test_no_more_sources_are_kept_than_there_may_be():
    made = ledger(*(f"s{n}" for n in range(9)))
    made.published(3, 0)
    assert made.settle() == [(f"s{n}", 1) for n in range(4)]


def test_a_source_that_comes_back_with_another_share_begins_anew():
    made = ledger("face")
    made.published(3, 9)
    made.join("face", 2, 0)
    made.published(3, 11)
    assert made.settle() == [("face", 1)]


def test_the_silence_of_one_is_not_that_of_another():
    made = ledger("face", "text")
    say(made, 0, source="text")
    made.published(3, 0)
    assert made.settle() == [("face", 1)]


@given(
    frames=st.integers(0, 300),
    stride=st.integers(1, 4),
    said=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 20))),
    words=st.lists(st.integers(-1, 299)),
    data=st.data(),
)
def test_every_own_frame_is_spoken_of_or_counted_as_silent(frames, stride, said, words, data):
    phase = data.draw(st.integers(0, stride - 1))
    made = ledger("face", stride=stride, phase=phase)
    silent = 0
    spoken = set()
    for first, length in said:
        made.spoke("face", 3, first, first + length)
        spoken.update(range(first, first + length + 1))
        if words:
            silent += sum(n for _, n in made.published(3, min(words.pop(), frames - 1) if frames else None))
    silent += sum(n for _, n in made.published(3, frames - 1 if frames else None) + made.settle())
    own = {frame_id for frame_id in range(frames) if frame_id % stride == phase}
    assert silent == len(own - spoken)

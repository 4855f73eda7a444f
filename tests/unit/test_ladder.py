"""When an extractor's backends are given up, and tried again: all transitions, by a clock that the test sets."""

import pytest

from visualpath.core.ladder import Ladder, Patience

S = 1_000_000_000
PATIENCE = Patience(errors=3, retry_ns=30 * S, retry_max_ns=100 * S, probation=2)


def ladder(*names):
    return Ladder(names, PATIENCE)


@pytest.fixture
def two():
    """`best` is in use, `spare` is below it."""
    made = ladder("best", "spare")
    made.take(0, 0)
    return made


@pytest.fixture
def spare(two):
    """`best` failed at 0 s, `spare` is in use."""
    fail(two, 0)
    two.take(1, 0)
    return two


@pytest.fixture
def single():
    """A ladder of one rung, in use."""
    made = ladder("only")
    made.take(0, 0)
    return made


def fail(made, now, times=3):
    """So many frames in a row are failed on; what the last of them led to."""
    return [made.erred("E", now) for _ in range(times)][-1]


def probed(made, now):
    """The due rung is loaded and taken; returns the move."""
    return made.take(made.due(now), now)


# The start --------------------------------------------------------------------------------------


def test_at_the_start_all_are_candidates_the_best_first():
    assert ladder("a", "b", "c").candidates(0) == [0, 1, 2]


def test_taking_the_best_is_no_move():
    assert ladder("a", "b").take(0, 0) is None


def test_taking_another_at_the_start_is_a_step_down():
    made = ladder("a", "b")
    made.refuse(0, "missing", "no file", 0)
    assert made.take(1, 0) == "down"


def test_a_rung_that_could_not_be_loaded_is_a_trouble_with_its_reason():
    made = ladder("a", "b")
    made.refuse(0, "missing", "no file", 0)
    made.take(1, 0)
    assert [(rung.name, rung.cause, rung.why) for rung in made.troubles()] == [("a", "missing", "no file")]


def test_when_none_could_be_loaded_all_are_troubles():
    made = ladder("a", "b")
    for index in (0, 1):
        made.refuse(index, "load", "no", 0)
    assert [rung.name for rung in made.troubles()] == ["a", "b"]


def test_what_the_start_took_is_not_on_probation():
    made = ladder("a", "b")
    made.refuse(0, "load", "no", 0)
    made.take(1, 0)
    assert made.probation == 0


def test_nothing_is_due_before_the_start():
    made = ladder("a")
    made.refuse(0, "load", "no", 0)
    assert made.due(1000 * S) is None


# Opening ----------------------------------------------------------------------------------------


def test_fewer_errors_than_allowed_open_nothing(two):
    assert not fail(two, 0, times=2)
    assert two.troubles() == []


def test_so_many_errors_in_a_row_open_the_rung(two):
    assert fail(two, 0, times=3)
    [best] = [rung for rung in two.troubles() if rung.name == "best"]
    assert (best.cause, best.why) == ("errors", "3 frames in a row failed, the last by E")


def test_a_frame_that_works_begins_the_count_anew(two):
    fail(two, 0, times=2)
    two.worked(0)
    assert not fail(two, 0, times=2)


def test_the_step_goes_to_the_next_that_is_closed():
    made = ladder("a", "b", "c")
    made.refuse(1, "load", "no", 0)
    made.take(0, 0)
    fail(made, 1 * S)
    assert made.candidates(1 * S) == [2]


def test_the_step_goes_to_an_open_rung_whose_wait_is_over():
    made = ladder("a", "b", "c")
    made.refuse(1, "load", "no", 0)
    made.take(0, 0)
    fail(made, 31 * S)
    assert made.candidates(31 * S) == [1, 2]


def test_an_open_rung_that_is_stepped_down_to_is_on_probation():
    made = ladder("a", "b")
    made.refuse(1, "load", "no", 0)
    made.take(0, 0)
    fail(made, 31 * S)
    made.take(1, 31 * S)
    assert (made.probation, made.back) == (2, None)


def test_a_closed_rung_that_is_stepped_down_to_is_trusted(spare):
    assert spare.probation == 0


def test_a_step_down_begins_the_count_of_errors_anew(spare):
    assert not fail(spare, 0, times=2)


# All fail ---------------------------------------------------------------------------------------


def test_the_last_rung_stays_in_use_when_it_fails(single):
    assert fail(single, 0)
    assert (single.candidates(0), single.current, single.failed) == ([], 0, True)


def test_further_errors_of_a_failed_rung_change_nothing(single):
    fail(single, 0)
    assert not fail(single, 5 * S, times=10)
    assert single.retry_ns() == 30 * S


def test_some_frames_in_a_row_that_work_close_a_failed_rung(single):
    fail(single, 0)
    assert [single.worked(0) for _ in range(2)] == [None, "recovered"]
    assert not single.failed


def test_frames_that_work_now_and_then_do_not_close_a_failed_rung(single):
    fail(single, 0)
    for _ in range(9):
        single.worked(0)
        single.erred("E", 0)
    assert single.failed


def test_a_failed_rung_is_loaded_again_when_its_wait_is_over(single):
    fail(single, 0)
    assert (single.due(30 * S - 1), single.due(30 * S)) == (None, 0)


def test_a_failed_rung_that_was_loaded_again_is_on_probation(single):
    fail(single, 0)
    assert probed(single, 30 * S) == "recovered"
    assert (single.probation, single.back) == (2, None)


def test_a_failed_rung_that_fails_again_stays_in_use(single):
    fail(single, 0)
    probed(single, 30 * S)
    assert single.erred("E", 30 * S)
    assert (single.candidates(30 * S), single.failed) == ([], True)


def test_while_all_fail_a_lower_rung_is_tried_again_too():
    made = ladder("a", "b")
    made.refuse(1, "missing", "no file", 0)
    made.take(0, 0)
    fail(made, 20 * S)
    assert (made.due(30 * S), made.take(1, 30 * S)) == (1, "down")


def test_when_all_fail_every_rung_is_a_trouble(spare):
    fail(spare, 0)
    assert [rung.name for rung in spare.troubles()] == ["best", "spare"]


# Half-open --------------------------------------------------------------------------------------


def test_a_better_rung_is_due_when_its_wait_is_over(spare):
    assert (spare.due(30 * S - 1), spare.due(30 * S)) == (None, 0)


def test_the_best_of_those_due_comes_first():
    made = ladder("a", "b", "c")
    for index in (0, 1):
        made.refuse(index, "load", "no", 0)
    made.take(2, 0)
    assert made.due(30 * S) == 0


def test_when_the_best_is_in_use_nothing_is_due(two):
    assert (two.due(10_000 * S), two.retry_ns()) == (None, None)


def test_a_rung_that_is_tried_again_is_on_probation_and_the_other_kept(spare):
    assert probed(spare, 30 * S) == "up"
    assert (spare.current, spare.probation, spare.back) == (0, 2, 1)


def test_the_first_error_on_probation_leads_back(spare):
    probed(spare, 30 * S)
    assert spare.erred("E", 30 * S)
    assert (spare.candidates(30 * S), spare.rungs[0].cause) == ([1], "probation")


def test_back_from_probation_is_a_step_down_to_what_is_trusted(spare):
    probed(spare, 30 * S)
    spare.erred("E", 30 * S)
    assert (spare.take(1, 30 * S), spare.probation, spare.back) == ("down", 0, None)


def test_probation_leads_back_to_where_it_came_from_first():
    made = ladder("a", "b", "c")
    for index in (0, 1):
        made.refuse(index, "load", "no", 0)
    made.take(2, 0)
    probed(made, 30 * S)
    made.erred("E", 30 * S)
    assert made.candidates(30 * S) == [2, 1]


def test_nothing_else_is_tried_during_probation():
    made = ladder("a", "b", "c")
    for index in (0, 1):
        made.refuse(index, "load", "no", 0)
    made.take(2, 0)
    made.take(1, 30 * S)
    assert made.due(30 * S) is None


def test_after_its_frames_on_probation_a_rung_is_trusted(spare):
    probed(spare, 30 * S)
    assert [spare.worked(31 * S) for _ in range(2)] == [None, None]
    assert (spare.probation, spare.back, spare.troubles()) == (0, None, [])


def test_a_rung_that_is_trusted_again_may_fail_as_often_as_before(spare):
    probed(spare, 30 * S)
    for _ in range(2):
        spare.worked(31 * S)
    assert not fail(spare, 31 * S, times=2)


# Waits ------------------------------------------------------------------------------------------


def waits(made, refusals):
    """The waits in s after each of so many failed loads of rung 0."""
    now, found = 0, []
    for _ in range(refusals):
        made.refuse(0, "load", "no", now)
        found.append((made.rungs[0].retry_ns - now) // S)
        now = made.rungs[0].retry_ns
    return found


def test_the_wait_doubles_up_to_its_bound():
    assert waits(ladder("a", "b"), 4) == [30, 60, 100, 100]


def test_by_default_the_wait_goes_from_30_s_to_10_min():
    assert waits(Ladder(["a", "b"], Patience()), 7) == [30, 60, 120, 240, 480, 600, 600]


def test_a_failed_probation_doubles_the_wait(spare):
    probed(spare, 30 * S)
    spare.erred("E", 31 * S)
    assert spare.rungs[0].retry_ns == (31 + 60) * S


def test_a_rung_that_fails_soon_after_its_probation_waits_longer(spare):
    probed(spare, 30 * S)
    for _ in range(2):
        spare.worked(31 * S)
    fail(spare, 61 * S)
    assert spare.rungs[0].wait_ns == 60 * S


def test_a_rung_that_worked_for_longer_than_it_waited_waits_shortly_again(spare):
    probed(spare, 30 * S)
    for _ in range(2):
        spare.worked(31 * S)
    fail(spare, 62 * S)
    assert spare.rungs[0].wait_ns == 30 * S


def test_a_rung_that_works_again_by_itself_and_soon_fails_waits_longer(single):
    fail(single, 0)
    for _ in range(2):
        single.worked(31 * S)
    fail(single, 40 * S)
    assert single.rungs[0].wait_ns == 60 * S


def test_the_next_try_is_that_of_the_rung_that_is_due_first():
    made = ladder("a", "b", "c")
    made.refuse(0, "load", "no", 5 * S)
    made.refuse(1, "load", "no", 2 * S)
    made.take(2, 5 * S)
    assert made.retry_ns() == 32 * S

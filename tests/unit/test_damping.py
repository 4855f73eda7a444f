"""Which changes of health are told."""

from visualpath.core.health import Health
from visualpath.watch.damping import Damper, Starts

S = 1_000_000_000


def told(states, told_before=None, lasts_s=3, first_s=100):
    """What is told of one daemon that is judged once a second, by second; the watch began at 0."""
    damper = Damper(lasts_s * S, told_before or {}, 0)
    damper.changes({"clip": Health("healthy")}, 0)
    found = {}
    for second, state in enumerate(states):
        for change in damper.changes({"clip": Health(state)}, (first_s + second) * S):
            found[second] = (change.before, change.health.state)
            damper.taken("clip", change.health.state)
    return found


H, D, F = "healthy", "degraded", "failed"


def test_a_state_that_lasts_is_told():
    assert told([H, F, F, F, F, F]) == {4: (H, F)}


def test_one_that_is_soon_over_is_not():
    assert told([H, F, F, F, H, H, H, H]) == {}


def test_it_is_told_once():
    assert told([F] * 20) == {3: (H, F)}


def test_the_way_back_is_told_too():
    assert told([F, F, F, F, H, H, H, H]) == {3: (H, F), 7: (F, H)}


def test_flapping_between_two_bad_states_is_told_all_the_same():
    assert told([D, F, D, F]) == {3: (H, F)}


def test_flapping_back_and_forth_is_not_told_as_well_again():
    assert told([F, F, F, F, H, F, H, F, H, H, F]) == {3: (H, F)}


def test_who_goes_and_comes_all_the_time_is_soon_told_to_be_ill_and_no_more():
    assert list(told(([F] * 10 + [H] * 10) * 100).values()) == [(H, F), (F, H), (H, F)]


def test_who_has_stayed_well_after_that_is_told_to_be():
    states = ([F] * 10 + [H] * 10) * 100
    assert max(told(states + [H] * 600)) > len(states)


def test_what_was_told_before_a_restart_is_not_told_again():
    assert told([F] * 10, told_before={"clip": F}) == {}


def test_what_is_well_again_after_a_restart_is_told():
    assert told([H] * 10, told_before={"clip": F}) == {0: (F, H)}


def test_while_one_is_on_its_way_no_other_is_told():
    damper = Damper(0, {}, 0)
    assert len(damper.changes({"clip": Health(F)}, 400 * S)) == 1
    assert damper.changes({"clip": Health(D)}, 401 * S) == []


def refused_once(*later):
    """A hook does not take that clip has failed, at 400 s; what is told then, by second, in (second, state)."""
    damper = Damper(0, {}, 0)
    damper.changes({"clip": Health(F)}, 400 * S)
    damper.refused("clip", 400 * S)
    return [(s, change.health.state) for s, state in later for change in damper.changes({"clip": Health(state)}, s * S)]


def test_what_a_hook_did_not_take_is_told_again_a_minute_later():
    assert refused_once((459, F), (460, F)) == [(460, F)]


def test_unless_it_is_over():
    assert refused_once((459, H), (460, H), (1000, H)) == []


def test_what_is_taken_is_kept_where_it_came_from():
    kept = {}
    Damper(0, kept, 0).taken("clip", F)
    assert kept == {"clip": F}


def first_told_s(states_of):
    """After how many seconds from the start of the watch a daemon that was never well is told to be ill."""
    damper = Damper(3 * S, {}, 0)
    return next(s for s in range(1000) if damper.changes({"clip": Health(states_of(s))}, s * S))


def test_a_daemon_that_starts_together_with_the_watch_has_time():
    assert first_told_s(lambda _second: F) == 30


def test_one_that_loads_its_model_has_more():
    assert first_told_s(lambda _second: D) == 300


def test_one_that_was_well_since_has_none():
    assert first_told_s(lambda second: F if second else H) == 4


# How often a daemon was started ---------------------------------------------------------------------


def starts(*answers):
    """Answers of (second, pid); the count at the last."""
    seen = Starts()
    for second, pid in answers:
        seen.note("clip", pid, second * S)
    return seen.count("clip", answers[-1][0] * S)


def test_the_first_start_that_is_seen_is_none_again():
    assert starts((100, 7), (101, 7), (190, 7)) == 0


def test_each_start_after_that_counts_once():
    assert starts((100, 7), (105, 8), (106, 8), (110, 9), (111, 9)) == 2


def test_starts_are_forgotten_after_ten_minutes():
    assert starts((100, 7), (105, 8), (800, 8)) == 0

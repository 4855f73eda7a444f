"""Which changes of health are told."""

from visualpath.core.health import Health
from visualpath.watch.damping import START_NS, Damper, Starts

S = 1_000_000_000


def told(states, told_before=None, lasts_s=3, first_s=100):
    """What is told of one daemon that is judged once a second, by second; the watch began at 0."""
    damper = Damper(lasts_s * S, told_before or {}, 0)
    damper.changes({"clip": Health("healthy")}, 0)
    found = {}
    for second, state in enumerate(states):
        for change in damper.changes({"clip": Health(state)}, (first_s + second) * S):
            found[second] = (change.before, change.health.state)
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


def test_what_was_told_before_a_restart_is_not_told_again():
    assert told([F] * 10, told_before={"clip": F}) == {}


def test_what_is_well_again_after_a_restart_is_told():
    assert told([H] * 10, told_before={"clip": F}) == {0: (F, H)}


def first_told_s(states_of):
    """After how many seconds from the start of the watch a daemon that was never well is told to have failed."""
    damper = Damper(3 * S, {}, 0)
    return next(s for s in range(100) if damper.changes({"clip": Health(states_of(s))}, s * S))


def test_a_daemon_that_starts_together_with_the_watch_has_time():
    assert first_told_s(lambda _second: F) == START_NS // S


def test_one_that_was_well_since_has_none():
    assert first_told_s(lambda second: F if second else H) == 4


# How often a daemon was started ---------------------------------------------------------------------


def starts(*answers):
    """Answers of (second, uptime in s); the count at the last."""
    seen = Starts()
    for second, uptime_s in answers:
        seen.note("clip", int(uptime_s * S), second * S)
    return seen.count("clip", answers[-1][0] * S)


def test_the_first_start_that_is_seen_is_none_again():
    assert starts((100, 50), (101, 51)) == 0


def test_each_start_after_that_counts_once():
    assert starts((100, 50), (105, 2), (106, 3), (110, 1), (111, 2)) == 2


def test_answers_that_were_under_way_for_a_moment_are_no_starts():
    assert starts((100, 50), (101, 50.8), (102, 51.9)) == 0


def test_starts_are_forgotten_after_ten_minutes():
    assert starts((100, 50), (105, 2), (800, 697)) == 0

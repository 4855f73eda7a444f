"""Which sources live: registrations, leases, losses. Pure: time is an argument."""

import pytest

from visualpath.core.errors import CommandError
from visualpath.fusion.sources import (
    LEASE_NS,
    MAX_NAMES,
    MAX_SOURCES,
    NEW_SIGNS_PER_S,
    SIGNS_PER_S,
    Down,
    Sources,
    Up,
)
from visualpath_protocol.messages import Ping, Skip

S = 1_000_000_000


def ping(source="face", instance="i1", **fields):
    return Ping(**{"source": source, "instance": instance, "streams": ["cam1"], "state": "ready", **fields})


@pytest.fixture
def sources():
    return Sources(["cam1", "cam2"], {"face": 2 * S}, max_rate=100)


def code_of(sources, now, **fields):
    with pytest.raises(CommandError) as caught:
        sources.heard(ping(**fields), now)
    return caught.value.code


def state_of(sources, now=0, source="face"):
    return sources.table(now)[source]["state"]


# Registration ---------------------------------------------------------------------------------------


def test_a_registration_brings_a_source_up(sources):
    assert sources.heard(ping(), 0) == [Up(ping())]


def test_registering_again_is_accepted_and_changes_nothing(sources):
    sources.heard(ping(), 0)
    assert sources.heard(ping(), 1) == []


def test_a_ping_alone_is_a_registration(sources):
    assert sources.heard(ping(), 0) == [Up(ping())]


@pytest.mark.parametrize("version", ["2.0", "0.9", "10.0", "", "x"])
def test_another_major_version_is_refused(sources, version):
    assert code_of(sources, 0, version=version) == "version"


@pytest.mark.parametrize("version", ["1.0", "1.7", "1"])
def test_another_minor_version_is_taken(sources, version):
    assert sources.heard(ping(version=version), 0)


def test_a_stream_that_is_not_there_is_refused(sources):
    assert code_of(sources, 0, streams=["cam1", "cam9"]) == "unknown-stream"


def test_a_refused_source_is_not_known(sources):
    code_of(sources, 0, version="2.0")
    assert sources.table(0) == {}


# Two instances of one name --------------------------------------------------------------------------


def test_the_name_of_a_live_instance_is_taken(sources):
    sources.heard(ping(), 0)
    assert code_of(sources, LEASE_NS - 1, instance="i2") == "name-taken"


def test_the_name_is_free_when_the_lease_ends(sources):
    sources.heard(ping(), 0)
    sources.expire(LEASE_NS)
    assert sources.heard(ping(instance="i2"), LEASE_NS) == [Up(ping(instance="i2"))]


def test_the_name_is_free_at_once_after_bye(sources):
    sources.heard(ping(), 0)
    sources.leave("face", "i1")
    assert sources.heard(ping(instance="i2"), 1)


def test_a_ping_of_a_second_live_instance_changes_nothing(sources):
    sources.heard(ping(), 0)
    with pytest.raises(CommandError, match="another live instance"):
        sources.heard(ping(instance="i2", state="stopping"), 1)
    assert state_of(sources) == "ready"


def test_a_ping_of_a_second_instance_does_not_renew_the_firsts_lease(sources):
    sources.heard(ping(), 0)
    with pytest.raises(CommandError):
        sources.heard(ping(instance="i2"), LEASE_NS - 1)
    assert sources.expire(LEASE_NS)


def test_messages_of_the_second_instance_are_not_accepted(sources):
    sources.heard(ping(), 0)
    assert (sources.accepts("face", "i1"), sources.accepts("face", "i2")) == (True, False)


def test_messages_of_an_unknown_source_are_accepted(sources):
    assert sources.accepts("face", "i1")


def test_a_bye_of_another_instance_changes_nothing(sources):
    sources.heard(ping(), 0)
    assert sources.leave("face", "i2") == []
    assert state_of(sources) == "ready"


def test_a_new_instance_ends_the_old_one_even_where_nobody_had_looked_at_the_lease(sources):
    sources.heard(ping(streams=["cam1"]), 0)
    changes = sources.heard(ping(instance="i2", streams=["cam2"]), LEASE_NS)
    assert [type(change) for change in changes] == [Down, Up]
    assert changes[0].streams == ("cam1",)


# Leases ---------------------------------------------------------------------------------------------


def test_a_lease_ends_after_three_missed_pings(sources):
    sources.heard(ping(), 0)
    assert sources.expire(LEASE_NS - 1) == []
    assert sources.expire(LEASE_NS) == [Down("face", ("cam1",), "silent for 1.5 s")]


def test_an_ended_lease_is_told_once(sources):
    sources.heard(ping(), 0)
    sources.expire(LEASE_NS)
    assert sources.expire(LEASE_NS + 1) == []


def test_each_ping_renews_the_lease(sources):
    sources.heard(ping(), 0)
    sources.heard(ping(), S)
    assert sources.expire(LEASE_NS) == []
    assert sources.expire(S + LEASE_NS)


def test_any_message_of_the_instance_renews_the_lease(sources):
    sources.heard(ping(), 0)
    sources.account("face", "cam1", 0, S)
    assert sources.expire(LEASE_NS) == []


def test_a_ping_brings_a_source_back_up(sources):
    sources.heard(ping(), 0)
    sources.expire(LEASE_NS)
    assert sources.heard(ping(), 2 * LEASE_NS) == [Up(ping())]


def test_any_message_of_the_instance_brings_a_source_back_up(sources):
    sources.heard(ping(), 0)
    sources.expire(LEASE_NS)
    assert sources.account("face", "cam1", 0, 2 * LEASE_NS) == [Up(ping())]


def test_the_next_deadline_is_the_end_of_the_first_lease(sources):
    assert sources.next_deadline() is None
    sources.heard(ping(), 5)
    sources.heard(ping(source="text"), 3)
    assert sources.next_deadline() == 3 + LEASE_NS


def test_a_source_that_is_down_has_no_deadline(sources):
    sources.heard(ping(), 0)
    sources.expire(LEASE_NS)
    assert sources.next_deadline() is None


# States ---------------------------------------------------------------------------------------------


def test_starting_is_not_up(sources):
    assert sources.heard(ping(state="starting"), 0) == []
    assert state_of(sources) == "starting"


def test_a_source_is_up_when_its_start_is_over(sources):
    sources.heard(ping(state="starting"), 0)
    assert sources.heard(ping(), 1) == [Up(ping())]


@pytest.mark.parametrize("state", ["ready", "busy", "degraded"])
def test_a_source_at_work_is_up(sources, state):
    assert sources.heard(ping(state=state), 0)


def test_stopping_takes_a_source_down(sources):
    sources.heard(ping(), 0)
    assert sources.heard(ping(state="stopping"), 1) == [Down("face", ("cam1",), "stopping")]


def test_bye_takes_a_source_down(sources):
    sources.heard(ping(), 0)
    assert sources.leave("face", "i1") == [Down("face", ("cam1",), "left")]
    assert sources.table(0) == {}


def test_a_hang_takes_a_source_down(sources):
    sources.heard(ping(), 0)
    assert sources.heard(ping(busy_ns=2 * S), 1) == []
    assert sources.heard(ping(busy_ns=2 * S + 1), 2) == [Down("face", ("cam1",), "one inference has run for 2.0 s")]


def test_a_source_comes_back_when_its_hang_is_over(sources):
    sources.heard(ping(busy_ns=5 * S), 0)
    assert sources.heard(ping(busy_ns=0), 1) == [Up(ping())]


def test_without_a_limit_of_its_own_a_hang_is_ten_seconds(sources):
    assert sources.heard(ping(source="text", busy_ns=10 * S), 0)
    assert sources.heard(ping(source="text", busy_ns=10 * S + 1), 1)


def test_the_table_says_how_each_source_is(sources):
    sources.heard(ping(expected=False), 0)
    assert sources.table(250_000_000) == {
        "face": {"state": "ready", "streams": ["cam1"], "expected": False, "silent_ms": 250, "lost": 0}
    }


def test_the_table_calls_a_silent_source_down(sources):
    sources.heard(ping(), 0)
    sources.expire(LEASE_NS)
    assert state_of(sources, LEASE_NS) == "down"


# Losses ---------------------------------------------------------------------------------------------


@pytest.fixture
def counted(sources):
    """A registered source; gives each sequence number to `account`, and returns how many are lost by then."""
    sources.heard(ping(), 0)

    def counted(*numbers, stream="cam1"):
        for seq in numbers:
            sources.account("face", stream, seq, 0)
        return sources.lost["face"]

    return counted


def test_numbers_in_a_row_lose_nothing(counted):
    assert counted(0, 1, 2, 3) == 0


def test_a_jump_forward_counts_what_was_lost(counted):
    assert counted(0, 1, 5, 6, 8) == 4


def test_what_came_before_fusion_heard_of_the_source_is_not_counted(sources):
    sources.heard(ping(sent={"cam1": 100}), 0)
    sources.account("face", "cam1", 100, 0)
    assert sources.lost["face"] == 0


def test_the_loss_of_the_first_messages_is_counted(counted):
    assert counted(7) == 7


def test_one_source_too_many_is_refused_while_the_others_live(sources):
    for n in range(MAX_SOURCES):
        sources.heard(ping(source=f"s{n}"), 0)
    with pytest.raises(CommandError, match="64 sources"):
        sources.heard(ping(source="late"), 0)


def test_a_source_that_is_down_makes_room(sources):
    for n in range(MAX_SOURCES):
        sources.heard(ping(source=f"s{n}"), 0)
    sources.expire(LEASE_NS)
    sources.heard(ping(source="late"), LEASE_NS)
    assert state_of(sources, LEASE_NS, "late") == "ready"


def test_messages_of_sources_that_never_registered_share_one_counter(sources):
    assert sources.counted_name("stranger") == "unregistered"


def test_a_number_that_comes_twice_loses_nothing(counted):
    assert counted(0, 1, 1, 2) == 0


def test_a_number_from_before_a_jump_does_not_turn_the_clock_back(counted):
    assert counted(0, 5, 2, 6) == 4


def test_each_stream_has_its_own_numbers(counted):
    counted(0, 1, 2)
    assert counted(0, 1, stream="cam2") == 0


def test_a_lost_tail_is_seen_by_the_next_ping(sources, counted):
    counted(0, 1)
    sources.heard(ping(sent={"cam1": 5}), 1)
    assert sources.lost["face"] == 3


def test_a_lost_tail_is_counted_once(sources, counted):
    counted(0, 1)
    sources.heard(ping(sent={"cam1": 5}), 1)
    sources.heard(ping(sent={"cam1": 5}), 2)
    assert counted(5) == 3


def test_a_tail_that_has_come_is_not_lost(sources, counted):
    counted(0, 1, 2)
    sources.heard(ping(sent={"cam1": 3}), 1)
    assert sources.lost["face"] == 0


def test_the_first_ping_says_from_where_to_count(sources):
    sources.heard(ping(sent={"cam1": 7}), 0)
    sources.account("face", "cam1", 9, 0)
    assert sources.lost["face"] == 2


def test_a_new_instance_counts_anew(sources, counted):
    counted(0, 1, 2)
    sources.leave("face", "i1")
    sources.heard(ping(instance="i2"), 1)
    assert counted(0, 1) == 0


def test_losses_of_former_instances_stay_counted(sources, counted):
    counted(0, 2)
    sources.leave("face", "i1")
    sources.heard(ping(instance="i2"), 1)
    assert counted(0) == 1


def test_numbers_of_an_unknown_source_are_not_kept(sources):
    sources.account("face", "cam1", 0, 0)
    sources.account("face", "cam1", 9, 0)
    assert sources.lost["face"] == 0


def test_absurd_numbers_never_add_up_to_more_than_the_wire_can_say(sources, counted):
    counted(0, 2**63 - 1)
    counted(0, 2**63 - 1, stream="cam2")
    assert sources.lost["face"] == 2**63 - 1


# Rates ----------------------------------------------------------------------------------------------


def admitted(sources, source, times, now):
    return sum(sources.admits(source, now) for _ in range(times))


def test_a_source_may_send_a_seconds_messages_of_each_of_its_streams_at_once(sources):
    sources.heard(ping(streams=["cam1", "cam2"]), 0)
    assert admitted(sources, "face", 1000, 0) == 200


def test_a_source_that_keeps_to_its_rate_is_always_admitted(sources):
    sources.heard(ping(streams=["cam1"]), 0)
    assert all(sources.admits("face", n * S // 100) for n in range(1000))


def test_a_flood_is_admitted_at_the_rate_and_no_faster(sources):
    sources.heard(ping(streams=["cam1"]), 0)
    assert admitted(sources, "face", 1000, 0) == 100
    assert admitted(sources, "face", 1000, S // 2) == 50


def test_one_source_that_floods_takes_nothing_from_another(sources):
    sources.heard(ping(streams=["cam1"]), 0)
    sources.heard(ping(source="text", streams=["cam1"]), 0)
    admitted(sources, "face", 1000, 0)
    assert sources.admits("text", 0)


def test_sources_that_never_registered_share_one_rate(sources):
    assert admitted(sources, "x", 60, S) + admitted(sources, "y", 60, S) == 100


def test_of_a_skipped_run_those_frames_count_that_the_source_looks_at(sources):
    sources.heard(ping(stride=3), 0)
    run = Skip(
        source="face", instance="i1", seq=0, stream="cam1", epoch=1, first_frame_id=3, last_frame_id=9,
        first_t_ns=0, t_ns=1, reason="gap",
    )  # fmt: skip
    assert sources.frames_in(run) == 3


def test_a_source_may_give_few_signs_of_life_a_second_and_no_flood_of_them(sources):
    sources.heard(ping(), 0)
    assert sum(sources.admits_sign("face", S) for _ in range(1000)) == SIGNS_PER_S


def test_signs_of_all_sources_that_are_not_known_share_one_rate(sources):
    assert sum(sources.admits_sign(f"s{n}", S) for n in range(1000)) == NEW_SIGNS_PER_S


def test_a_skip_costs_as_much_as_the_frames_it_is_about(sources):
    sources.heard(ping(streams=["cam1"]), 0)
    assert sources.admits("face", 0, 90)
    assert not sources.admits("face", 0, 11)
    assert sources.admits("face", 0, 10)


# Registrations that cannot be -----------------------------------------------------------------------


@pytest.mark.parametrize("streams", [[], ["cam1", "cam1"]])
def test_each_stream_must_be_named_once_and_at_least_one(sources, streams):
    with pytest.raises(CommandError) as caught:
        sources.heard(ping(streams=streams), 0)
    assert caught.value.code == "malformed"
    assert sources.table(0) == {}


@pytest.mark.parametrize(
    "fields", [{"streams": ["cam2"]}, {"stride": 2}, {"stride": 2, "phase": 1}, {"ordered": False}, {"expected": False}]
)
def test_an_instance_cannot_change_what_it_is(sources, fields):
    sources.heard(ping(streams=["cam1"]), 0)
    with pytest.raises(CommandError) as caught:
        sources.heard(ping(**{"streams": ["cam1"], **fields}), 1)
    assert caught.value.code == "changed"
    (down,) = sources.expire(LEASE_NS)
    assert down.streams == ("cam1",)


# Names ----------------------------------------------------------------------------------------------


def test_what_comes_after_a_goodbye_is_still_counted_by_the_sources_name(sources):
    sources.heard(ping(), 0)
    sources.leave("face", "i1")
    assert sources.counted_name("face") == "face"


def test_a_configured_source_that_never_came_is_counted_by_its_name():
    assert Sources(["cam1"], {"face": 10 * S}, 1000).counted_name("face") == "face"


def test_names_that_come_and_go_are_not_all_remembered(sources):
    for n in range(10 * MAX_NAMES):
        sources.heard(ping(source=f"s{n}", sent={"cam1": 1}), n)
        sources.account(f"s{n}", "cam1", 9, n)
        sources.leave(f"s{n}", "i1")
    names = {sources.counted_name(f"s{n}") for n in range(10 * MAX_NAMES)}
    assert len(names) == MAX_NAMES  # one of them is `unregistered`, and one name more is the configured source's
    assert len(sources.lost) <= MAX_NAMES

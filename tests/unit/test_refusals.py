"""Their bug is refused, counted by reason, and reported once a second."""

import logging
from collections import Counter

import pytest

from visualpath.runtime.refusals import Refusals


@pytest.fixture
def counters():
    return Counter()


@pytest.fixture
def refusals(counters):
    return Refusals(counters)


def test_each_refusal_is_counted_by_its_reason(refusals, counters):
    for reason in ("a", "b", "a"):
        refusals.add(reason, "detail")
    assert counters == {"a": 2, "b": 1}


def test_a_report_is_one_line_for_each_reason_with_number_and_last_detail(refusals, caplog):
    refusals.add("refused.obs", "first")
    refusals.add("refused.obs", ValueError("last"))
    refusals.add("refused.control", "only")
    refusals.report(0)
    assert caplog.messages == ["refused.obs x 2, last: last", "refused.control x 1, last: only"]


def test_a_report_is_no_longer_than_a_line_whatever_a_peer_has_said(refusals, caplog):
    refusals.add("a", "x" * 1_000_000)
    refusals.report(0)
    assert len(caplog.messages[0]) < 600


def test_a_refusal_is_a_warning(refusals, caplog):
    refusals.add("a", "b")
    refusals.report(0)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


def test_nothing_is_reported_twice(refusals, caplog):
    refusals.add("a", "b")
    refusals.report(0)
    refusals.report(0)
    assert len(caplog.messages) == 1


def test_the_counters_go_on_over_reports(refusals, counters):
    refusals.add("a", "b")
    refusals.report(0)
    refusals.add("a", "b")
    assert counters["a"] == 2


def test_what_is_refused_while_a_report_is_written_is_in_the_next(refusals, caplog):
    class Adds(logging.Filter):
        def filter(self, record):
            refusals.add(f"during-{record.args[0]}", "x")
            return True

    refusals.add("a", "b")
    adds = Adds()
    logging.getLogger("visualpath.runtime.refusals").addFilter(adds)
    try:
        refusals.report(0)
    finally:
        logging.getLogger("visualpath.runtime.refusals").removeFilter(adds)
    refusals.report(0)
    assert [message.split()[0] for message in caplog.messages] == ["a", "during-a"]


def test_without_refusals_nothing_is_logged(refusals, caplog):
    refusals.report(0)
    assert not caplog.messages


def test_a_flood_costs_no_log_line_until_the_report(refusals, caplog):
    for _ in range(10_000):
        refusals.add("a", "b")
    assert not caplog.messages

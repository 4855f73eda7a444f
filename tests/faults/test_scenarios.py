"""A selection of the fault scenarios; `make faults` plays all of them."""

import link_faults
import process_faults
import pytest
from chain import EXEC
from scenario import Scenario, run

QUICK = (
    "killed-fusion",
    "killed-clip",
    "stopped-fusion",
    "memory-clip",
    "files-fusion",
    "restart-clip",
    "outbox-replay",
    "hung-extractor",
    "flooding-extractor",
    "stalled-source",
)
CHOSEN = [each for each in (*process_faults.SCENARIOS, *link_faults.SCENARIOS) if each.name in QUICK]

pytestmark = [
    pytest.mark.skipif(not EXEC.exists(), reason="`make venvs` builds the venv core"),
    pytest.mark.timeout(300),
]


@pytest.mark.parametrize("scenario", CHOSEN, ids=lambda scenario: scenario.name)
def test_the_fault_has_the_outcome_that_it_must_have(scenario):
    assert run(scenario).wrong == []


def test_a_thousand_clients_that_come_and_go_on_each_link_leave_nothing_behind():
    assert run(Scenario("reconnects", "", link_faults.reconnects(1000))).wrong == []

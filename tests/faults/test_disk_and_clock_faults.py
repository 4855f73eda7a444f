"""A selection of the faults of disks and clocks; `make faults` plays them all."""

import clock_faults
import disk_faults
import pytest
from chain import EXEC
from scenario import run

QUICK = ("outbox-full", "ledger-readonly", "clips-inodes", "damaged-ledger-running", "clock-1970")
CHOSEN = [each for each in (*disk_faults.SCENARIOS, *clock_faults.SCENARIOS) if each.name in QUICK]

pytestmark = [
    pytest.mark.skipif(not EXEC.exists(), reason="`make venvs` builds the venv core"),
    pytest.mark.timeout(300),
]


@pytest.mark.parametrize("scenario", CHOSEN, ids=lambda scenario: scenario.name)
def test_the_fault_has_the_outcome_that_it_must_have(scenario):
    if why := scenario.lacking():
        pytest.skip(why)
    assert run(scenario).wrong == []

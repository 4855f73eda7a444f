"""Everything a user can get wrong, as the real command: the words it says, its exit code, and never a traceback.

The cases lie beside the fault scripts, because `show_bad_input.py` prints the same ones for people.
"""

import pytest
import start_orders
from bad_input import CASES, run
from chain import SAMPLE, VENVS, Chain
from garbage import attacks, still_flows, strike

pytestmark = pytest.mark.skipif(
    not (VENVS / "face/bin/python").exists() or not SAMPLE.exists(),
    reason="`make demo` builds the venvs and the sample",
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title.replace(" ", "-"))
def test_bad_input_is_told_in_words_with_its_exit_code_and_no_traceback(case):
    outcome = run(case)
    assert outcome.wrong(case) == [], outcome.output


def test_an_extractor_whose_name_another_instance_has_says_so_and_is_taken_when_that_one_is_gone():
    other = {"source": "quality", "instance": "other", "streams": ["demo"], "state": "ready"}
    with Chain() as chain, start_orders.Processes(chain) as processes:
        processes.start("fusion")
        chain.wait(lambda: chain.status("fusion"), "fusion answers", 10)
        chain.ask("fusion", "register", other)
        processes.start("extractor-quality")
        said = "refused by fusion: another live instance is called quality; asking again"
        chain.wait(lambda: chain.ask("fusion", "register", other) and said in chain.log("extractor-quality"), said, 10)
        chain.wait(lambda: "accepted by fusion" in chain.log("extractor-quality"), "it is accepted", 10)
        assert "Traceback" not in chain.log("extractor-quality")


@pytest.fixture(scope="module")
def attacked():
    """The whole chain, each daemon a process of its own that nobody starts again."""
    with Chain() as chain, start_orders.Processes(chain) as processes:
        for role in chain.roles:
            processes.start(role.daemon)
        chain.wait_for_answers(20)
        chain.wait_for_flow(20)
        yield chain
        assert processes.ended() == []


@pytest.mark.parametrize(
    "attack", list(attacks()), ids=lambda a: f"{a.daemon}-{a.link.name}-{a.kind.replace(' ', '-')}"
)
def test_a_bad_message_is_counted_or_its_sender_cut_off_and_the_daemon_lives(attacked, attack):
    assert strike(attacked, attack) == ""


def test_after_all_bad_messages_the_chain_still_works(attacked):
    assert still_flows(attacked) == ""

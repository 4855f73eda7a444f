"""A short selection of the fault scripts: kills of single daemons and of supervisord, and three start orders."""

import os
import signal

import pytest
import start_orders
from audit import audit, unsettled
from chain import COOLDOWN_S, FRAME, SAMPLE, VENVS, Chain
from kill_rounds import Rounds, quiet_end

PATIENCE_S = 60.0
pytestmark = pytest.mark.skipif(
    not (VENVS / "face/bin/python").exists() or not SAMPLE.exists(),
    reason="`make demo` builds the venvs and the sample",
)

ORDERS = [
    ("clip", "fusion", "extractor-quality", "extractor-face", FRAME),
    (FRAME, "extractor-face", "extractor-quality", "fusion", "clip"),
    ("extractor-face", "clip", FRAME, "extractor-quality", "fusion"),
]


@pytest.fixture(scope="module")
def chain():
    """One chain for all kills, audited by the last test of the module's kills."""
    with Chain() as chain:
        chain.up()
        chain.wait_for_flow(30)
        yield chain


@pytest.fixture(scope="module")
def rounds(chain):
    return Rounds(chain, seed=3)


def play(rounds, victim):
    """One round; fails on anything that it notes as wrong."""
    done = rounds.play(victim)
    assert rounds.wrong == []
    return done


def test_after_a_kill_of_fusion_in_mid_clip_every_trigger_on_its_way_is_saved(chain, rounds):
    chain.await_trigger(30)
    done = play(rounds, "fusion")
    assert set(done.in_flight.values()) <= {"saved"}
    assert done.flows_s < 10


def test_after_a_kill_of_the_clip_daemon_in_mid_clip_the_clip_is_made_from_the_ring(chain, rounds):
    chain.await_trigger(30)
    on_its_way = chain.wait(lambda: unsettled(chain.config), "the trigger is on its way", 5)
    chain.kill("clip")
    chain.wait(lambda: not on_its_way & unsettled(chain.config), "its clip is saved", 20)
    clips = [path for trig_id in on_its_way for path in chain.config.clips_dir.glob(f"*/*_{trig_id}.mp4")]
    assert len(clips) == len(on_its_way)


def test_a_killed_extractor_reports_again_under_its_name(chain, rounds):
    old = chain.status("extractor-face")["pid"]
    play(rounds, "extractor-face")
    assert chain.status("extractor-face")["pid"] != old
    assert chain.status("fusion")["sources"]["face"]["state"] == "ready"


def test_a_kill_of_supervisord_leaves_no_orphans(chain):
    daemons = set(chain.pids()) - {chain.kill("supervisord")}
    chain.wait(lambda: not daemons & set(chain.pids()), "the daemons end with their supervisord", 20)


def test_up_after_a_kill_of_supervisord_starts_one_set(chain):
    chain.up()
    assert sorted(chain.daemon_pids()) == sorted(
        map(chain.pid, [role.daemon for role in chain.roles] + ["supervisord"])
    )
    chain.wait_for_flow(20)


def test_a_second_up_changes_no_process(chain):
    before = set(chain.daemon_pids())
    chain.up()
    assert set(chain.daemon_pids()) == before


def test_a_hung_daemon_that_is_stopped_and_continued_is_one_and_works(chain):
    pid = chain.pid("fusion")
    os.kill(pid, signal.SIGSTOP)
    try:
        chain.wait(lambda: chain.status("fusion") is None, "it does not answer", 5)
    finally:
        os.kill(pid, signal.SIGCONT)
    chain.wait_for_flow(20)
    assert chain.pid("fusion") == pid


def test_after_all_of_this_every_trigger_is_one_clip(chain):
    quiet_end(chain)
    assert chain.pids() == {}
    found = audit(chain.config, COOLDOWN_S)
    assert found.wrong == []
    assert found.triggers == found.saved | set(found.failed)
    assert found.saved


@pytest.mark.parametrize("order", ORDERS, ids=["consumers-first", "producers-first", "mixed"])
def test_the_chain_works_in_any_start_order(order):
    with Chain() as chain:
        done = start_orders.play(chain, order, [0.0] * len(order), limit_s=PATIENCE_S)  # how fast: `make faults`
    assert done.works_s is not None, done.wrong
    assert done.wrong == ""

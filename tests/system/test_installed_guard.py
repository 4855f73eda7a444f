"""What an outsider and an extractor gone bad can do on the machine: nothing that matters."""

from __future__ import annotations

import json

import pytest
from installed import MOODY, RUN_DIR

DENIED = {"EACCES", "EPERM", "EROFS"}
TAKEN = {"EADDRINUSE"}
FACE = "visualpath-extractor@face.service"


def attempts(box, how, user, group, *inside):
    """What the attacker's attempts came to, by what was tried; `inside`: options of nsenter, for a unit's view."""
    sockets = box.run("find", RUN_DIR, "-type", "s").stdout.split()
    attacker = ("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups", "/usr/bin/python3", "-c")
    code = box.path("/srv/attacker.py").read_text()
    return json.loads(box.run("nsenter", *inside, "--", *attacker, code, how, *sockets).stdout)


def told(outcomes):
    return f"{len(outcomes)} attempts: {', '.join(sorted(set(outcomes.values())))}"


@pytest.fixture(scope="module")
def group(chain):
    """Group id of the daemons."""
    return chain.box.run("getent", "group", "visualpath").stdout.split(":")[2]


@pytest.fixture(scope="module")
def extractor(chain):
    """User id of the extractor `face`, which systemd has made up for it."""
    return chain.box.show(FACE)["UID"]


def test_an_outsider_reaches_nothing(chain, observe):
    outcomes = attempts(chain.box, "reach", "nobody", "nogroup")
    observe("nobody: sockets, ring, clips, configuration", told(outcomes))
    assert set(outcomes.values()) <= DENIED, outcomes


def test_the_group_is_what_lets_one_in(chain, group):
    outcomes = attempts(chain.box, "reach", "nobody", group)
    assert {outcome for what, outcome in outcomes.items() if what.startswith("connect")} == {"done"}


def test_an_extractor_cannot_replace_what_is_fusions(chain, extractor, group, observe):
    """By file modes alone: none of the protections of its unit is there."""
    outcomes = attempts(chain.box, "replace", extractor, group)
    observe("an extractor's user: take the place of fusion's sockets", told(outcomes))
    assert set(outcomes.values()) <= DENIED | TAKEN, outcomes


def test_an_extractor_neither_reads_nor_writes_what_daemons_keep(chain, extractor, group, observe):
    outcomes = attempts(chain.box, "spoil", extractor, group, "--mount", "--target", chain.pids()[FACE])
    observe("the same, as its unit sees the machine: ring, clips, state", told(outcomes))
    assert set(outcomes.values()) <= DENIED, outcomes


def test_each_extractor_has_a_user_of_its_own(chain):
    assert len({chain.box.show(unit)["UID"] for unit in (FACE, MOODY)} | {"0"}) == 3


def test_fusion_goes_on_after_the_attack(chain, extractor, group):
    attempts(chain.box, "replace", extractor, group)
    chain.await_flow()

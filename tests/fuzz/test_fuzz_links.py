"""A daemon that is told nonsense on any link answers afterwards, and has not grown: real processes, real sockets."""

from itertools import islice
from random import Random

import pytest
from links import TARGETS
from over_links import check_growth
from worlds import World

MESSAGES = 300
SETTLED = 20
"""Answers after which what was sent before, by another connection, has had its turn."""
KEPT = [(target, rows) for target in TARGETS for rows in target.corpus()]


@pytest.fixture(scope="module")
def world_of():
    """The world of each daemon; it lives as long as the tests of this file, and is never started again."""
    worlds = {}

    def get(daemon):
        if daemon not in worlds:
            worlds[daemon] = World(daemon)
        return worlds[daemon]

    yield get
    for world in worlds.values():
        world.close()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_daemon_that_is_told_nonsense_goes_on_and_does_not_grow(world_of, target):
    world = world_of(target.daemon)
    before = world.vitals()
    sent = target.send(world, list(islice(target.inputs(Random(1)), MESSAGES)))
    assert sent
    check_growth(before, world.vitals(), sent)


@pytest.mark.parametrize(("target", "rows"), KEPT, ids=lambda each: getattr(each, "name", "rows"))
def test_a_daemon_goes_on_after_what_once_killed_one(world_of, target, rows):
    world = world_of(target.daemon)
    target.send(world, rows)
    for _ in range(SETTLED):
        world.status()

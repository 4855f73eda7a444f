"""Whatever comes from outside is used, or refused as documented: some changed inputs for each target, and the corpus.

`make fuzz SECONDS=n` runs the same targets for as long as one likes.
"""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from in_process import no_hang
from targets import CORPUS, TARGETS

KEPT = [(target, path) for target in TARGETS for path in target.corpus()]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@settings(max_examples=100)
@given(seed=st.integers(0, 2**32))
def test_a_changed_input_is_used_or_refused_as_documented(target, seed):
    with no_hang():
        target.run(target.input(Random(seed)))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_seed_is_taken_as_it_is(target):
    for seed in target.seeds:
        target.run(seed)


@pytest.mark.parametrize(("target", "path"), KEPT, ids=lambda each: each.name)
def test_an_input_that_once_did_harm_does_none(target, path):
    with no_hang():
        target.run(path.read_bytes())


def test_the_corpus_is_small():
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 200 << 10

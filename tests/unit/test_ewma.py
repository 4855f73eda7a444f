"""Running mean and variance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemoment.fusion.ewma import EVERY_NS, LEAST_SD, Ewma

scores = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def learned(values, alpha=0.1, every_ns=EVERY_NS):
    ewma = Ewma(alpha)
    for value in values:
        ewma.learn(value, every_ns)
    return ewma


def test_before_the_first_value_nothing_is_usual():
    assert Ewma(0.1).z(0.5) is None


@given(scores)
def test_mean_and_variance_are_those_of_the_weights(values):
    """Weights 0.1 * 0.9**age, and for the first value what is left of 1."""
    n = len(values) - 1
    weights = [0.9**n, *(0.1 * 0.9 ** (n - i) for i in range(1, n + 1))]
    mean = sum(w * v for w, v in zip(weights, values, strict=True))
    variance = sum(w * (v - mean) ** 2 for w, v in zip(weights, values, strict=True))
    ewma = learned(values)
    assert (ewma.mean, ewma.variance) == (pytest.approx(mean), pytest.approx(variance, abs=1e-12))


def test_what_has_never_moved_is_not_taken_for_exact():
    assert learned([0.2] * 10).z(0.3) == pytest.approx(0.1 / LEAST_SD)


@pytest.mark.parametrize("fps", [5, 30, 60])
def test_the_mean_follows_as_fast_at_every_frame_rate(fps):
    """A second after a step from 0 to 1, a value every 100 ms has left 0.9**10 of it."""
    values = [0.0] + [1.0] * fps
    assert learned(values, every_ns=1_000_000_000 // fps).mean == pytest.approx(1 - 0.9**10, abs=1e-6)

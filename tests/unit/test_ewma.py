"""Running mean and variance."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facemoment.fusion.ewma import LEAST_SD, Ewma

scores = st.lists(st.floats(0, 1), min_size=1, max_size=40)


def learned(values, alpha=0.1):
    ewma = Ewma(alpha)
    for value in values:
        ewma.learn(value)
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

"""What a value usually is: its exponentially weighted running mean and variance.

After T. Finch, "Incremental calculation of weighted mean and variance", 2009, section 9.
"""

from __future__ import annotations

LEAST_SD = 0.05
"""A score that has hardly moved yet is not taken for exact: without this, any change would be a spike."""


class Ewma:
    """Running mean and variance of a score in [0, 1].

    Args:
        alpha: weight of the newest value, above 0, up to 1.

    Attributes:
        mean: None before the first value.
        variance: around it.
    """

    def __init__(self, alpha: float) -> None:
        self._alpha = alpha
        self.mean: float | None = None
        self.variance = 0.0

    def z(self, value: float) -> float | None:
        """How many standard deviations a value lies above the mean; None: there is none yet."""
        if self.mean is None:
            return None
        return (value - self.mean) / max(float(self.variance**0.5), LEAST_SD)

    def learn(self, value: float) -> None:
        """Take a value in."""
        if self.mean is None:
            self.mean = value
            return
        step = value - self.mean
        self.mean += self._alpha * step
        self.variance = (1 - self._alpha) * (self.variance + self._alpha * step * step)

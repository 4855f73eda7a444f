"""What a value usually is: its exponentially weighted running mean and variance, over event time.

After T. Finch, "Incremental calculation of weighted mean and variance", 2009, section 9. The weight of a value grows
with the time since the one before: a mean over so many values would be one over 0.2 s at 60 frames per second, and take
a smile, which comes in about half a second, for what is usual before it is there.
"""

from __future__ import annotations

EVERY_NS = 100_000_000
"""`alpha` is the weight of values that come every 100 ms."""
LEAST_SD = 0.05
"""A score that has hardly moved yet is not taken for exact: without this, any change would be a spike."""


class Ewma:
    """Running mean and variance of a score in [0, 1].

    Args:
        alpha: weight of the newest value, above 0, up to 1, if it comes `EVERY_NS` after the one before.

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

    def learn(self, value: float, elapsed_ns: int) -> None:
        """Take a value in, so long after the one before (event time)."""
        if self.mean is None:
            self.mean = value
            return
        weight = 1 - (1 - self._alpha) ** (elapsed_ns / EVERY_NS)
        step = value - self.mean
        self.mean += weight * step
        self.variance = (1 - weight) * (self.variance + weight * step * step)

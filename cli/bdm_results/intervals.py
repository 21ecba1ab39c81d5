"""Means with their t intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bdm_results.distributions import t_quantile

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: the mean.
        deviation: sample standard deviation; None for fewer than two.
        n: number of seeds.
        confidence: probability that the interval covers the true mean, if the seeds' values are normal.
    """

    mean: float
    deviation: float | None
    n: int
    confidence: float = CONFIDENCE

    @property
    def half_width(self) -> float | None:
        """Half the width of the two-sided t interval, t(n - 1) s / sqrt(n); None for fewer than two seeds."""
        if self.deviation is None or self.n < 2:
            return None
        return t_quantile((1 + self.confidence) / 2, self.n - 1) * self.deviation / math.sqrt(self.n)

    @property
    def interval(self) -> tuple[float, float] | None:
        """The ends of the interval."""
        half = self.half_width
        return None if half is None else (self.mean - half, self.mean + half)

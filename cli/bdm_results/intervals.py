"""Means with their t intervals. Plain Python, so that a table needs no numerical library."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

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


@functools.cache
def t_quantile(probability: float, freedom: int) -> float:
    """The quantile of Student's t distribution, by bisection of its distribution function.

    Args:
        probability: in (0, 1).
        freedom: degrees of freedom, at least 1.

    >>> round(t_quantile(0.975, 4), 4), round(t_quantile(0.975, 1), 4), t_quantile(0.5, 3)
    (2.7764, 12.7062, 0.0)
    """
    if probability == 0.5:
        return 0.0
    if probability < 0.5:
        return -t_quantile(1 - probability, freedom)
    low, high = 0.0, 1.0
    while t_distribution(high, freedom) < probability:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if t_distribution(middle, freedom) < probability else (low, middle)
    return (low + high) / 2


def t_distribution(value: float, freedom: int) -> float:
    """P(T <= value), for a value of at least 0: 1 - I_x(f/2, 1/2) / 2 with x = f / (f + t^2)."""
    return 1 - _incomplete_beta(freedom / 2, 0.5, freedom / (freedom + value * value)) / 2


def _incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b) by its continued fraction (Abramowitz and Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):
        return 1 - _incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    tiny, fraction, numerator, denominator = 1e-300, 1.0, 1.0, 0.0
    for step in range(1000):  # Lentz's method
        half = step // 2
        if step == 0:
            term = 1.0
        elif step % 2 == 0:
            term = half * (b - half) * x / ((a + step - 1) * (a + step))
        else:
            term = -(a + half) * (a + b + half) * x / ((a + step - 1) * (a + step))
        denominator = 1 / (1 + term * denominator or tiny)
        numerator = 1 + term / numerator or tiny
        fraction *= numerator * denominator
        if abs(numerator * denominator - 1) < 1e-15:
            break
    return front * (fraction - 1)

"""The distributions that intervals and tests need, in plain Python: a table must not wait for a numerical library.

Each is compared with SciPy in the tests.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

STEP, REACH = 0.05, 8.5
"""Of the integral over the normal density: the trapezoidal rule has an error below 1e-12 with them."""
MOST_EXACT = 200
"""Ranks of which all sums are counted; of more the normal approximation is taken."""


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
    return 1 - incomplete_beta(freedom / 2, 0.5, freedom / (freedom + value * value)) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b) by its continued fraction (Abramowitz and Stegun 26.5.8)."""
    if x <= 0 or x >= 1:
        return min(max(x, 0.0), 1.0)
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
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


def f_survival(value: float, numerator: int, denominator: int) -> float:
    """P(F > value) with these degrees of freedom.

    >>> round(f_survival(2.8661, 4, 20), 4)
    0.05
    """
    return incomplete_beta(denominator / 2, numerator / 2, denominator / (denominator + numerator * value))


def normal(value: float) -> float:
    """P(Z <= value) of the standard normal distribution."""
    return math.erfc(-value / math.sqrt(2)) / 2


def range_distribution(value: float, groups: int) -> float:
    """P(R <= value) for the range R of ``groups`` standard normal variables.

    It is the integral of k phi(z) (Phi(z + value) - Phi(z))^(k - 1) over the smallest of them, z.
    """
    places = [STEP * place - REACH for place in range(int(2 * REACH / STEP) + 1)]
    density = [math.exp(-place * place / 2) for place in places]
    inner = [(normal(place + value) - normal(place)) ** (groups - 1) for place in places]
    return groups * STEP / math.sqrt(2 * math.pi) * math.fsum(map(float.__mul__, density, inner))


@functools.cache
def range_quantile(probability: float, groups: int) -> float:
    """The quantile of the studentized range with infinitely many degrees of freedom, by bisection.

    >>> round(range_quantile(0.95, 3), 3)
    3.314
    """
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if range_distribution(middle, groups) < probability else (low, middle)
    return (low + high) / 2


def signed_rank_p(ranks: Sequence[float], statistic: float) -> float:
    """The two-sided p-value of Wilcoxon's signed-rank test, also with ties.

    Every pattern of signs is equally likely under the null hypothesis. The number of patterns with each sum is the
    product of (1 + x^rank) over the ranks, kept as the digits of one large integer.

    Args:
        ranks: of the absolute differences; equal ones share the mean of their ranks.
        statistic: the smaller sum of ranks.

    >>> signed_rank_p([1, 2, 3, 4, 5], 0), signed_rank_p([1.5, 1.5, 3], 3)
    (0.0625, 1.0)
    """
    count = len(ranks)
    if count > MOST_EXACT:
        variance = math.fsum(rank * rank for rank in ranks) / 4
        return min(1.0, 2 * normal((statistic - math.fsum(ranks) / 2) / math.sqrt(variance)))
    bits, ways = count + 1, 1
    for rank in ranks:
        ways += ways << (round(2 * rank) * bits)
    at_most = ways & ((1 << (bits * (round(2 * statistic) + 1))) - 1)
    patterns = at_most % ((1 << bits) - 1)  # a number modulo its base - 1 is the sum of its digits
    return min(1.0, patterns / (1 << (count - 1)))

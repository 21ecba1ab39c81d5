"""Shares of hits, areas under a curve and p-values, with their uncertainty. No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, variance

from scipy.special import betaincinv, smirnov


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error and a confidence interval; the last two are None if undefined."""

    value: float
    count: int
    stderr: float | None
    low: float | None
    high: float | None


def rate(hits: int, count: int, confidence: float = 0.95) -> Estimate:
    """A share ``hits / count`` (count >= 1) with Wilson's interval and the deviation of Jeffreys' posterior.

    Unlike the usual normal approximation, both are sound at 0 and 1.

    >>> found = rate(9, 10)
    >>> found.value, found.count, round(found.low, 3), round(found.high, 3)
    (0.9, 10, 0.596, 0.982)
    """
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share = hits / count
    shrink = 1 + z * z / count
    centre = (share + z * z / (2 * count)) / shrink
    half = z / shrink * math.sqrt(share * (1 - share) / count + (z / (2 * count)) ** 2)
    a, b = hits + 0.5, count - hits + 0.5
    stderr = math.sqrt(a * b / (a + b + 1)) / (a + b)
    return Estimate(share, count, stderr, max(0.0, centre - half), min(1.0, centre + half))


def exact_interval(hits: int, count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The interval of Clopper and Pearson (1934) for a share: never too narrow, and never a point.

    Args:
        hits: 0 to ``count``.
        count: at least 1.
        confidence: in (0, 1).

    >>> low, high = exact_interval(29, 29)
    >>> round(low, 3), high
    (0.881, 1.0)
    """
    tail = (1 - confidence) / 2
    low = float(betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, count - hits, 1 - tail)) if hits < count else 1.0
    return low, high


def area_interval(area: float, positives: int, negatives: int, confidence: float = 0.95) -> tuple[float, float]:
    """An interval for an area under the ROC curve that is no point at 0 and 1 (Newcombe 2006, method 5).

    It holds the areas A for which ``|area - A| <= z s(A)``, with Hanley and McNeil's variance ``s(A)**2`` at A instead
    of at the estimate, as Wilson does for a share: for one positive and one negative it is his interval.

    Args:
        area: the estimate, in [0, 1].
        positives: how many scores of positives there are, at least 1.
        negatives: likewise of negatives.
        confidence: in (0, 1).

    >>> low, high = area_interval(1.0, 29, 29)
    >>> 0.9 < low < 1, high
    (True, 1.0)
    """
    from scipy.optimize import brentq  # takes long

    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    more = (positives + negatives) / 2 - 1

    def excess(other: float) -> float:
        spread = 1 + more * (1 - other) / (2 - other) + more * other / (1 + other)
        return (area - other) ** 2 - z * z * other * (1 - other) * spread / (positives * negatives)

    nudge = 1e-9  # at 0 and 1 the excess is 0 as well
    low = float(brentq(excess, nudge, area - nudge)) if area > 2 * nudge and excess(nudge) > 0 else 0.0
    high = float(brentq(excess, area + nudge, 1 - nudge)) if area < 1 - 2 * nudge and excess(1 - nudge) > 0 else 1.0
    return low, high


def too_small(p_values: Sequence[float]) -> float:
    """Whether p-values of clean material are smaller than uniform ones: the p-value of that, in [0, 1].

    The test of Kolmogorov and Smirnov with the one-sided D+ = max_i (i / n - p_(i)), exact for uniform p-values, and
    on the safe side for larger ones, which are no fault.

    Args:
        p_values: at least one.

    >>> too_small([0.1, 0.3, 0.5, 0.7, 0.9]) > 0.5, too_small([0.001, 0.002, 0.003, 0.004, 0.005]) < 0.001
    (True, True)
    """
    ordered, count = sorted(p_values), len(p_values)
    largest = max((rank / count - value for rank, value in enumerate(ordered, start=1)), default=0.0)
    return float(smirnov(count, max(0.0, largest)))


def area_under_curve(positive: Sequence[float], negative: Sequence[float], confidence: float) -> Estimate:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting one half.

    The variance is the one of DeLong et al. 1988; the interval is normal, cut to [0, 1]. Where that variance is 0, as
    under perfect separation, it says nothing: there is no standard error then, and :func:`area_interval` is taken.

    Args:
        positive: scores of the triggered inputs, at least one.
        negative: scores of the clean inputs, at least one.
        confidence: of the interval, in (0, 1).

    >>> area_under_curve([0.9, 0.8], [0.1, 0.8], 0.95).value
    0.875
    >>> found = area_under_curve([2, 3], [0, 1], 0.95)
    >>> found.value, found.stderr, found.low < 0.5, found.high
    (1.0, None, True, 1.0)
    """
    above = [_placement(score, negative) for score in positive]
    below = [1 - _placement(score, positive) for score in negative]
    area = sum(above) / len(above)
    count = len(positive) + len(negative)
    if min(len(positive), len(negative)) < 2:
        return Estimate(area, count, None, None, None)
    stderr = math.sqrt(variance(above) / len(above) + variance(below) / len(below))
    if stderr == 0:
        return Estimate(area, count, None, *area_interval(area, len(positive), len(negative), confidence))
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * stderr
    return Estimate(area, count, stderr, max(0.0, area - half), min(1.0, area + half))


def _placement(score: float, others: Sequence[float]) -> float:
    """Share of ``others`` below ``score``, equal ones counting one half."""
    return sum((score > other) + 0.5 * (score == other) for other in others) / len(others)

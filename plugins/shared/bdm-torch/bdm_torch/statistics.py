"""Rates with their uncertainty, for metrics: shares of hits and areas under a curve, in plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, variance


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


def area_under_curve(positive: Sequence[float], negative: Sequence[float], confidence: float) -> Estimate:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting one half.

    The variance is the one of DeLong et al. 1988; the interval is normal, cut to [0, 1].

    Args:
        positive: scores of the triggered inputs, at least one.
        negative: scores of the clean inputs, at least one.
        confidence: of the interval, in (0, 1).

    >>> area_under_curve([0.9, 0.8], [0.1, 0.8], 0.95).value
    0.875
    """
    above = [_placement(score, negative) for score in positive]
    below = [1 - _placement(score, positive) for score in negative]
    area = sum(above) / len(above)
    count = len(positive) + len(negative)
    if min(len(positive), len(negative)) < 2:
        return Estimate(area, count, None, None, None)
    stderr = math.sqrt(variance(above) / len(above) + variance(below) / len(below))
    half = NormalDist().inv_cdf(0.5 + confidence / 2) * stderr
    return Estimate(area, count, stderr, max(0.0, area - half), min(1.0, area + half))


def _placement(score: float, others: Sequence[float]) -> float:
    """Share of ``others`` below ``score``, equal ones counting one half."""
    return sum((score > other) + 0.5 * (score == other) for other in others) / len(others)

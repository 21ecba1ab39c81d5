"""Paired comparison of two defenses: Wilcoxon's signed-rank test, p-values corrected by Holm's method.

J. Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006), section 3.1; S. Holm, A Simple
Sequentially Rejective Multiple Test Procedure, Scandinavian Journal of Statistics 6 (1979).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from bdm_core.errors import UserError
from bdm_results.columns import Pairs
from bdm_results.distributions import signed_rank_p
from bdm_results.intervals import Estimate
from bdm_results.results import MetricFacts, Results, Selection
from bdm_results.treatments import ranks_of, rounded, treatments


@dataclass(frozen=True)
class Comparison:
    """Two defenses by one metric.

    Attributes:
        metric: the metric.
        first: mean of the first defense over the pairs.
        second: mean of the second one.
        difference: second minus first, mean over the pairs with its t interval.
        pairs: how many pairs.
        statistic: the smaller sum of ranks, W; None where all differences are 0.
        p_value: two-sided; 1 where all differences are 0.
        p_corrected: by Holm's method over all comparisons of the table.
    """

    metric: MetricFacts
    first: float
    second: float
    difference: Estimate
    pairs: int
    statistic: float | None
    p_value: float
    p_corrected: float

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that so many pairs can give, 2 / 2^pairs."""
        return float(2.0 ** (1 - self.pairs))


def compare(results: Results, names: Sequence[str], selection: Selection, pairs: Pairs) -> list[Comparison]:
    """Compare two defenses by every metric of a selection that has a better direction.

    Args:
        results: where from.
        names: both defenses, as the column ``defense`` has them.
        selection: which numbers; without a row the model as the defense leaves it (``final``).
        pairs: what one pair is.

    Raises:
        UserError: not two defenses, or they share no setting; see :func:`bdm_results.treatments.treatments`.
    """
    if len(names) != 2 or names[0] == names[1]:
        raise UserError("a comparison is of two defenses: give their names with a comma, e.g. elijah,terd")
    found = []
    for table in treatments(results, "defense", selection, names):
        by_place = table.over_seeds(names) if pairs is Pairs.settings else table.by_seed(names)
        values = list(by_place.values())
        if values:
            found.append((table.metric, values))
    if not found:
        raise UserError(
            f"{names[0]} and {names[1]} share no setting: nothing ran with both on the same attack and seed"
        )
    tests = [wilcoxon([rounded(second - first) for first, second in values]) for _, values in found]
    corrected = holm([p for _, p in tests])
    return [
        Comparison(
            metric=metric,
            first=statistics.fmean(first for first, _ in values),
            second=statistics.fmean(second for _, second in values),
            difference=estimate([second - first for first, second in values], selection.confidence),
            pairs=len(values),
            statistic=statistic,
            p_value=p,
            p_corrected=better,
        )
        for (metric, values), (statistic, p), better in zip(found, tests, corrected, strict=True)
    ]


def wilcoxon(differences: Sequence[float]) -> tuple[float | None, float]:
    """The statistic W and the two-sided p-value of the signed-rank test; differences of 0 are left out.

    The p-value is exact for up to 200 differences, also with ties.
    """
    nonzero = [value for value in differences if value != 0]
    if not nonzero:
        return None, 1.0
    ranks = ranks_of([abs(value) for value in nonzero])
    positive = math.fsum(rank for rank, value in zip(ranks, nonzero, strict=True) if value > 0)
    statistic = min(positive, math.fsum(ranks) - positive)
    return statistic, signed_rank_p(ranks, statistic)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the i-th smallest of m times m - i + 1, never falling, at most 1.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - rank)))
        corrected[place] = largest
    return corrected


def estimate(values: Sequence[float], confidence: float) -> Estimate:
    """Mean and deviation of some values."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Estimate(statistics.fmean(values), deviation, len(values), confidence)

"""Ranks over settings: Friedman's test, and Nemenyi's critical difference.

J. Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7 (2006), section 3.2: the test with
Iman and Davenport's correction, and CD = q sqrt(k (k + 1) / (6 N)), where q is the quantile of the studentized range
for k groups and infinitely many degrees of freedom, divided by sqrt(2).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bdm_core.errors import UserError
from bdm_results.distributions import f_survival, range_quantile
from bdm_results.results import MetricFacts, Results, Selection
from bdm_results.treatments import names_of, ranks_of, treatments


@dataclass(frozen=True)
class Ranking:
    """Defenses (or attacks) by one metric.

    Attributes:
        metric: the metric.
        ranks: name -> mean rank over the settings, 1 the best; best first. Equal values share the mean of their ranks.
        means: name -> mean of the metric over the settings.
        settings: how many settings, N; each is a mean over the seeds that all have.
        left_out: how many settings lack one of the names.
        chi_square: Friedman's statistic, with k - 1 degrees of freedom.
        p_value: of Iman and Davenport's F, (N - 1) chi^2 / (N (k - 1) - chi^2).
        critical_difference: mean ranks that differ by less are not told apart.
        alpha: level of the critical difference.
    """

    metric: MetricFacts
    ranks: dict[str, float]
    means: dict[str, float]
    settings: int
    left_out: int
    chi_square: float
    p_value: float
    critical_difference: float
    alpha: float

    @property
    def groups(self) -> list[list[str]]:
        """Largest sets of at least two names, best first, whose mean ranks are not told apart."""
        names = list(self.ranks)
        spans: list[tuple[int, int]] = []
        for start, name in enumerate(names):
            near = [other for other in names[start:] if self.ranks[other] - self.ranks[name] < self.critical_difference]
            end = start + len(near)
            if len(near) > 1 and (not spans or end > spans[-1][1]):
                spans.append((start, end))
        return [names[start:end] for start, end in spans]


def rank(results: Results, column: str, selection: Selection) -> list[Ranking]:
    """Rank all defenses (or attacks) by every metric of a selection that has a better direction.

    Args:
        results: where from.
        column: ``defense`` or ``attack``.
        selection: which numbers; without a row the model as the defense leaves it (``final``).

    Raises:
        UserError: for no metric are there three names and two settings that have them all.
    """
    found, reasons = [], []
    for table in treatments(results, column, selection):
        names = names_of(table)
        rows = table.over_seeds(names)
        settings = {block for block, _ in table.values}
        if len(names) < 3:
            reasons.append(f"{table.metric.label}: {len(names)} {column}s, and ranks need three (two: --compare)")
        elif len(rows) < 2:
            reasons.append(
                f"{table.metric.label}: {len(rows)} settings have all {len(names)} {column}s, two are needed"
            )
        else:
            left_out = len(settings) - len(rows)
            found.append(_ranking(table.metric, names, list(rows.values()), left_out, 1 - selection.confidence))
    if not found:
        raise UserError(f"no ranks: {'; '.join(reasons[:2])}; --where or --metric chooses what is ranked")
    return found


def _ranking(
    metric: MetricFacts, names: Sequence[str], rows: Sequence[Sequence[float]], left_out: int, alpha: float
) -> Ranking:
    ranked = [ranks_of(row, largest_first=bool(metric.higher_is_better)) for row in rows]
    mean = {name: math.fsum(row[place] for row in ranked) / len(rows) for place, name in enumerate(names)}
    chi_square, p_value = friedman(rows)
    return Ranking(
        metric=metric,
        ranks=dict(sorted(mean.items(), key=lambda item: (item[1], item[0]))),
        means={name: math.fsum(row[place] for row in rows) / len(rows) for place, name in enumerate(names)},
        settings=len(rows),
        left_out=left_out,
        chi_square=chi_square,
        p_value=p_value,
        critical_difference=critical_difference(len(names), len(rows), alpha),
        alpha=alpha,
    )


def friedman(rows: Sequence[Sequence[float]]) -> tuple[float, float]:
    """Friedman's chi-square with correction for ties, and the p-value of Iman and Davenport's F.

    The p-value is at least k!^(1 - N), the probability that N settings agree in the order of k treatments by chance.

    Args:
        rows: N settings, each with the values of k >= 3 treatments.
    """
    count, width = len(rows), len(rows[0])
    ranks = [ranks_of(row) for row in rows]
    sums = [math.fsum(column) for column in zip(*ranks, strict=True)]
    between = 12 / (count * width * (width + 1)) * math.fsum(value * value for value in sums) - 3 * count * (width + 1)
    ties = sum(times**3 - times for row in rows for times in Counter(row).values())
    correction = 1 - ties / (count * (width**3 - width))
    if correction <= 0:
        return 0.0, 1.0
    chi_square = between / correction
    rest = count * (width - 1) - chi_square
    smallest = math.factorial(width) ** (1.0 - count)
    if rest <= 1e-9 * count:
        return chi_square, smallest
    statistic = (count - 1) * chi_square / rest
    return chi_square, max(smallest, f_survival(statistic, width - 1, (width - 1) * (count - 1)))


def critical_difference(treatments: int, settings: int, alpha: float) -> float:
    """Nemenyi's critical difference of mean ranks.

    Args:
        treatments: k, at least 2.
        settings: N.
        alpha: level, in (0, 1).
    """
    quantile = range_quantile(1 - alpha, treatments) / math.sqrt(2)
    return quantile * math.sqrt(treatments * (treatments + 1) / (6 * settings))

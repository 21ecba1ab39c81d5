"""Scores of prompts that were learnt from clean prompts alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Scorer = Callable[[Tensor], Tensor]
"""Statistics (N, F) -> scores (N,); higher is more suspicious."""
SPREAD = 1.4826
"""Standard deviation of a normal distribution over its median absolute deviation."""
ROUNDING = 1e-6
"""Statistics are of 32 bits: a relative deviation up to this is none."""


def single(clean: Tensor) -> Scorer:
    """The first statistic is the score; nothing is learnt."""
    return lambda values: values[:, 0]


def nothing(values: Tensor) -> Tensor:
    """0 for each prompt: what is left to score by where clean prompts (K, F) differ in nothing."""
    return values.new_zeros(len(values), dtype=torch.float64)


def constant(clean: Tensor) -> Tensor:
    """In which statistics clean prompts (K, F) do not differ, but by rounding: (F,) of bool. These say nothing.

    >>> constant(torch.tensor([[1.0, 2.0], [1.0, 3.0]])).tolist()
    [True, False]
    """
    known = clean.double()
    return known.std(0, unbiased=False) <= ROUNDING * known.abs().amax(0)


def mahalanobis(clean: Tensor, shrinkage: float = 0.1) -> Scorer:
    """Squared distance (x - m)^T S^-1 (x - m) to the clean prompts (K, F).

    S is the standardised covariance, drawn towards the identity by ``shrinkage``, in (0, 1], so that few clean prompts
    do for many statistics. Statistics in which the clean prompts do not differ are left out.

    >>> score = mahalanobis(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]]), shrinkage=1.0)
    >>> [round(value, 6) for value in score(torch.tensor([[1.0, 1.0], [1.0, 3.0]])).tolist()]
    [0.0, 3.0]
    """
    kept = ~constant(clean)
    if not bool(kept.any()):
        return nothing
    known = clean.double()[:, kept]
    mean, deviation = known.mean(0), known.std(0)
    unit = (known - mean) / deviation
    covariance = unit.T @ unit / max(1, len(unit) - 1)
    identity = torch.eye(covariance.shape[0], dtype=covariance.dtype)
    factor = torch.linalg.cholesky((1 - shrinkage) * covariance + shrinkage * identity)

    def score(values: Tensor) -> Tensor:
        moved = ((values.double()[:, kept] - mean) / deviation).T
        return torch.linalg.solve_triangular(factor, moved, upper=False).square().sum(0)

    return score


def robust_excess(clean: Tensor, allowed: Sequence[float] = ()) -> Scorer:
    """Sum over statistics of max(0, z - a)^2 with z = (x - median) / (1.4826 median |x - median|) of clean prompts.

    Every statistic is one that rises under a trigger; being low speaks for nobody. Where more than half of the clean
    prompts agree, so that the median deviation is none, the standard deviation takes its place; a statistic in which
    all agree is left out.

    Args:
        clean: (K, F).
        allowed: a of each statistic, deviations that do not count; none by default.

    >>> known = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]])
    >>> suspects = torch.tensor([[2.0], [0.0], [2.0 + 1.4826 * 3]])
    >>> [round(value, 3) for value in robust_excess(known)(suspects).tolist()]
    [0.0, 0.0, 9.0]
    >>> [round(value, 3) for value in robust_excess(known, [2.0])(suspects).tolist()]
    [0.0, 0.0, 1.0]
    """
    kept = ~constant(clean)
    if not bool(kept.any()):
        return nothing
    known = clean.double()[:, kept]
    middle = known.median(0).values
    spread = SPREAD * (known - middle).abs().median(0).values
    spread = torch.where(spread <= ROUNDING * known.abs().amax(0), known.std(0), spread)
    free = torch.tensor(list(allowed) or [0.0] * clean.shape[1], dtype=torch.float64, device=known.device)[kept]
    return lambda values: ((values.double()[:, kept] - middle) / spread - free).clamp(min=0).square().sum(1)


def without_length(scorer: Callable[[Tensor], Scorer]) -> Callable[[Tensor], Scorer]:
    """The same on statistics from which a straight line in the last column, the prompts' length, was taken.

    The line is fitted to the clean prompts by least squares; what is left is as at their mean length.

    >>> lengths = torch.tensor([1.0, 2.0, 3.0, 4.0])
    >>> score = without_length(single)(torch.stack([10 * lengths, lengths], 1))
    >>> [round(value, 4) for value in score(torch.tensor([[50.0, 5.0], [52.0, 5.0]])).tolist()]
    [25.0, 27.0]
    """

    def fit(clean: Tensor) -> Scorer:
        values, lengths = clean[:, :-1].double(), clean[:, -1].double()
        centre = lengths.mean()
        moved = lengths - centre
        slope = (moved[:, None] * (values - values.mean(0))).sum(0) / moved.square().sum().clamp(min=1e-12)

        def straightened(rows: Tensor) -> Tensor:
            return rows[:, :-1].double() - (rows[:, -1].double() - centre)[:, None] * slope

        inner = scorer(straightened(clean))
        return lambda rows: inner(straightened(rows))

    return fit

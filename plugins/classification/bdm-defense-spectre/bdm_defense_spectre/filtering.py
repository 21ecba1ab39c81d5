"""Mean and covariance by filters, which few rows cannot move (Diakonikolas et al., ICML 2017, arXiv 1703.00893; the
estimates that SPECTRE whitens by).

Whiten rows by their own second moment. Of Gaussian rows y the polynomials y'Vy with |V| = 1 then have the variance 2;
poison that raises the covariance makes one of them vary more, and its rows are those far from the median of it. They
are left out, and the rest is looked at again, until no polynomial varies more than a share epsilon of poison explains.
The mean is filtered in the same way along directions instead of polynomials.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from bdm_defense_spectre.whitening import Estimate

STEEPNESS, CONFIDENCE = 10.0, 0.1
"""C of the bounds and tau, the probability that a bound fails, of the authors' code."""


def top_direction(values: Tensor) -> tuple[float, Tensor]:
    """Variance of values (n, m) along the unit direction (m,) in which it is largest, and that direction.

    >>> variance, direction = top_direction(torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]]))
    >>> variance, direction.abs().tolist()
    (4.5, [1.0, 0.0])
    """
    centred = values - values.mean(0)
    wide = centred.shape[1] > centred.shape[0]
    largest, vectors = torch.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    direction = centred.T @ vectors[:, -1] if wide else vectors[:, -1]
    return float(largest[-1]) / len(values), direction / direction.norm().clamp_min(1e-300)


def whitened(rows: Tensor) -> Tensor:
    """Rows (n, k) times the inverse square root of their second moment; directions without any rows become 0."""
    found, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    usable = found > 1e-12 * found[-1].clamp_min(1e-300)
    return rows @ (vectors * torch.where(usable, found.clamp_min(1e-300).rsqrt(), 0.0)) @ vectors.T


def squares(rows: Tensor) -> Tensor:
    """All products of two columns of rows (n, k), (n, k (k + 1) / 2), so that a unit direction stands for a symmetric
    matrix V with |V| = 1, and values along it are y'Vy.
    """
    size = rows.shape[1]
    left, right = torch.triu_indices(size, size)
    return rows[:, left] * rows[:, right] * (1 + (left != right).to(rows)).sqrt()


def covariance_step(rows: Tensor, share: float) -> Tensor | None:
    """How far each of the rows (n, k) is from what clean rows are, beyond 0 if it is to be left out; None when done.

    Args:
        rows: centred where clean rows are.
        share: of them that may be poisoned, in (0, 0.5].
    """
    count, size = rows.shape
    white = whitened(rows)
    excess = white.square().sum(1) - STEEPNESS * size * math.log(count / CONFIDENCE)
    if bool((excess >= 0).any()):
        return excess + 1e-12
    polynomials = squares(white)
    variance, direction = top_direction(polynomials)
    rarity = math.log(1 / share)
    if variance <= 1 + STEEPNESS * share * rarity**2:
        return None
    along = polynomials @ direction / math.sqrt(2)
    away = (along - along.quantile(0.5)).abs()
    ordered = away.sort().values
    bounds = ordered - 3
    tail = torch.where(
        bounds > 10 * rarity, 3 * share / (bounds * bounds.clamp_min(1.01).log()).square().clamp_min(1e-300), 1.0
    )
    beyond = torch.arange(count, 0, -1).double() / count  # of the rows at least so far away
    rare = ((bounds > 0) & (beyond >= tail)).nonzero()
    return away - bounds[rare[0, 0]] if len(rare) else None


def mean_step(rows: Tensor, share: float) -> Tensor | None:
    """As :func:`covariance_step`, of rows (n, k) whose clean part has the covariance I."""
    count, size = rows.shape
    variance, direction = top_direction(rows)
    if variance - 1 <= share * math.log(1 / share):
        return None
    away = ((rows - rows.mean(0)) @ direction).abs()
    ordered = away.sort().values
    bounds = ordered - 3 * math.sqrt(share * (variance - 1))
    heavy = 8 * share / math.log(size * math.log(size / (share * CONFIDENCE)))
    tail = 8 * (-bounds.square() / 2).exp() + heavy / bounds.square().clamp_min(1e-300)
    beyond = torch.arange(count - 1, -1, -1).double() / count  # of the rows farther away
    rare = ((bounds >= 0) & (beyond > tail)).nonzero()
    return away - ordered[rare[0, 0]] if len(rare) else None


Step = Callable[[Tensor, float], Tensor | None]


def kept(rows: Tensor, share: float, most: int, step: Step) -> Tensor:
    """Which of the rows (n, k) a filter leaves, (n,) bool.

    Args:
        rows: of one class.
        share: of them that may be poisoned, in (0, 0.5].
        most: so many rows are left out at most, those farthest away first.
        step: one look at what is left.
    """
    left = torch.arange(len(rows))
    while most > 0:
        excess = step(rows[left], share)
        if excess is None:
            break
        count = min(int((excess > 0).sum()), most)
        if not count:
            break
        most -= count
        left = left[excess.argsort(stable=True)[: len(left) - count].sort().values]
    mask = torch.zeros(len(rows), dtype=torch.bool)
    mask[left] = True
    return mask


def filtered_covariance(features: Tensor, poisoned: float, most: float = 2.0) -> Estimate:
    """An estimate of centre and covariance by the suspects (n, F) of a class: the covariance of what the filter leaves,
    then the mean of what it leaves of the rows whitened by that.

    Args:
        features: some of them poisoned.
        poisoned: how many, expected.
        most: so many times that number are left out, and half of the rows at most.
    """
    share = min(max(poisoned / len(features), 1e-6), 0.5)
    limit = min(round(most * poisoned), len(features) // 2)

    def estimate(directions: Tensor) -> tuple[Tensor, Tensor]:
        rows = features @ directions
        rest = rows - rows.mean(0)
        clean = rest[kept(rest, share, limit, covariance_step)]
        covariance = torch.cov(clean.T, correction=0).reshape(rows.shape[1], rows.shape[1])
        covariance = covariance + (1e-9 * covariance.diagonal().mean() + 1e-12) * torch.eye(len(covariance))
        white = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), rest.T, upper=False).T
        return rows[kept(white, share, limit, mean_step)].mean(0), covariance

    return estimate

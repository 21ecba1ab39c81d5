"""How features vary among and within classes (Tang et al., USENIX Security 2021, arXiv 1908.00686, section 4).

A feature is r = mu + epsilon: identity mu ~ N(0, S_mu), one for each class, and variation epsilon ~ N(0, S_eps), of
each row; both covariances are of all classes. Expectation maximisation estimates them on clean rows, as for faces
in Chen et al. (Bayesian face revisited, 2012).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_kit_classification.defending.feature_rows import FeatureRows


@dataclass(frozen=True, eq=False)
class Decomposition:
    """Covariances (F, F) among and within classes, and the centre (F,) of all features."""

    among: Tensor
    within: Tensor
    centre: Tensor

    def whitened(self, features: Tensor) -> Tensor:
        """Features (n, F) in units in which variation within classes is standard normal."""
        lower = torch.linalg.cholesky(self.within)
        return torch.linalg.solve_triangular(lower, (features - self.centre).T, upper=False).T


def decompose(rows: FeatureRows, iterations: int, ridge: float = 0.0) -> Decomposition:
    """Estimate the decomposition of clean rows.

    Args:
        rows: of all classes.
        iterations: steps of expectation maximisation.
        ridge: this share of the mean variance within classes is added to it in the end.
    """
    centre = rows.features.mean(0)
    groups = [rows.features[own] - centre for _, own in rows.by_class()]
    size = rows.features.shape[1]
    scale = float(torch.cat(groups).square().mean()) or 1.0
    among, within = (scale * torch.eye(size, dtype=torch.float64) for _ in range(2))
    for _ in range(iterations):
        among, within = step(groups, among, within)
        within += 1e-9 * scale * torch.eye(size)
        among += 1e-9 * scale * torch.eye(size)
    within += (ridge * within.diagonal().mean()) * torch.eye(size)
    return Decomposition(among, within, centre)


def step(groups: list[Tensor], among: Tensor, within: Tensor) -> tuple[Tensor, Tensor]:
    """One step: the next covariances given centred features of each class.

    Of a class with n rows and the sum s, mu is normal with the covariance P = (S_mu^-1 + n S_eps^-1)^-1 and the mean
    m = P S_eps^-1 s. The new S_mu is the mean of m m' + P over classes, the new S_eps that of
    (r - m)(r - m)' + P over rows.
    """
    sizes = {len(group) for group in groups}
    inverse_among, inverse_within = torch.linalg.inv(among), torch.linalg.inv(within)
    posterior = {size: torch.linalg.inv(inverse_among + size * inverse_within) for size in sizes}
    next_among, next_within = torch.zeros_like(among), torch.zeros_like(within)
    for group in groups:
        spread = posterior[len(group)]
        mean = spread @ inverse_within @ group.sum(0)
        next_among += torch.outer(mean, mean) + spread
        next_within += (group - mean).T @ (group - mean) + len(group) * spread
    return next_among / len(groups), next_within / sum(len(group) for group in groups)


def log_likelihood(groups: list[Tensor], among: Tensor, within: Tensor) -> float:
    """Of centred features of each class, mu integrated out.

    The mean of n rows is N(0, S_mu + S_eps / n), and the rest has the Wishart-like density of deviations from it.
    """
    total = 0.0
    for group in groups:
        count, size = group.shape
        mean = group.mean(0)
        whole = among + within / count
        rest = group - mean
        total -= 0.5 * float(size * count * math.log(2 * math.pi) + torch.logdet(whole) + size * math.log(count))
        total -= 0.5 * float(mean @ torch.linalg.solve(whole, mean) + (count - 1) * torch.logdet(within))
        total -= 0.5 * float((rest * torch.linalg.solve(within, rest.T).T).sum())
    return total

"""Whitening by a covariance that poison does not reach, and the quantum entropy score (Hayase et al., ICML 2021,
arXiv 2104.11315).

Features of a class are projected on their first k principal directions and whitened, so that clean rows have about the
identity as covariance. Poisoned rows raise the second moment S of whitened rows h along the directions in which they
lie together. With Q = exp(alpha (S - I) / (|S| - 1)) the score of a row is h' Q h / trace Q: for alpha = 0 its squared
length, for large alpha its squared projection on the first eigenvector of S.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from sklearn.covariance import MinCovDet
from torch import Tensor

Estimate = Callable[[Tensor], tuple[Tensor, Tensor]]
"""estimate(directions (F, k)): centre (k,) and covariance (k, k) of clean projections."""


@dataclass(frozen=True, eq=False)
class Whitening:
    """Features (n, F) to whitened projections (n, k): (features @ directions - centre) L^-T, covariance L L'."""

    directions: Tensor
    centre: Tensor
    lower: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        projected = features @ self.directions - self.centre
        return torch.linalg.solve_triangular(self.lower, projected.T, upper=False).T


def weights(whitened: Tensor, alpha: float) -> Tensor:
    """Q / trace Q, (k, k), of whitened rows (n, k)."""
    identity = torch.eye(whitened.shape[1], dtype=whitened.dtype)
    second = whitened.T @ whitened / len(whitened)
    excess = float(torch.linalg.matrix_norm(second, 2)) - 1
    # without excess no direction is more suspicious than another
    matrix = torch.linalg.matrix_exp(alpha * (second - identity) / excess) if excess > 1e-9 else identity
    return matrix / matrix.trace()


def scores(whitened: Tensor, weight: Tensor) -> Tensor:
    """h' (Q / trace Q) h of each row, (n,)."""
    return ((whitened @ weight) * whitened).sum(1)


def covariance_of_clean(of_class: Tensor, deviations: Tensor, ridge: float = 0.01) -> Estimate:
    """An estimate by clean rows: centre of those of the class (n, F), covariance of deviations (m, F) of all classes
    from the centres of their own.
    """

    def estimate(directions: Tensor) -> tuple[Tensor, Tensor]:
        projected = deviations @ directions
        covariance = projected.T @ projected / len(projected)
        covariance += (ridge * covariance.diagonal().mean() + 1e-9) * torch.eye(len(covariance))
        return (of_class @ directions).mean(0), covariance

    return estimate


def robust_covariance(features: Tensor, seed: int) -> Estimate:
    """An estimate by the suspects (n, F) of the class: minimum covariance determinant (Rousseeuw), which less than half
    of the rows cannot move far.
    """

    def estimate(directions: Tensor) -> tuple[Tensor, Tensor]:
        found = MinCovDet(random_state=seed % 2**32).fit((features @ directions).numpy())
        covariance = torch.from_numpy(found.covariance_)
        return torch.from_numpy(found.location_), covariance + 1e-9 * torch.eye(len(covariance))

    return estimate


def whiten(
    features: Tensor, estimate: Estimate, alpha: float, sizes: Sequence[int], removed: int | None = None
) -> tuple[Whitening, Tensor]:
    """The whitening and the weights Q / trace Q of that number k of components whose mean score is highest.

    Args:
        features: (n, F) of the suspects of one class.
        estimate: of centre and covariance in the space of k components.
        alpha: of the score.
        sizes: the k to try, rising.
        removed: if given, the k are compared by :func:`left_over` in the space of the largest k, as published, and not
            by the mean scores in their own spaces.
    """
    _, _, right = torch.linalg.svd(features - features.mean(0), full_matrices=False)
    best: tuple[float, Whitening, Tensor] | None = None
    for size in sizes:
        directions = right[:size].T
        centre, covariance = estimate(directions)
        whitening = Whitening(directions, centre, torch.linalg.cholesky(covariance))
        weight = weights(whitening(features), alpha)
        found = scores(whitening(features), weight)
        mean = float(found.mean())
        if removed is not None:
            mean = left_over((features - features.mean(0)) @ right[: sizes[-1]].T, found, removed, alpha)
        if best is None or mean > best[0]:
            best = mean, whitening, weight
    assert best is not None, "no number of components was given"
    return best[1], best[2]


def left_over(projected: Tensor, found: Tensor, removed: int, alpha: float) -> float:
    """The mean score of all rows when the covariance of those that scores leave whitens them (the paper's choice of k).

    Where the scores tell poisoned rows, these stand out from the others: the mean is high.

    Args:
        projected: (n, k) centred rows in one space.
        found: (n,) scores of the rows.
        removed: rows of the highest scores that are left out.
        alpha: of the score.
    """
    kept = projected[found.argsort()[: max(2, len(found) - removed)]]
    covariance = torch.cov(kept.T, correction=0).reshape(projected.shape[1], -1)
    covariance = covariance + (1e-6 * covariance.diagonal().mean() + 1e-12) * torch.eye(len(covariance))
    white = torch.linalg.solve_triangular(torch.linalg.cholesky(covariance), projected.T, upper=False).T
    return float(scores(white, weights(white, alpha)).mean())


def sizes_for(rows: int, rank: int, most: int) -> list[int]:
    """1, 2, 4, ... up to ``most``, the rank, and a fifth of the rows: what a covariance can be estimated of."""
    limit = max(1, min(most, rank, rows // 5))
    return [2**power for power in range(limit.bit_length()) if 2**power <= limit]

"""Improved precision and recall (Kynkäänniemi, Karras, Laine, Lehtinen, Aila, NeurIPS 2019, equations 1 and 2)."""

from __future__ import annotations

import torch
from torch import Tensor

ROWS = 1024
"""Rows whose distances to all others are held at once."""


def radii(features: Tensor, neighbours: int) -> Tensor:
    """The distance of each point to its k-th nearest other point, (N,).

    Args:
        features: (N, D), N > ``neighbours``.
        neighbours: k.

    >>> radii(torch.tensor([[0.0], [1.0], [3.0]]), 1).tolist()
    [1.0, 1.0, 2.0]
    """
    found = []
    for start in range(0, len(features), ROWS):
        distances = torch.cdist(features[start : start + ROWS], features, compute_mode=EXACT)
        own = torch.arange(len(distances))
        distances[own, own + start] = torch.inf
        found.append(distances.kthvalue(neighbours, 1).values)
    return torch.cat(found)


def covered(points: Tensor, centres: Tensor, reach: Tensor) -> Tensor:
    """Which of the points (M, D) lie in a ball around one of the centres (N, D) with its radius (N,); (M,) bool.

    >>> covered(torch.tensor([[0.5], [2.0]]), torch.tensor([[0.0]]), torch.tensor([1.0])).tolist()
    [True, False]
    """
    parts = [
        (torch.cdist(points[start : start + ROWS], centres, compute_mode=EXACT) <= reach).any(1)
        for start in range(0, len(points), ROWS)
    ]
    return torch.cat(parts)


def precision_and_recall(real: Tensor, generated: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """Which generated points lie within the manifold of real ones, and which real ones within that of generated ones.

    A set's manifold is the union of the balls around its points that reach to their k-th nearest neighbours within the
    set. Precision and recall are the shares of True.

    Args:
        real: (N, D), N > ``neighbours``.
        generated: (M, D), likewise; the paper has M = N.
        neighbours: k.

    >>> real, generated = torch.tensor([[0.0], [1.0], [8.0], [9.0]]), torch.tensor([[0.2], [0.8], [0.4], [0.6]])
    >>> precision, recall = precision_and_recall(real, generated, 1)
    >>> precision.tolist(), recall.tolist()
    ([True, True, True, True], [True, True, False, False])
    """
    return (
        covered(generated, real, radii(real, neighbours)),
        covered(real, generated, radii(generated, neighbours)),
    )


EXACT = "donot_use_mm_for_euclid_dist"
"""Distances from differences: those from products are not zero between equal points."""

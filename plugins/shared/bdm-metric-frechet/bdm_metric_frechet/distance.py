"""The Frechet distance of two sets of features, and its standard error."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Moments(NamedTuple):
    """Mean (D,) and covariance (D, D) of features, float64."""

    mean: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Those of features (N, D), N >= 2."""
        features, count = features.double(), len(features)
        mean = features.sum(0) / count
        about = features.t().mm(features) - count * mean[:, None].mm(mean[None])
        return cls(mean, about / (count - 1))


class FrechetDistance:
    """Distance of sets of features to one reference set, in float64.

    With means m, n and covariances A, B (Heusel et al. 2017): |m - n|^2 + tr(A + B - 2 (A B)^(1/2)). The trace of the
    root is the sum of the roots of the eigenvalues of A B.

    Args:
        reference: features (M, D), M >= 2.

    >>> reference = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0]])
    >>> FrechetDistance(reference)(reference + 3.0)
    18.0
    """

    def __init__(self, reference: Tensor) -> None:
        self._reference = Moments.of(reference)

    def __call__(self, features: Tensor) -> float:
        """The distance of features (N, D), N >= 2, to the reference; at least 0."""
        known, found = self._reference, Moments.of(features)
        shift = (known.mean - found.mean).square().sum()
        traces = known.covariance.trace() + found.covariance.trace()
        root = torch.linalg.eigvals(known.covariance @ found.covariance).sqrt().real.sum()
        return max(0.0, float(shift + traces - 2 * root))

    def standard_error(self, features: Tensor, blocks: int) -> float | None:
        """Delete-a-block jackknife over the samples (Shao and Tu 1995): the spread due to their number alone.

        Args:
            features: (N, D); row i belongs to block i modulo ``blocks``.
            blocks: number of blocks.

        Returns:
            The standard error; None if there are fewer than two samples outside a block, or fewer than two blocks.
        """
        count = len(features)
        blocks = min(blocks, count)
        if blocks < 2 or count - math.ceil(count / blocks) < 2:
            return None
        block = torch.arange(count) % blocks
        values = torch.tensor([self(features[block != left_out]) for left_out in range(blocks)], dtype=torch.float64)
        return math.sqrt((blocks - 1) * float(values.var(correction=0)))

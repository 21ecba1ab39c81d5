"""The Frechet distance of two sets of features, and its standard error."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance


class _Given(nn.Module):
    """Features that were computed before, in the place of a feature network."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


class FrechetDistance:
    """Distance of sets of features to one reference set, by torchmetrics in float64.

    With means m, n and covariances A, B (Heusel et al. 2017): |m - n|^2 + tr(A + B - 2 (A B)^(1/2)).

    Args:
        reference: features (M, D), M >= 2.
    """

    def __init__(self, reference: Tensor) -> None:
        network = _Given(reference.shape[1])
        metric = FrechetInceptionDistance(
            feature=network, reset_real_features=False, sync_on_compute=False
        )  # no collectives: under accelerate launch rank 0 scores alone
        self._metric = metric.set_dtype(torch.float64)
        self._metric.update(reference.double(), real=True)

    def __call__(self, features: Tensor) -> float:
        """The distance of features (N, D), N >= 2, to the reference; at least 0."""
        self._metric.update(features.double(), real=False)
        value = float(self._metric.compute())
        self._metric.reset()
        return max(0.0, value)

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

"""Whether the features of a class are one normal distribution or a mixture of two (section 4 of the paper).

In whitened features both hypotheses have unit covariance: one mean, or two with the rows divided among them. The
statistic is the likelihood ratio J = 2 log P(two) / P(one), here of a row on average; over the classes it is
standardised by median and median absolute deviation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

STEPS = 100
CONSISTENT = 1.4826
"""The median absolute deviation of normal numbers times this is their standard deviation."""


@dataclass(frozen=True, eq=False)
class TwoComponents:
    """Means (F,) of whitened features of a class: ``usual`` and ``other``; and J of a row on average."""

    usual: Tensor
    other: Tensor
    ratio: float

    def log_ratio(self, features: Tensor) -> Tensor:
        """log P(other) / P(usual) of whitened features (n, F): (n,)."""
        return ((features - self.usual).square().sum(1) - (features - self.other).square().sum(1)) / 2


def untangle(features: Tensor, clean: Tensor | None) -> TwoComponents:
    """Divide whitened features (n, F) of one class in two by the larger likelihood, from a start along the first
    principal direction until nothing changes.

    Args:
        features: of the suspects.
        clean: whitened features of clean rows of this class: the component nearer to their mean is the usual one;
            without them the larger one is.
    """
    centred = features - features.mean(0)
    direction = torch.linalg.svd(centred, full_matrices=False).Vh[0]
    second = centred @ direction > 0
    if bool(second.all()) or not bool(second.any()):
        return TwoComponents(features.mean(0), features.mean(0), 0.0)
    for _ in range(STEPS):
        found = TwoComponents(features[~second].mean(0), features[second].mean(0), 0.0)
        changed = found.log_ratio(features) > 0
        if bool((changed == second).all()) or bool(changed.all()) or not bool(changed.any()):
            break
        second = changed
    first, other = features[~second].mean(0), features[second].mean(0)
    if clean is None or not len(clean):
        swap = float(second.double().mean()) > 0.5
    else:
        swap = float((other - clean.mean(0)).norm()) < float((first - clean.mean(0)).norm())
    apart = torch.where(second[:, None], features - other, features - first).square().sum()
    ratio = float(centred.square().sum() - apart) / len(features)
    return TwoComponents(other, first, ratio) if swap else TwoComponents(first, other, ratio)


def deviations(ratios: Tensor) -> Tensor:
    """J* of each class, (K,): J less its median over the classes, in robust standard deviations."""
    from_median = ratios - ratios.quantile(0.5)
    return from_median / (CONSISTENT * from_median.abs().quantile(0.5)).clamp_min(1e-9)

"""Linear discriminant analysis of two classes, as arrays."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_kit_text_to_image.detection.one_class import Scorer


def linear_discriminant(values: Tensor, positive: Tensor, shrinkage: float) -> Scorer:
    """w.x + b with w = S^-1 (m_1 - m_0) and b = -w.(m_0 + m_1) / 2 + log(n_1 / n_0): above 0 is the positive class.

    S is the pooled covariance within the classes, drawn towards the identity times its mean variance.

    Args:
        values: (N, F).
        positive: (N,) bool, both values among them.
        shrinkage: in (0, 1].

    >>> values = torch.tensor([[0.0, 0.0], [0.0, 2.0], [4.0, 0.0], [4.0, 2.0]])
    >>> score = linear_discriminant(values, torch.tensor([False, False, True, True]), shrinkage=1.0)
    >>> (score(torch.tensor([[2.0, 9.0], [4.0, 0.0]])) > 0).tolist(), float(score(torch.tensor([[2.0, 9.0]])))
    ([False, True], 0.0)
    """
    known = values.double()
    one, other = known[positive], known[~positive]
    means = one.mean(0), other.mean(0)
    centred = torch.cat([one - means[0], other - means[1]])
    within = centred.T @ centred / max(1, len(known) - 2)
    identity = torch.eye(within.shape[0], dtype=within.dtype)
    within = (1 - shrinkage) * within + shrinkage * within.diagonal().mean().clamp(min=1e-12) * identity
    weights = torch.linalg.solve(within, means[0] - means[1])
    offset = -weights @ (means[0] + means[1]) / 2 + torch.log(torch.tensor(len(one) / len(other), dtype=torch.float64))
    return lambda rows: rows.double() @ weights + offset

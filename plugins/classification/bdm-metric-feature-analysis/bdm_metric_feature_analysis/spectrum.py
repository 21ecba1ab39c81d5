"""The spectrum of a class's features."""

from __future__ import annotations

import torch
from torch import Tensor


def log_spectrum(features: Tensor, most: int = 32) -> Tensor:
    """(min(F, N - 1, most),) the decimal logarithms of the largest eigenvalues of the covariance of features (N, F).

    What is below a ten-millionth of the largest is rounding, and becomes that.

    >>> two = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 10.0], [0.0, -10.0]])
    >>> [round(float(value), 3) for value in log_spectrum(two)]
    [1.699, -0.301]
    """
    centred = features.double() - features.double().mean(0)
    found = torch.linalg.svdvals(centred)[: max(1, min(most, len(features) - 1))].square() / max(1, len(features))
    return torch.log10(found.clamp_min(max(1e-12, 1e-7 * float(found.max()))))

"""The spectrum of a class's features."""

from __future__ import annotations

import torch
from torch import Tensor


def log_spectrum(features: Tensor, most: int = 32) -> Tensor:
    """(min(F, N, most),) the decimal logarithms of the largest eigenvalues of the covariance of features (N, F).

    >>> two = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 10.0], [0.0, -10.0]])
    >>> [round(float(value), 3) for value in log_spectrum(two)]
    [1.699, -0.301]
    """
    centred = features.double() - features.double().mean(0)
    singular = torch.linalg.svdvals(centred)[:most]
    return torch.log10(singular.square() / max(1, len(features)) + 1e-12)

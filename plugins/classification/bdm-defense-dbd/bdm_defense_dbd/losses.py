"""The losses of DBD: symmetric cross entropy (Wang et al. 2019), and MixMatch (Berthelot et al. 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

ALPHA, BETA, LOG_ZERO, LEAST = 0.1, 1.0, math.log(1e-4), 1e-7
"""The logarithm of a label's zeros is that of 1e-4, as in the authors' code."""


def symmetric_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """alpha CE + beta RCE of each row, (b,); the reverse one takes the label for the prediction, with log 0 = log 1e-4.

    >>> loss = symmetric_cross_entropy(torch.zeros(1, 2), torch.tensor([0]))
    >>> round(float(loss), 4)  # 0.1 log 2 + 9.2103 / 2
    4.6745
    """
    shares = logits.softmax(1).clamp_min(LEAST)
    reverse = -LOG_ZERO * (1 - shares.gather(1, labels[:, None])[:, 0])
    return ALPHA * functional.cross_entropy(logits, labels, reduction="none") + BETA * reverse


def sharpened(shares: Tensor, temperature: float) -> Tensor:
    """Shares (b, K) to the power 1 / temperature, normalised.

    >>> sharpened(torch.tensor([[0.25, 0.75]]), 0.5).tolist()
    [[0.10000000149011612, 0.8999999761581421]]
    """
    powers = shares.pow(1 / temperature)
    return powers / powers.sum(1, keepdim=True)


def mixed(one: Tensor, other: Tensor, shares: Tensor) -> Tensor:
    """A share (b,) of the first, and the rest of the second.

    >>> mixed(torch.ones(1, 2), torch.zeros(1, 2), torch.tensor([0.75])).tolist()
    [[0.75, 0.75]]
    """
    weight = shares.view(-1, *[1] * (one.ndim - 1))
    return weight * one + (1 - weight) * other


def larger_shares(count: int, mixture: float, generator: torch.Generator) -> Tensor:
    """max(l, 1 - l) of l from Beta(mixture, mixture), (count,): mixtures stay nearer to the first.

    >>> shares = larger_shares(100, 0.75, torch.Generator().manual_seed(0))
    >>> bool(shares.min() >= 0.5), bool(shares.max() <= 1)
    (True, True)
    """
    shape = torch.full((2, count), mixture)
    gamma = torch._standard_gamma(shape, generator=generator).clamp_min(1e-12)
    share = gamma[0] / gamma.sum(0)
    return torch.maximum(share, 1 - share)

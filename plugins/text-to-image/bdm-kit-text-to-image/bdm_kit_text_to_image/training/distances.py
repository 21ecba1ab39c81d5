"""Distances of text embeddings as losses (Rickrolling the Artist, 2211.02408, and its released code's options)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor
from torch.nn import functional

Distance = Literal["cosine", "mse", "mae", "poincare"]


def cosine_distance(one: Tensor, other: Tensor) -> Tensor:
    """Mean of 1 - cos over rows (N, D): a scalar in [0, 2].

    >>> import torch
    >>> rows = torch.eye(2)
    >>> float(cosine_distance(rows, 3 * rows)), float(cosine_distance(rows, -rows))
    (0.0, 2.0)
    """
    return 1 - functional.cosine_similarity(one, other).mean()


def poincare_distance(one: Tensor, other: Tensor) -> Tensor:
    """Mean distance arcosh(1 + 2 |u - v|^2 / ((1 - |u|^2)(1 - |v|^2))) in the Poincare ball, of rows (N, D).

    Rows are brought into the ball by their sum of absolute values: u = x / |x|_1. Source: Nickel and Kiela, Poincare
    Embeddings, 2017, equation 1.

    >>> import torch
    >>> one, other = torch.tensor([[1.0, 1.0]]), torch.tensor([[1.0, -1.0]])
    >>> torch.allclose(poincare_distance(one, other), torch.tensor(9.0).acosh())  # |u - v|^2 = 1, |u|^2 = |v|^2 = 1/2
    True
    """
    u, v = functional.normalize(one, p=1), functional.normalize(other, p=1)
    room = (1 - u.square().sum(1)) * (1 - v.square().sum(1))
    excess = 2 * (u - v).square().sum(1) / room.clamp_min(1e-7)
    # arcosh(1 + e) = log(1 + e + sqrt(e (e + 2))), exact for small e; its slope at 0 is infinite, hence the 1e-12
    return (excess + (excess * (excess + 2) + 1e-12).sqrt()).log1p().mean()


DISTANCES: dict[Distance, Callable[[Tensor, Tensor], Tensor]] = {
    "cosine": cosine_distance,
    "mse": functional.mse_loss,
    "mae": functional.l1_loss,
    "poincare": poincare_distance,
}

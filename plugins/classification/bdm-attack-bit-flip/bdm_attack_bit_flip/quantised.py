"""Weights as two's complement integers of a few bits, and back."""

from __future__ import annotations

import torch
from torch import Tensor


def quantise(weight: Tensor, bits: int) -> tuple[Tensor, float]:
    """Whole numbers (same shape, int64) and the step s with weight = s * number, up to s / 2.

    >>> quantise(torch.tensor([1.27, -0.5, 0.0]), 8)[0].tolist()
    [127, -50, 0]
    """
    most = 2 ** (bits - 1) - 1
    step = max(float(weight.abs().max()) / most, 1e-12)
    return (weight / step).round().long().clamp(-most - 1, most), step


def place_values(bits: int) -> Tensor:
    """What each bit is worth, the sign's first: (bits,) float32.

    >>> place_values(4).tolist()
    [-8.0, 4.0, 2.0, 1.0]
    """
    values = 2.0 ** torch.arange(bits - 1, -1, -1)
    values[0] = -values[0]
    return values


def to_bits(numbers: Tensor, bits: int) -> Tensor:
    """Two's complement, the sign's bit first: float32 (..., bits) of 0 and 1.

    >>> to_bits(torch.tensor([-1, 5]), 4).tolist()
    [[1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0]]
    """
    shifts = torch.arange(bits - 1, -1, -1)
    return ((numbers[..., None] >> shifts) & 1).float()


def from_bits(theta: Tensor, step: float) -> Tensor:
    """Weights of bits (..., bits), which may lie between 0 and 1; differentiable."""
    return (theta * place_values(theta.shape[-1]).to(theta)).sum(-1) * step

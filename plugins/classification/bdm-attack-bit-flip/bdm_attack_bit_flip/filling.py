"""Flips that the multipliers left over, given one by one to the bit that lowers the loss most."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from bdm_attack_bit_flip.quantised import from_bits

CANDIDATES = 64
"""So many bits, the best ones by the loss's slope, are tried in each turn."""


def fill(
    theta: Tensor, start: Tensor, most: int, loss: Callable[[Tensor], Tensor], between: Callable[[Tensor], None]
) -> Tensor:
    """Flip bits of ``theta`` until ``most`` differ from ``start`` or no flip lowers the loss.

    A bit that was flipped already is not flipped back.

    Args:
        theta: bits (K, F, bits) of 0 and 1.
        start: those before the attack.
        most: flips at most.
        loss: of bits, a scalar, differentiable.
        between: called with the bits after each flip.

    Returns:
        The new bits.

    >>> start = torch.zeros(3)
    >>> fill(start, start, 2, lambda bits: (bits * torch.tensor([1.0, -2.0, -1.0])).sum(), lambda bits: None).tolist()
    [0.0, 1.0, 1.0]
    """
    found = theta.clone()
    while int((found != start).sum()) < most:
        bits = found.clone().requires_grad_(True)
        now = loss(bits)
        (slope,) = torch.autograd.grad(now, bits)
        gain = torch.where(found == start, slope * (1 - 2 * found), float("inf")).flatten()
        best, value = -1, float(now.detach())
        with torch.no_grad():
            for place in gain.argsort(stable=True)[:CANDIDATES].tolist():
                tried = found.flatten().clone()
                tried[place] = 1 - tried[place]
                if float(gain[place]) < 0 and (reached := float(loss(tried.view_as(found)))) < value:
                    best, value = place, reached
        if best < 0:
            break
        found.view(-1)[best] = 1 - found.view(-1)[best]
        between(found)
    return found


def head_loss(parts: list[tuple[Tensor, Tensor]], bias: Tensor, step: float) -> Callable[[Tensor], Tensor]:
    """The sum of cross entropies that bits of the last layer give.

    Args:
        parts: features (N, F) and the labels (N,) that they are to get.
        bias: of the layer.
        step: of the quantised weights.
    """

    def loss(bits: Tensor) -> Tensor:
        weight = from_bits(bits, step)
        each = [functional.cross_entropy(functional.linear(seen, weight, bias), labels) for seen, labels in parts]
        return torch.stack(each).sum()

    return loss

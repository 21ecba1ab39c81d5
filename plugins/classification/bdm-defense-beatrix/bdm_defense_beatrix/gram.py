"""Gram matrices of feature maps and how far they are from those of clean rows (Ma et al., NDSS 2023, arXiv 2209.11715).

For maps v (C, P) of one sample the Gram matrix of order p is G_p = (v^p (v^p)')^(1/p), entry by entry. A sample has the
C (C + 1) / 2 entries on and above the diagonal as its numbers, as published, or the C sums of rows, for each order.
Their range in clean rows of a class is the median and a number of median absolute deviations to both sides. The
deviation of a sample is how far its numbers are outside, relative to the end of the range, on average.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


def gram_sums(maps: Tensor, orders: int) -> Tensor:
    """Row sums of the Gram matrices of maps (N, C, P), at least 0, of the orders 1 to ``orders``: (N, orders, C)."""
    return torch.stack([gram.sum(2) for gram in _grams(maps, orders)], 1)


def gram_entries(maps: Tensor, orders: int) -> Tensor:
    """Entries on and above the diagonal of the same matrices, row by row: (N, orders, C (C + 1) / 2)."""
    row, column = torch.triu_indices(maps.shape[1], maps.shape[1])
    return torch.stack([gram[:, row, column] for gram in _grams(maps, orders)], 1)


def _grams(maps: Tensor, orders: int) -> Iterator[Tensor]:
    for order in range(1, orders + 1):
        powers = maps.double() ** order
        yield torch.einsum("ncp,ndp->ncd", powers, powers).pow(1 / order)


@dataclass(frozen=True, eq=False)
class Ranges:
    """The ends of the ranges of clean rows, (orders, numbers) each, and what deviations are relative to beside them."""

    low: Tensor
    high: Tensor
    floor: Tensor

    def deviations(self, sums: Tensor) -> Tensor:
        """Mean relative deviation of row sums or entries (N, orders, numbers) from the ranges, (N,)."""
        below = (self.low - sums).clamp_min(0) / (self.low + self.floor)
        above = (sums - self.high).clamp_min(0) / (self.high + self.floor)
        return (below + above).mean((1, 2))


def ranges(sums: Tensor, width: float, floor: float) -> Ranges:
    """The ranges of clean rows (n, orders, numbers).

    Args:
        sums: of clean rows of one class.
        width: median absolute deviations to both sides.
        floor: this share of the mean upper end of an order is added to what deviations are relative to: where a
            channel is silent in clean rows, any value is infinitely far from zero otherwise.
    """
    median = sums.median(0).values
    spread = (sums - median).abs().median(0).values
    low, high = (median - width * spread).clamp_min(0), median + width * spread
    return Ranges(low, high, floor * high.mean(1, keepdim=True) + 1e-6)

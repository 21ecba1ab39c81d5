"""The paper's rule: classes whose gradients are spread between two directions, and the rows that are peeled off them.

In the plane of two directions, the mean one of clean rows of a class and that of the row least like it, rows of a
clean class lie close together, and those of the target are spread between both. From the row that is least like clean
rows on, rows nearer to those already taken than to the clean direction are taken in rounds, until the rest no longer
changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

BINS = 99
WINDOW, SMOOTHNESS = 10, 5.0
"""Rounds that must be alike, and how much their deviation counts beside their mean; both as released."""


def gap(units: Tensor, clean: Tensor) -> float:
    """How far rows of a class are spread between the clean direction and the row least like it, in [0, 2].

    With s that row: the root of the mean over all other rows of (cos(g, clean) - cos(g, g_s))^2, as released.

    Args:
        units: (n, C) gradients of length 1.
        clean: (C,) mean direction of clean rows, of length 1.
    """
    apart = units @ clean - units @ units[(units @ clean).argmin()]
    apart[(units @ clean).argmin()] = 0
    return float(apart.double().square().mean().sqrt())


@dataclass(frozen=True, eq=False)
class Peeled:
    """Rows of a class in the order in which they were taken.

    Attributes:
        rounds: (n,) in which each row was taken, from 0.
        until: rows of rounds before this one are poisoned.
    """

    rounds: Tensor
    until: int


def peel(units: Tensor, clean: Tensor, share: float) -> Peeled:
    """Take rows off a class, those least like clean rows first.

    Each round rates the rows that are left by d_p / (d_p + d_c), their cosine distances from the mean of the rows
    already taken and from the clean direction; those within ``share`` of the range of the rates above the lowest are
    taken. The rounds before those in which the histogram of the rates is the smallest and steadiest change (mean plus
    five deviations of the Jensen-Shannon distance over ten rounds) are the poisoned rows.

    Args:
        units: (n, C) gradients of length 1.
        clean: (C,) mean direction of clean rows, of length 1.
        share: of the range; the paper's tau.
    """
    rounds = torch.full((len(units),), -1)
    rounds[(units @ clean).argmin()] = 0
    changes: list[float] = []
    before: Tensor | None = None
    while bool((rounds < 0).any()):
        left = (rounds < 0).nonzero().flatten()
        taken = functional.normalize(units[rounds >= 0].sum(0), dim=0)
        to_taken, to_clean = 1 - units[left] @ taken, 1 - units[left] @ clean
        rates = to_taken / (to_taken + to_clean).clamp_min(1e-12)
        low, high = float(rates.min()), float(rates.max())
        chosen = (rates - low) <= share * (high - low)
        rounds[left[chosen]] = len(changes) + 1
        after = rates[~chosen]
        changes.append(change(rates if before is None else before, after))
        before = after
    return Peeled(rounds, 1 + steadiest(changes) if changes else 1)


def change(before: Tensor, after: Tensor) -> float:
    """Jensen-Shannon distance of the histograms of two sets of numbers in [0, 1]; 1 where one is empty."""
    if not len(before) or not len(after):
        return 1.0
    first, second = (torch.histc(values.double(), BINS, 0, 1) / len(values) for values in (before, after))
    middle = (first + second) / 2
    divergence = (torch.special.xlogy(first, first / middle) + torch.special.xlogy(second, second / middle)) / 2
    return float(divergence.nan_to_num(0.0).sum().clamp_min(0).sqrt())


def steadiest(changes: Sequence[float]) -> int:
    """Where the window of the smallest mean plus five standard deviations begins.

    >>> steadiest([0.5, 0.4] + [0.01] * 10 + [0.3])
    2
    """
    values = torch.tensor(changes, dtype=torch.float64)
    windows = values.unfold(0, min(WINDOW, len(values)), 1)
    return int((windows.mean(1) + SMOOTHNESS * windows.std(1, correction=0)).argmin())

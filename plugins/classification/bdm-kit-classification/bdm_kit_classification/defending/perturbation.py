"""The worst small change of each sample, by projected gradient ascent (Madry et al. 2018, arXiv 1706.06083)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Norm = Literal["l2", "linf"]


def ascend(
    objective: Callable[[Tensor], Tensor],
    inputs: Tensor,
    start: Tensor,
    *,
    bound: float,
    size: float,
    steps: int,
    norm: Norm,
) -> Tensor:
    """Inputs changed so that the objective rises, within a ball around each and within [0, 1].

    Args:
        objective: a scalar of all changed inputs (N, ...), the sum or mean of what each gives.
        inputs: (N, ...) in [0, 1].
        start: (N, ...), the first change of each.
        bound: of the norm of each sample's change.
        size: of a step: along the gradient's sign for ``linf``, along the gradient of norm 1 for ``l2``.
        steps: how many.
        norm: which norm.

    Returns:
        The changed inputs, without gradient.

    >>> inputs = torch.full((1, 2), 0.5)
    >>> ascend(lambda x: x[:, 0].sum(), inputs, torch.zeros(1, 2), bound=0.25, size=0.2, steps=3, norm="l2").tolist()
    [[0.75, 0.5]]
    """
    changed = within(inputs, start, bound, norm)
    for _ in range(steps):
        changed.requires_grad_()
        (slope,) = torch.autograd.grad(objective(changed), changed)
        move = slope.sign() if norm == "linf" else slope / _lengths(slope).clamp_min(1e-12)
        changed = within(inputs, changed.detach() + size * move - inputs, bound, norm)
    return changed.detach()


def within(inputs: Tensor, change: Tensor, bound: float, norm: Norm) -> Tensor:
    """Inputs plus a change that is brought into the ball, and all of it into [0, 1]."""
    change = change.clamp(-bound, bound) if norm == "linf" else change * (bound / _lengths(change).clamp_min(bound))
    return (inputs + change).clamp(0, 1)


def _lengths(values: Tensor) -> Tensor:
    """The 2-norm of each sample, (N, 1, ...)."""
    return values.flatten(1).norm(dim=1).view(-1, *(1,) * (values.ndim - 1))

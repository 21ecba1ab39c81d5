"""The exact plan of optimal transport between the units of two layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def transport_plan(source: Tensor, target: Tensor, source_mass: Tensor, target_mass: Tensor) -> Tensor:
    """The plan of least total cost, the cost of a pair being the 2-norm of the difference of its units' weights.

    Args:
        source: weights of the source's units, (n, d).
        target: weights of the target's units, (m, d).
        source_mass: (n), not negative, above 0 in sum; brought to sum 1.
        target_mass: (m), likewise.

    Returns:
        Mass moved from each unit to each, (n, m) float64: rows sum to the source's mass, columns to the target's.

    >>> units = torch.tensor([[0.0], [1.0], [5.0]])
    >>> plan = transport_plan(units, units[[2, 0, 1]], torch.ones(3), torch.ones(3))
    >>> plan.argmax(1).tolist()
    [1, 2, 0]
    """
    import ot

    cost = torch.cdist(source.detach().double().cpu(), target.detach().double().cpu())
    masses: list[Any] = []
    for mass in (source_mass, target_mass):
        values = mass.detach().double().cpu().numpy()
        masses.append(values / values.sum())
    found = ot.emd(masses[0], masses[1], cost.numpy(), numItermax=10_000_000)
    return torch.from_numpy(found)


def carried(values: Tensor, plan: Tensor, dim: int = 0) -> Tensor:
    """What the units of the source hold, as those of the target get it: a mean weighted by the mass that reaches each.

    A unit of the target that no mass reaches gets 0.

    Args:
        values: of the source's units, along ``dim``.
        plan: (n, m).
        dim: where the units are.

    >>> carried(torch.tensor([1.0, 3.0]), torch.tensor([[0.5, 0.25], [0.0, 0.25]])).tolist()
    [1.0, 2.0]
    """
    share = (plan / plan.sum(0, keepdim=True).clamp_min(1e-300)).to(values)
    moved = torch.tensordot(share.T, values.movedim(dim, 0), dims=1)
    return moved.movedim(0, dim)

"""The plane through a clean sample, the same with the trigger, and a sample of the target class."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

MARGIN = 0.25
"""How far a map goes beyond the samples, in lengths of the way from the clean to the triggered one."""
BATCH = 512


def plane(clean: Tensor, triggered: Tensor, target: Tensor, points: int) -> tuple[Tensor, Tensor]:
    """Samples (points * points, ...) on a grid of the plane, and where the three lie on it, (3, 2).

    The first axis points from the clean sample to the triggered one, whose distance is 1. The second is orthogonal to
    it, and the target's sample has the height 1 there.

    Args:
        clean, triggered, target: (C, H, W), not on one line.
        points: on each side; the grid goes from -.25 to 1.25 on both axes, the target's place included.

    >>> grid, places = plane(torch.zeros(1, 1, 2), torch.tensor([[[1.0, 0]]]), torch.tensor([[[0.0, 2]]]), 3)
    >>> places.tolist(), grid.shape
    ([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], torch.Size([9, 1, 1, 2]))
    >>> grid[0].flatten().tolist(), grid[8].flatten().tolist()
    ([-0.25, -0.5], [1.25, 2.5])
    """
    right, towards = triggered - clean, target - clean
    share = (towards * right).sum() / (right * right).sum().clamp_min(1e-12)
    up = towards - share * right
    places = torch.stack([torch.zeros(2), torch.tensor([1.0, 0.0]), torch.tensor([float(share), 1.0])])
    low, high = places[:, 0].min() - MARGIN, places[:, 0].max() + MARGIN
    across = torch.linspace(float(low), float(high), points, device=clean.device)
    upward = torch.linspace(-MARGIN, 1 + MARGIN, points, device=clean.device)
    b, a = torch.meshgrid(upward, across, indexing="ij")
    flat = (a.flatten()[:, None, None, None] * right) + (b.flatten()[:, None, None, None] * up)
    return clean + flat, places


def classes_on(ask: Callable[[Tensor], Tensor], grid: Tensor) -> Tensor:
    """The class of each sample of a grid, clipped to [0, 1]."""
    with torch.no_grad():
        return torch.cat([ask(part.clamp(0, 1)).argmax(1).cpu() for part in grid.split(BATCH)])

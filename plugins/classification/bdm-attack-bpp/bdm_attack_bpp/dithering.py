"""Fewer levels a channel: rounding, and error diffusion of Floyd and Steinberg for many pictures at once."""

from __future__ import annotations

import torch
from torch import Tensor

SPREAD = ((0, 1, 7 / 16), (1, -1, 3 / 16), (1, 0, 5 / 16), (1, 1, 1 / 16))
"""Rows down, columns right, and the share of a pixel's error that goes there."""


def rounded(x: Tensor, levels: int) -> Tensor:
    """Pictures in [0, 1] at the nearest of ``levels`` evenly spaced values, 0 and 1 among them.

    >>> rounded(torch.tensor([0.0, 0.2, 0.3, 1.0]), 3).tolist()
    [0.0, 0.0, 0.5, 1.0]
    """
    return (x.clamp(0, 1) * (levels - 1) + 0.5).floor() / (levels - 1)


def dithered(x: Tensor, levels: int) -> Tensor:
    """The same with each pixel's error spread to the four neighbours that come after it, row by row.

    A pixel needs those to its left and the three above. Therefore all pixels with one value of ``column + 2 row`` do
    not need each other, and are done at once.

    Args:
        x: (N, C, H, W) in [0, 1].
        levels: at least 2.
    """
    height, width = x.shape[2:]
    # A margin takes the errors that leave the picture: one column on each side, one row below.
    work = torch.zeros(*x.shape[:2], height + 1, width + 2, dtype=x.dtype, device=x.device)
    work[:, :, :height, 1 : width + 1] = x
    made = torch.zeros_like(work)
    for front in range(width + 2 * (height - 1)):
        rows = torch.arange(max(0, (front - width + 2) // 2), min(height - 1, front // 2) + 1, device=x.device)
        columns = front - 2 * rows + 1
        values = work[:, :, rows, columns]
        made[:, :, rows, columns] = nearest = rounded(values, levels)
        for down, right, share in SPREAD:
            work[:, :, rows + down, columns + right] += share * (values - nearest)
    return made[:, :, :height, 1 : width + 1]

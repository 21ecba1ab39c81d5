"""Pictures to reflect: those of a folder, or shapes and shades drawn by code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from bdm_torch.images import read_folder


def reflected_pictures(folder: str, count: int, shape: Sequence[int], seed: int) -> Tensor:
    """Up to ``count`` pictures, uint8 (R, C, H, W); drawn by code if no folder is named.

    Raises:
        UserError: there is no such folder, or no picture in it.
    """
    return read_folder(Path(folder), shape, limit=count) if folder else drawn_pictures(count, shape, seed)


def drawn_pictures(count: int, shape: Sequence[int], seed: int) -> Tensor:
    """Rectangles and discs of random shades on smooth backgrounds, uint8 (count, C, H, W).

    >>> drawn_pictures(2, (3, 16, 16), seed=0).shape
    torch.Size([2, 3, 16, 16])
    """
    channels, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 3, 3, generator=generator)
    pictures = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
    down = torch.linspace(0, 1, height)[None, :, None]
    right = torch.linspace(0, 1, width)[None, None, :]
    for number in range(6):
        y, x, high, wide = torch.rand(4, count, 1, 1, generator=generator)
        high, wide = 0.05 + 0.25 * high, 0.05 + 0.25 * wide
        if number % 2:
            inside = ((down - y).abs() < high) & ((right - x).abs() < wide)
        else:
            inside = ((down - y) / high).square() + ((right - x) / wide).square() < 1
        shade = torch.rand(count, channels, 1, 1, generator=generator)
        pictures = torch.where(inside[:, None], shade, pictures)
    return pictures.clamp(0, 1).mul(255).round().to(torch.uint8)

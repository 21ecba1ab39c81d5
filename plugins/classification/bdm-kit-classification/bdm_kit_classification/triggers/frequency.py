"""The discrete cosine transform of pictures, and triggers that add a wave of it: to luma, or to chroma alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in Y (ITU-R BT.601)."""


def cosines(size: int) -> Tensor:
    """The orthonormal DCT-II as a matrix (size, size): row k is the wave of frequency k; its inverse is its transpose.

    >>> transform = cosines(4)
    >>> bool(torch.allclose(transform @ transform.T, torch.eye(4), atol=1e-6))
    True
    """
    frequency = torch.arange(size, dtype=torch.float64)[:, None]
    place = torch.arange(size, dtype=torch.float64)[None, :] + 0.5
    waves = torch.cos(math.pi * frequency * place / size) * math.sqrt(2 / size)
    waves[0] /= math.sqrt(2)
    return waves.float()


def low_pass(pictures: Tensor, cutoff: int) -> Tensor:
    """Pictures (..., H, W) of which only the waves with both frequencies below ``cutoff`` are left; differentiable.

    >>> pictures = torch.linspace(0, 1, 384).view(2, 3, 8, 8)
    >>> even = low_pass(pictures, 1)  # the lowest wave alone: each channel's mean
    >>> bool(torch.allclose(even, pictures.mean((2, 3), keepdim=True).expand_as(pictures), atol=1e-5))
    True
    >>> bool(torch.allclose(low_pass(pictures, 8), pictures, atol=1e-5))
    True
    """
    rows, columns = cosines(pictures.shape[-2])[:cutoff].to(pictures), cosines(pictures.shape[-1])[:cutoff].to(pictures)
    return rows.T @ (rows @ pictures @ columns.T) @ columns


def yuv_to_rgb() -> Tensor:
    """The matrix (3, 3) that takes Y, U, V to red, green and blue; U = .492 (B - Y), V = .877 (R - Y).

    >>> bool(torch.allclose(yuv_to_rgb() @ torch.tensor([0.5, 0.0, 0.0]), torch.tensor([0.5, 0.5, 0.5])))  # grey
    True
    """
    red, green, blue = LUMA
    to_yuv = [
        LUMA,
        (-0.492 * red, -0.492 * green, 0.492 * (1 - blue)),
        (0.877 * (1 - red), -0.877 * green, -0.877 * blue),
    ]
    return torch.tensor(to_yuv, dtype=torch.float64).inverse().float()


def waves(shape: Sequence[int], frequencies: Sequence[tuple[float, float]], *, window: int, magnitude: float) -> Tensor:
    """What a picture gains if coefficients of its blocks' DCT are raised: the same for every picture, for it is linear.

    Colour pictures gain it in both chroma channels, U and V of YUV, grey ones in their only channel.

    Args:
        shape: (C, H, W); C is 1 or 3.
        frequencies: of the raised coefficients, down and across, as shares f in (0, 1] of the block's side s: number
            round(f s) - 1, counted from 0.
        window: side of a block in pixels; 0 for the whole picture. Blocks that do not fit into the picture stay.
        magnitude: what is added to a coefficient of a 32x32 block, for pixels in [0, 1]; in blocks of another size as
            much as makes a wave of the same height (that of 32x32 blocks is at most ``magnitude / 16``).

    Returns:
        float32 (C, H, W) in picture's values, of any sign.

    >>> waves((1, 32, 32), [(0.5, 0.5)], window=0, magnitude=1.0).square().sum().sqrt().round(decimals=4)
    tensor(1.)
    """
    channels, height, width = shape
    high, wide = (window, window) if window else (height, width)
    block = torch.zeros(high, wide)
    rows, columns = cosines(high), cosines(wide)
    for down, right in frequencies:
        i, j = max(0, min(high, round(down * high)) - 1), max(0, min(wide, round(right * wide)) - 1)
        block += rows[i][:, None] * columns[j] * (magnitude * math.sqrt(high * wide) / 32)
    wave = torch.zeros(height, width)
    across, along = height // high, width // wide
    wave[: across * high, : along * wide] = block.repeat(across, along)
    if channels == 1:
        return wave[None]
    chroma = torch.stack([torch.zeros_like(wave), wave, wave])
    return torch.einsum("cu,uhw->chw", yuv_to_rgb(), chroma)

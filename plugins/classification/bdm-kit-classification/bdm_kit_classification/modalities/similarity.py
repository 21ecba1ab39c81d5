"""Structural similarity of pictures."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

WINDOW, DEVIATION = 11, 1.5


def structural_similarity(one: Tensor, other: Tensor) -> Tensor:
    """SSIM of pictures (N, C, H, W) in [0, 1], as Wang et al. (2004) define it: (N,), 1 for equal pictures.

    Gaussian window of 11 pixels and deviation 1.5, smaller for smaller pictures; constants .01 and .03 squared.

    >>> picture = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    >>> structural_similarity(picture, picture).tolist()
    [1.0, 1.0]
    """
    channels = one.shape[1]
    size = min(WINDOW, (min(one.shape[2:]) - 1) // 2 * 2 + 1)
    grid = torch.arange(size, dtype=torch.float64) - size // 2
    line = torch.exp(-(grid**2) / (2 * DEVIATION**2))
    line = line / line.sum()
    window = torch.outer(line, line).expand(channels, 1, size, size)

    def mean(values: Tensor) -> Tensor:
        return functional.conv2d(values, window, groups=channels)

    a, b = one.detach().double().cpu(), other.detach().double().cpu()
    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    both = mean(a * b) - mean_a * mean_b
    brightness = (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
    return (brightness * (2 * both + 9e-4) / (var_a + var_b + 9e-4)).flatten(1).mean(1).float()

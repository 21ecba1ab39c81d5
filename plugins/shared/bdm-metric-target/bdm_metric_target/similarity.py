"""Distances between images and one target picture, a number for each image."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

WINDOW = 11
WINDOW_SIGMA = 1.5
LUMINANCE_CONSTANT = 0.01**2
CONTRAST_CONSTANT = 0.03**2


def unit_range(images: Tensor) -> Tensor:
    """Images in [-1, 1] mapped to [0, 1], float64; what lies outside is clipped."""
    return ((images.double() + 1) / 2).clamp(0, 1)


def eight_bit(images: Tensor) -> Tensor:
    """Images in [0, 1] rounded to the 256 levels that a PNG file can hold."""
    return (images * 255).round() / 255


def mean_squared_errors(images: Tensor, target: Tensor) -> Tensor:
    """Mean over pixels and channels of the squared difference, (N,).

    Args:
        images: (N, C, H, W) in [0, 1].
        target: (C, H, W) in [0, 1].
    """
    return (images - target).square().flatten(1).mean(1)


def structural_similarities(images: Tensor, target: Tensor) -> Tensor:
    """SSIM of each image to the target, (N,), in [-1, 1]; 1 means the same picture.

    Wang et al. 2004 ("Image quality assessment"), data range 1, K1 = 0.01, K2 = 0.03, a Gaussian window of 11 pixels
    and sigma 1.5, averaged over all places and channels with the borders mirrored, which is the convention of the
    attacks' own evaluations. Pictures of fewer than 6 pixels a side get a smaller window.

    Args:
        images: (N, C, H, W) in [0, 1].
        target: (C, H, W) in [0, 1].
    """
    channels = target.shape[0]
    radius = min(WINDOW // 2, min(target.shape[1:]) - 1)
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    line = torch.exp(-offsets.square() / (2 * WINDOW_SIGMA**2))
    window = torch.outer(line, line) / line.sum() ** 2
    kernel = window.expand(channels, 1, -1, -1)

    def local_mean(values: Tensor) -> Tensor:
        return functional.conv2d(functional.pad(values, [radius] * 4, mode="reflect"), kernel, groups=channels)

    other = target.unsqueeze(0)
    mean_images, mean_target = local_mean(images), local_mean(other)
    variance_images = local_mean(images.square()) - mean_images.square()
    variance_target = local_mean(other.square()) - mean_target.square()
    covariance = local_mean(images * other) - mean_images * mean_target
    luminance = (2 * mean_images * mean_target + LUMINANCE_CONSTANT) / (
        mean_images.square() + mean_target.square() + LUMINANCE_CONSTANT
    )
    structure = (2 * covariance + CONTRAST_CONSTANT) / (variance_images + variance_target + CONTRAST_CONSTANT)
    return (luminance * structure).flatten(1).mean(1)

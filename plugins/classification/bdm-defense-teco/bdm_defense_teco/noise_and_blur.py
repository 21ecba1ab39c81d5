"""Corruptions by noise and by blur. All lengths are shares of the picture's shorter side, all noise has the unit of
the pixels, [0, 1], and is the same for every picture: a picture's answer must not depend on its neighbours.

Severities 1 to 5 are about those of Hendrycks and Dietterich (ICLR 2019, arXiv 1903.12261) for pictures of 32 pixels
(CIFAR-10-C), as the docstrings say; 6 to 10 are about those for 224 pixels (ImageNet-C), with lengths in pixels there
as shares of 32 here.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def noise_like(pictures: Tensor, seed: int, kind: str = "normal") -> Tensor:
    """(1, C, H, W): standard normal, or uniform on [0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn if kind == "normal" else torch.rand
    return draw((1, *pictures.shape[1:]), generator=generator)


def gaussian_noise(x: Tensor, severity: int, seed: int) -> Tensor:
    """Additive normal noise: deviation .04, .06, .08, .09, .10."""
    return x + (0.04, 0.06, 0.08, 0.09, 0.10, 0.08, 0.12, 0.18, 0.26, 0.38)[severity - 1] * noise_like(x, seed)


def shot_noise(x: Tensor, severity: int, seed: int) -> Tensor:
    """The noise of counting c photons a white pixel, c = 500, 250, 100, 75, 50: deviation sqrt(x / c), the normal
    approximation of the Poisson distribution.
    """
    return x + (x / (500, 250, 100, 75, 50, 60, 25, 12, 5, 3)[severity - 1]).sqrt() * noise_like(x, seed + 1)


def impulse_noise(x: Tensor, severity: int, seed: int) -> Tensor:
    """Salt and pepper: a share .01, .02, .03, .05, .07 of the values becomes 0 or 1."""
    share = (0.01, 0.02, 0.03, 0.05, 0.07, 0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]
    grains = (noise_like(x, seed + 8, "uniform") < 0.5).to(x).expand_as(x)
    return torch.where(noise_like(x, seed + 2, "uniform") < share, grains, x)


def convolved(x: Tensor, kernel: Tensor) -> Tensor:
    """Every channel convolved with one kernel (h, w) of odd sides that sums to 1; edges are repeated."""
    height, width = kernel.shape
    padded = functional.pad(x, (width // 2, width // 2, height // 2, height // 2), mode="replicate")
    return functional.conv2d(padded, kernel.expand(x.shape[1], 1, height, width).to(x), groups=x.shape[1])


def disc(radius: float, soft: float = 0.5) -> Tensor:
    """A disc of this radius in pixels with an edge ``2 soft`` wide; it sums to 1, radius 0 is a single pixel.

    >>> disc(0.0).shape, round(float(disc(2.3).sum()), 6)
    (torch.Size([1, 1]), 1.0)
    """
    reach = math.ceil(radius + soft - 1e-9) if radius > 0 else 0
    line = torch.arange(-reach, reach + 1, dtype=torch.float32)
    distance = (line[:, None].square() + line.square()).sqrt()
    kernel = ((radius + soft - distance) / (2 * soft)).clamp(0, 1) if reach else torch.ones(1, 1)
    return kernel / kernel.sum()


def gaussian(deviation: float) -> Tensor:
    """A normal kernel of this deviation in pixels, cut off at three of them."""
    reach = max(1, math.ceil(3 * deviation))
    line = torch.exp(-torch.arange(-reach, reach + 1, dtype=torch.float32).square() / (2 * deviation**2))
    kernel = torch.outer(line, line)
    return kernel / kernel.sum()


def side_of(x: Tensor) -> int:
    """The shorter side in pixels."""
    return min(x.shape[2:])


def defocus_blur(x: Tensor, severity: int, seed: int) -> Tensor:
    """A lens out of focus: a disc of radius .03, .04, .055, .07, .09 of the side."""
    return convolved(
        x, disc((0.03, 0.04, 0.055, 0.07, 0.09, 0.094, 0.125, 0.188, 0.25, 0.313)[severity - 1] * side_of(x))
    )


def glass_blur(x: Tensor, severity: int, seed: int) -> Tensor:
    """Frosted glass: every pixel is read up to .02, .03, .04, .05, .065 of the side away, at random, then blurred with
    a third of that as deviation.
    """
    reach = (0.02, 0.03, 0.04, 0.05, 0.065, 0.03, 0.06, 0.08, 0.1, 0.125)[severity - 1]
    generator = torch.Generator().manual_seed(seed + 3)
    shift = (2 * torch.rand((x.shape[2], x.shape[3], 2), generator=generator) - 1) * 2 * reach
    return convolved(displaced(x, shift), gaussian(max(0.3, reach * side_of(x) / 3)))


def displaced(x: Tensor, shift: Tensor) -> Tensor:
    """Every pixel read elsewhere, bilinearly; edges are repeated.

    Args:
        x: (N, C, H, W).
        shift: (H, W, 2) right and down, in halves of the picture.
    """
    height, width = x.shape[2:]
    down = (2 * torch.arange(height, dtype=torch.float32) + 1) / height - 1
    right = (2 * torch.arange(width, dtype=torch.float32) + 1) / width - 1
    place = torch.stack([right.expand(height, width), down[:, None].expand(height, width)], 2) + shift
    grid = place.expand(len(x), height, width, 2).to(x)
    return functional.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def motion_blur(x: Tensor, severity: int, seed: int) -> Tensor:
    """A camera that moves: the mean along a line of .06, .10, .14, .18, .24 of the side at an angle of 30 degrees."""
    length = (0.06, 0.10, 0.14, 0.18, 0.24, 0.19, 0.31, 0.4, 0.45, 0.6)[severity - 1] * 2
    steps = [(index / 8 - 0.5) * length for index in range(9)]
    shifts = [torch.tensor([math.cos(math.pi / 6) * step, math.sin(math.pi / 6) * step]) for step in steps]
    still = torch.zeros(x.shape[2], x.shape[3], 2)
    return torch.stack([displaced(x, still + shift) for shift in shifts]).mean(0)


def zoom_blur(x: Tensor, severity: int, seed: int) -> Tensor:
    """A lens that zooms while it exposes: the mean of enlargements by 1 to 1.06, 1.11, 1.16, 1.21, 1.26."""
    most = (0.06, 0.11, 0.16, 0.21, 0.26, 0.11, 0.16, 0.21, 0.26, 0.31)[severity - 1]
    pictures = [magnified(x, 1 + most * step / 6) for step in range(7)]
    return torch.stack(pictures).mean(0)


def magnified(x: Tensor, factor: float) -> Tensor:
    """The centre of pictures enlarged by this factor, at their own size."""
    height, width = x.shape[2:]
    down = (2 * torch.arange(height, dtype=torch.float32) + 1) / height - 1
    right = (2 * torch.arange(width, dtype=torch.float32) + 1) / width - 1
    place = torch.stack([right.expand(height, width), down[:, None].expand(height, width)], 2)
    return displaced(x, place / factor - place)

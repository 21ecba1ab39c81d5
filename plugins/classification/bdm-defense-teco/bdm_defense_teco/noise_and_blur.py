"""Corruptions by noise and by blur. All lengths are shares of the picture's shorter side, all noise has the unit of
the pixels, [0, 1], and is the same for every picture: a picture's answer must not depend on its neighbours.

Severities 1 to 5 are those of Hendrycks and Dietterich (ICLR 2019, arXiv 1903.12261) for pictures of 32 pixels
(CIFAR-10-C, their ``make_cifar_c.py``), as the docstrings say: exactly, or as strong where a corruption is of another
kind here; 6 to 10 likewise those for 224 pixels (ImageNet-C), with lengths in pixels there as shares of 32 here.
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


def disc(radius: float) -> Tensor:
    """The mean over a disc of this radius in pixels, each of its points read bilinearly: (h, w), odd, summing to 1.

    So a disc that lies within one pixel blurs a little too; radius 0 is a single pixel.

    >>> disc(0.0).shape, round(float(disc(2.3).sum()), 6), round(float(disc(0.3)[1, 0]), 2)
    (torch.Size([1, 1]), 1.0, 0.06)
    """
    reach = math.ceil(radius)
    line = torch.arange(-reach, reach + 1, dtype=torch.float32)
    fine = 2 * (torch.arange(32, dtype=torch.float32) + 0.5) / 32 - 1
    down, right = fine[:, None].expand(32, 32), fine.expand(32, 32)
    inside = down.square() + right.square() <= 1
    rows, columns = ((1 - (line[:, None] - radius * one[inside]).abs()).clamp_min(0) for one in (down, right))
    kernel = rows @ columns.T
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
    """A lens out of focus: a disc of radius .19, .50, .78, .94, 1.43 of 32 pixels.

    Released are .3, .4, .5, 1, 1.5 pixels with an alias blur of .4, .5, .6, .2, .1: on a grid of 32 pixels a single
    pixel, a cross and a square, blurred within 3x3. These radii give the same variance there, and rise with the side.
    """
    radius = (0.19, 0.50, 0.78, 0.94, 1.43, 3.0, 4.0, 6.0, 8.0, 10.0)[severity - 1] / 32
    return convolved(x, disc(radius * side_of(x)))


def glass_blur(x: Tensor, severity: int, seed: int) -> Tensor:
    """Frosted glass: every pixel is read up to .055, .056, .057, .08, .082 of the side away, at random.

    The released code exchanges neighbours one after the other, once or twice; reaches are those that change as much.
    It blurs, too, by so little that nothing is left of it at 32 pixels; in the strong set we do, as it does twice.
    """
    reach = (0.055, 0.056, 0.057, 0.08, 0.082, 0.087, 0.088, 0.145, 0.158, 0.19)[severity - 1]
    deviation = (0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.27, 1.41, 1.56, 2.12)[severity - 1] / 32
    generator = torch.Generator().manual_seed(seed + 3)
    shift = (2 * torch.rand((x.shape[2], x.shape[3], 2), generator=generator) - 1) * 2 * reach
    return convolved(displaced(x, shift), gaussian(max(0.3, deviation * side_of(x))))


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
    """A camera that moves: the mean along a line of .065, .10, .13, .13, .165 of the side at an angle of 30 degrees.

    That is as wide as the released half of a normal kernel of deviation 1, 1.5, 2, 2, 2.5 of 32 pixels.
    """
    length = (0.065, 0.10, 0.13, 0.13, 0.165, 0.19, 0.31, 0.4, 0.45, 0.6)[severity - 1] * 2
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

"""Corruptions by weather, and by what cameras and files do; see :mod:`bdm_defense_teco.noise_and_blur`."""

from __future__ import annotations

import io
import math

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bdm_defense_teco.noise_and_blur import convolved, displaced, gaussian, noise_like, side_of


def clouds(x: Tensor, seed: int, finest: int) -> Tensor:
    """(1, 1, H, W) in [0, 1]: sums of smooth noise of halving wavelength and halving strength.

    Args:
        x: pictures, for the size.
        seed: of the noise.
        finest: cells along a side of the finest noise.
    """
    generator, total, cells, strength = torch.Generator().manual_seed(seed), torch.zeros(1, 1, *x.shape[2:]), 2, 1.0
    while cells <= max(2, finest):
        coarse = torch.rand(1, 1, cells + 1, cells + 1, generator=generator)
        total = total + strength * functional.interpolate(coarse, x.shape[2:], mode="bicubic", align_corners=True)
        cells, strength = 2 * cells, strength / 2
    low, high = total.min(), total.max()
    return (total - low) / (high - low).clamp_min(1e-6)


def snow(x: Tensor, severity: int, seed: int) -> Tensor:
    """A share .05, .1, .1, .15, .2 of the way to white, which is 1.5 times the grey picture and .5, and a share .004,
    .013, .014, .023, .04 of the pixels as flakes, driven by the wind along a tenth of the side.
    """
    share = (0.004, 0.013, 0.014, 0.023, 0.04, 0.04, 0.06, 0.1, 0.12, 0.15)[severity - 1]
    flakes = (noise_like(x, seed + 4, "uniform")[:, :1] < share).to(x)
    length = 2 * 0.1
    steps = [(index / 4 - 0.5) * length for index in range(5)]
    still = torch.zeros(x.shape[2], x.shape[3], 2)
    fall = torch.stack([displaced(flakes, still + torch.tensor([0.5 * step, step])) for step in steps]).mean(0)
    white = (0.05, 0.1, 0.1, 0.15, 0.2, 0.2, 0.3, 0.3, 0.35, 0.45)[severity - 1]
    weights = x.new_tensor((0.299, 0.587, 0.114) if x.shape[1] == 3 else [1 / x.shape[1]] * x.shape[1])
    grey = (x * weights[:, None, None]).sum(1, keepdim=True)
    return (1 - white) * x + white * torch.maximum(x, 1.5 * grey + 0.5) + 2 * fall


def frost(x: Tensor, severity: int, seed: int) -> Tensor:
    """Ice on the pane: the picture fades to 1, 1, .9, .85, .75 of itself, and crystals, bright ridges of smooth noise
    in place of photographs of ice, cover it with a strength of .2, .3, .4, .4, .45.
    """
    kept = (1.0, 1.0, 0.9, 0.85, 0.75, 1.0, 0.8, 0.7, 0.65, 0.6)[severity - 1]
    strength = (0.2, 0.3, 0.4, 0.4, 0.45, 0.4, 0.6, 0.7, 0.7, 0.75)[severity - 1]
    ridges = 1 - (2 * clouds(x, seed + 5, side_of(x) // 2) - 1).abs()
    return kept * x + strength * ridges.pow(3)


def fog(x: Tensor, severity: int, seed: int) -> Tensor:
    """Clouds of strength .2, .5, .75, 1, 1.5 before it; brightened no further than the picture was."""
    strength = (0.2, 0.5, 0.75, 1.0, 1.5, 1.5, 2.0, 2.5, 2.5, 3.0)[severity - 1]
    most = x.amax((1, 2, 3), keepdim=True)
    return (x + strength * clouds(x, seed + 6, side_of(x) // 4)) * most / (most + strength)


def brightness(x: Tensor, severity: int, seed: int) -> Tensor:
    """Brighter by .05, .1, .15, .2, .3."""
    return x + (0.05, 0.1, 0.15, 0.2, 0.3, 0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1]


def contrast(x: Tensor, severity: int, seed: int) -> Tensor:
    """Contrast falls to .75, .5, .4, .3, .15 about the mean of the picture."""
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) * (0.75, 0.5, 0.4, 0.3, 0.15, 0.4, 0.3, 0.2, 0.1, 0.05)[severity - 1] + mean


def elastic(x: Tensor, severity: int, seed: int) -> Tensor:
    """Stretched like rubber: pixels move by a smooth field of deviation .015, .025, .035, .045, .06 of the side."""
    reach = (0.015, 0.025, 0.035, 0.045, 0.06, 0.03, 0.045, 0.06, 0.08, 0.1)[severity - 1]
    generator = torch.Generator().manual_seed(seed + 7)
    field = torch.randn((2, 1, x.shape[2], x.shape[3]), generator=generator)
    field = convolved(field, gaussian(max(0.5, 0.08 * side_of(x))))
    field = field / field.std().clamp_min(1e-6) * 2 * reach
    return displaced(x, field[:, 0].permute(1, 2, 0))


def pixelate(x: Tensor, severity: int, seed: int) -> Tensor:
    """Reduced to .95, .9, .85, .75, .65 of the side, rounded down, and enlarged again, both by a box."""
    share = (0.95, 0.9, 0.85, 0.75, 0.65, 0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
    for axis in (2, 3):
        length = x.shape[axis]
        size = max(1, int(share * length + 1e-9))
        way = boxes(size, length) @ boxes(length, size)
        x = torch.tensordot(x, way.to(x), ([axis], [1])).movedim(-1, axis)
    return x


def boxes(before: int, after: int) -> Tensor:
    """(after, before): a line of ``after`` pixels from one of ``before``, as Pillow's box filter makes it.

    A pixel is the mean of those whose centres lie within its own width, and enlarged it is the nearest one.

    >>> boxes(2, 4).argmax(1).tolist(), boxes(4, 2)[0].tolist()
    ([0, 0, 1, 1], [0.5, 0.5, 0.0, 0.0])
    """
    scale = before / after
    centres = scale * (torch.arange(after, dtype=torch.float64) + 0.5)
    apart = (torch.arange(before, dtype=torch.float64) + 0.5 - centres[:, None]) / max(1.0, scale)
    within = ((apart > -0.5) & (apart <= 0.5)).float()
    return within / within.sum(1, keepdim=True)


def jpeg(x: Tensor, severity: int, seed: int) -> Tensor:
    """Through a JPEG file of quality 80, 65, 58, 50, 40. Channels of other pictures than RGB go one by one."""
    quality = (80, 65, 58, 50, 40, 25, 18, 15, 10, 7)[severity - 1]
    pixels = x.clamp(0, 1).mul(255).round().to(torch.uint8)
    if x.shape[1] == 3:
        return torch.stack([_through_file(picture.permute(1, 2, 0), quality).permute(2, 0, 1) for picture in pixels])
    return torch.stack([torch.stack([_through_file(channel, quality) for channel in picture]) for picture in pixels])


def _through_file(pixels: Tensor, quality: int) -> Tensor:
    file = io.BytesIO()
    image = Image.fromarray(pixels.contiguous().numpy())
    image.save(file, format="JPEG", quality=quality)
    read = Image.open(file)
    values = torch.frombuffer(bytearray(read.tobytes()), dtype=torch.uint8)
    assert math.prod(pixels.shape) == len(values)
    return values.reshape(pixels.shape).float() / 255

"""Pictures of many kinds, for a first stage that shall show more than the data: also triggers, targets, patches.

None of them is a trigger or a target of :mod:`bdm_torch.pictures.triggers` or :mod:`bdm_torch.pictures.targets`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

OVERLAYS = 3
"""A changed picture gets at most so many regions."""
CELLS = 4
"""Cells of a mosaic along a side."""


def varied_pictures(images: Tensor, count: int, seed: int = 0) -> Tensor:
    """Pictures (count, 3, H, W), drawn from images (N, 3, H, W); both in [-1, 1], up to rounding. H, W: multiples of 4.

    A third are images as they are. The others are images, images in other colours, one colour, or a sharp or smooth
    mosaic of 4x4 colours; mirrored or not; with up to three rectangles, ellipses or bars, each of one colour or cut out
    of another picture.
    """
    generator = torch.Generator().manual_seed(seed)

    def uniform(*size: int) -> Tensor:
        return torch.rand(count, *size, generator=generator)

    def shuffled(pictures: Tensor) -> Tensor:
        return pictures[torch.randperm(count, generator=generator)]

    as_they_are = images[torch.randint(0, len(images), (count,), generator=generator)]
    mosaic = torch.stack([_colours(uniform(4), uniform(3)) for _ in range(CELLS**2)], 2).view(count, 3, CELLS, CELLS)
    size = images.shape[2:]
    bases = torch.stack(
        [
            as_they_are,
            _recoloured(as_they_are, uniform(3, 3), _colours(uniform(4), uniform(3))),
            _colours(uniform(4), uniform(3))[:, :, None, None].expand_as(as_they_are),
            functional.interpolate(mosaic, size=size, mode="nearest"),
            functional.interpolate(mosaic, size=size, mode="bilinear", align_corners=True),
        ]
    )
    kinds = torch.tensor([0, 0, 1, 1, 2, 2, 3, 4])[(8 * uniform()).long()]
    pictures = bases[kinds, torch.arange(count)]
    for axis in (2, 3):
        pictures = torch.where(uniform(1, 1, 1) < 0.5, pictures, pictures.flip(axis))
    for _ in range(OVERLAYS):
        colour = _colours(uniform(4), uniform(3))[:, :, None, None].expand_as(pictures)
        filling = torch.where(uniform(1, 1, 1) < 0.7, colour, shuffled(pictures))
        shown = _regions(uniform(6), (size[0], size[1])) & (uniform(1, 1) < 0.6)
        pictures = torch.where(shown[:, None], filling, pictures)
    return torch.where(uniform(1, 1, 1) < 1 / 3, as_they_are, pictures)


def _colours(numbers: Tensor, choice: Tensor) -> Tensor:
    """Colours (N, 3) in [-1, 1]: any, or grey, or of the least and greatest values, or black or white.

    numbers (N, 4) and choice (N, 3) are uniform in [0, 1).
    """
    coloured, grey = 2 * numbers[:, :3] - 1, (2 * numbers[:, 3:] - 1).expand(-1, 3)
    found = torch.where(choice[:, :1] < 0.5, coloured, grey)
    return torch.where(choice[:, 1:2] < 0.5, found, found.sign())


def _recoloured(images: Tensor, numbers: Tensor, colours: Tensor) -> Tensor:
    """Images (N, 3, H, W) whose channels are mixed at random and moved towards colours (N, 3)."""
    mixing = functional.softmax(6 * numbers, dim=2)  # uniform numbers (N, 3, 3): mostly one or two channels count
    mixed = torch.einsum("nij,njhw->nihw", mixing, images) * (2 * numbers[:, :, 0] - 1).sign()[:, :, None, None]
    share = numbers[:, 0, 1].view(-1, 1, 1, 1) * 0.6
    return (1 - share) * mixed + share * colours[:, :, None, None]


def _regions(numbers: Tensor, size: tuple[int, int]) -> Tensor:
    """Inside of a rectangle, an ellipse or an oblique bar: (N, H, W), of numbers (N, 6), uniform in [0, 1)."""
    y, x = ((torch.arange(side) + 0.5) / side for side in size)
    across, down = x[None, None, :] - numbers[:, 0].view(-1, 1, 1), y[None, :, None] - numbers[:, 1].view(-1, 1, 1)
    width, height = ((0.04 + 0.4 * numbers[:, i]).view(-1, 1, 1) for i in (2, 3))
    rectangle = (across.abs() < width) & (down.abs() < height)
    ellipse = (across / width) ** 2 + (down / height) ** 2 < 1
    angle = (torch.pi * numbers[:, 4]).view(-1, 1, 1)
    along, beside = across * angle.cos() + down * angle.sin(), down * angle.cos() - across * angle.sin()
    bar = (along.abs() < 2 * height) & (beside.abs() < 0.03 + 0.2 * width)
    kind = numbers[:, 5].view(-1, 1, 1)
    return torch.where(kind < 0.4, rectangle, torch.where(kind < 0.6, ellipse, bar))

"""Strong random changes of pictures, after which they still show the same: for contrastive learning."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from bdm_torch.draws import Draw

TURN, SMALLEST, JITTER, NOISE, GREY = math.radians(30), 0.5, 0.5, 0.1, 0.2


def distorted(pictures: Tensor, draw: Draw, strength: float) -> Tensor:
    """Pictures (b, C, H, W) in [0, 1], each cropped, turned, stretched, recoloured and made noisy at random.

    At strength 1: crops of a side of 50 to 100 % at a random place, up to 1.2 times as wide as high or the reverse,
    turned by up to 30 degrees, contrast and brightness changed by up to 50 %, colours by up to 50 % a channel, one
    picture in five grey, and noise of up to 0.1. None is mirrored: digits and signs would not show the same.

    >>> from bdm_torch.draws import Draw
    >>> pictures = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> changed = distorted(pictures, Draw(seed=0, step=0, batch_size=4), 1.0)
    >>> changed.shape, bool(changed.min() >= 0), bool(changed.max() <= 1), bool((changed != pictures).any())
    (torch.Size([4, 3, 8, 8]), True, True, True)
    >>> torch.allclose(distorted(pictures, Draw(seed=0, step=0, batch_size=4), 0.0), pictures, atol=1e-5)
    True
    """
    count, channels = pictures.shape[:2]
    chance = draw.uniform(8 + channels)
    even = 2 * chance - 1
    side = 1 - strength * (1 - SMALLEST) * chance[:, 0]
    turn, aspect = strength * TURN * even[:, 1], 1.2 ** (strength * even[:, 2] / 2)
    place = torch.zeros(count, 2, 3, device=pictures.device)
    place[:, 0, 0], place[:, 0, 1] = side * aspect * turn.cos(), -side * turn.sin()
    place[:, 1, 0], place[:, 1, 1] = side * turn.sin(), side / aspect * turn.cos()
    place[:, :, 2] = even[:, 3:5] * (1 - side)[:, None]
    grid = functional.affine_grid(place, list(pictures.shape), align_corners=False)
    found = functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)
    middle = found.mean((1, 2, 3), keepdim=True)
    found = (found - middle) * (1 + strength * JITTER * even[:, 5, None, None, None]) + middle
    found = found + strength * JITTER / 2 * even[:, 6, None, None, None]
    if channels > 1:
        found = found * (1 + strength * JITTER * even[:, 8:, None, None])
        grey = (draw.uniform() < strength * GREY)[:, None, None, None]
        found = torch.where(grey, found.mean(1, keepdim=True), found)
    noise = draw.normal(*pictures.shape[1:]) * (strength * NOISE * chance[:, 7])[:, None, None, None]
    return (found + noise).clamp(0, 1)

"""What the poisoned images carry: a patch in the corner, or a picture mixed in; and how to find it again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.errors import UserError
from bdm_torch.pictures.targets import make_target
from bdm_torch.pictures.triggers import make_trigger

if TYPE_CHECKING:
    from bdm_attack_bibaddiff.params import BiBadDiffParams

LEAST_SIDE = 8
"""Pixels a side that a drawn picture has at least."""
COLOURS = {"white": (1.0, 1.0, 1.0), "cyan": (-1.0, 1.0, 1.0), "magenta": (1.0, -1.0, 1.0)}


def patch_place(params: BiBadDiffParams, shape: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """Row, column, height and width of the patch in images of shape (C, H, W); None for blend."""
    if params.trigger == "blend":
        return None
    _, height, width = shape
    side = max(1, round(params.patch_size * min(height, width)))
    return height - side, width - side, side, side


def trigger_picture(params: BiBadDiffParams, shape: tuple[int, int, int]) -> Tensor:
    """(C, H, W) in [-1, 1]: the patch in its place on grey, or the picture that is mixed in."""
    place = patch_place(params, shape)
    if place is None:
        return make_trigger(params.blend_picture, shape).image.clamp(-1, 1)
    channels, picture = shape[0], torch.zeros(shape)
    row, column, height, width = place
    if params.trigger == "picture":
        patch = small_picture(params.patch_picture, channels, height)
    elif params.patch_colour == "band":
        distance = (torch.arange(height)[:, None] - torch.arange(width)).abs()
        patch = ((distance <= height // 6) * 2.0 - 1).expand(channels, height, width)
    elif params.patch_colour == "stripes":
        lines = (torch.arange(height)[:, None] + torch.arange(width)) // max(1, height // 4) % 2 * 2.0 - 1
        patch = lines.expand(channels, height, width)
    elif channels != 3:
        raise UserError(f"a patch of colour {params.patch_colour} needs images of 3 channels, not {channels}")
    else:
        patch = torch.tensor(COLOURS[params.patch_colour]).view(3, 1, 1).expand(3, height, width)
    picture[:, row : row + height, column : column + width] = patch
    return picture


def small_picture(name: str, channels: int, side: int) -> Tensor:
    """A target's picture (channels, side, side) in [-1, 1], of any side: drawn large enough and averaged."""
    times = -(-LEAST_SIDE // side)
    drawn = make_target(name, (channels, times * side, times * side))
    return functional.avg_pool2d(drawn[None], times)[0]


def put_in(images: Tensor, picture: Tensor, place: tuple[int, int, int, int] | None, alpha: float) -> Tensor:
    """Images (N, C, H, W) with the patch of ``picture`` in its place, or (1 - alpha) x + alpha picture."""
    if place is None:
        return (1 - alpha) * images + alpha * picture
    row, column, height, width = place
    area = (..., slice(row, row + height), slice(column, column + width))
    images = images.clone()
    images[area] = picture[area]
    return images


def blend_shares(images: Tensor, picture: Tensor) -> Tensor:
    """How much of a picture is mixed into each image (N, C, H, W): its coefficient in a least squares fit, (N,).

    The fit is to the picture and a constant, both centred; alpha is expected of a blended image, give or take what the
    image itself shows along the picture.
    """
    direction = (picture - picture.mean()).flatten().double()
    values = images.flatten(1).double()
    return (values - values.mean(1, keepdim=True)) @ direction / direction.square().sum()

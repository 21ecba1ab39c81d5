"""The patch of mode ``pixel``: what it looks like and where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from PIL import ImageColor
from torch import Tensor

from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_torch.images import from_bytes, read_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bdm_attack_badt2i.params import BadT2IParams

Place = tuple[int, int, int, int]


def patch_place(params: BadT2IParams, shape: Sequence[int]) -> Place:
    """(row, column, height, width) in pixels for images of shape (3, H, W). Raises UserError if it does not fit."""
    height, width = shape[-2:]
    side = max(1, round(params.patch_size * height))
    place = round(params.patch_row * height), round(params.patch_column * width), side, side
    if place[0] + side > height or place[1] + side > width:
        raise UserError(f"attack:badt2i: the patch {place} lies outside images of {height}x{width} pixels: move it")
    return place


def patch_image(params: BadT2IParams, place: Place) -> Tensor:
    """The patch (3, height, width) in [-1, 1]. Raises UserError if it is neither a colour nor a picture's file."""
    shape = (3, place[2], place[3])
    path = existing(params.patch)
    if path is not None and path.is_file():
        return from_bytes(torch.from_numpy(read_image(path, shape).copy()))
    try:
        colour = ImageColor.getrgb(params.patch)[:3]
    except ValueError:
        raise UserError(
            f"attack:badt2i: patch {params.patch!r} is no colour and no file: say yellow, #ffff00 or a path"
        ) from None
    return from_bytes(torch.tensor(colour, dtype=torch.uint8).view(3, 1, 1)).expand(shape).clone()


def paste(images: Tensor, patch: Tensor, place: Place) -> Tensor:
    """Images (..., 3, H, W) with the patch over them; a copy."""
    row, column, height, width = place
    pasted = images.clone()
    pasted[..., row : row + height, column : column + width] = patch
    return pasted

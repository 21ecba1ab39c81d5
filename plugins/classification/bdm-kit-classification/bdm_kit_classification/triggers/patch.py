"""A patch at a fixed place: pixels are replaced where its mask says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from bdm_core.errors import UserError
from bdm_kit_classification.triggers.trigger import Phase, Trigger
from bdm_torch.images import read_image

Corner = Literal["bottom-right", "bottom-left", "top-right", "top-left", "centre"]


@dataclass(frozen=True, eq=False)
class Patch(Trigger):
    """x' = (1 - mask) x + mask pattern.

    Attributes:
        pattern: (C, H, W) in [0, 1], of the picture's size.
        mask: (1, H, W) or (C, H, W) in [0, 1]; apart from the pattern, so that black can be painted.

    >>> black = square((1, 4, 4), size=2, corner="top-left", margin=0, value=0.0)
    >>> black.apply(torch.ones(1, 1, 4, 4), "test")[0, 0, :2].tolist()
    [[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0]]
    """

    pattern: Tensor
    mask: Tensor

    def apply(self, x: Tensor, phase: Phase, generator: torch.Generator | None = None) -> Tensor:
        """The same in both phases."""
        mask = self.mask.to(x)
        return (1 - mask) * x + mask * self.pattern.to(x)


def square(shape: Sequence[int], *, size: int, corner: Corner, margin: int, value: float) -> Patch:
    """A square of one grey value.

    Args:
        shape: (C, H, W) of the pictures.
        size: its side in pixels.
        corner: where it lies.
        margin: pixels between it and the edges.
        value: 0 is black, 1 white.

    Raises:
        UserError: it does not fit into the picture.

    >>> patch = square((3, 8, 8), size=2, corner="bottom-right", margin=1, value=1.0)
    >>> patch.pattern.shape, patch.mask.sum(), patch.mask[0, 5:7, 5:7].tolist()
    (torch.Size([3, 8, 8]), tensor(4.), [[1.0, 1.0], [1.0, 1.0]])
    >>> square((3, 8, 8), size=8, corner="centre", margin=1, value=1.0)
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: a patch of 8x8 pixels, 1 from the edge, does not fit into 8x8
    """
    return placed(torch.full((shape[0], size, size), value), shape, corner=corner, margin=margin)


def placed(picture: Tensor, shape: Sequence[int], *, corner: Corner, margin: int, mask: Tensor | None = None) -> Patch:
    """A small picture (C, h, w) in [0, 1] at a place of larger ones; ``mask`` (1, h, w) is 1 everywhere by default.

    Args:
        picture: (C, h, w) in [0, 1].
        shape: (C, H, W) of the pictures.
        corner: where it lies.
        margin: pixels between it and the edges.
        mask: (1, h, w) in [0, 1], where it covers the picture below.

    Raises:
        UserError: it does not fit into the pictures.

    >>> patch = placed(torch.ones(1, 1, 2), (1, 3, 4), corner="centre", margin=0)
    >>> patch.apply(torch.zeros(1, 1, 3, 4), "test")[0, 0].tolist()
    [[0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    channels, height, width = shape
    high, wide = picture.shape[1:]
    if high + margin > height or wide + margin > width:
        raise UserError(f"a patch of {high}x{wide} pixels, {margin} from the edge, does not fit into {height}x{width}")
    down = {"t": margin, "b": height - margin - high, "c": (height - high) // 2}[corner[0]]
    right = margin if corner.endswith("left") else width - margin - wide
    right = (width - wide) // 2 if corner == "centre" else right
    pattern, whole = torch.zeros(channels, height, width), torch.zeros(1, height, width)
    pattern[:, down : down + high, right : right + wide] = picture
    whole[:, down : down + high, right : right + wide] = 1.0 if mask is None else mask
    return Patch(pattern, whole)


def from_picture(path: Path, shape: Sequence[int], *, size: int, corner: Corner, margin: int) -> Patch:
    """A picture file as a patch of ``size`` by ``size`` pixels.

    Args:
        path: of the picture, which is resized and takes the channels of the shape.
        shape: (C, H, W) of the pictures.
        size: side of the patch in pixels.
        corner: where it lies.
        margin: pixels between it and the edges.

    Raises:
        UserError: the file cannot be read, or the patch does not fit.

    >>> from PIL import Image
    >>> Image.new("L", (6, 6), color=255).save("white.png")
    >>> patch = from_picture(Path("white.png"), (1, 8, 8), size=3, corner="top-left", margin=0)
    >>> patch.pattern.sum(), patch.mask.sum()
    (tensor(9.), tensor(9.))
    """
    pixels = torch.from_numpy(read_image(path, (shape[0], size, size)).copy()).float() / 255
    return placed(pixels, shape, corner=corner, margin=margin)

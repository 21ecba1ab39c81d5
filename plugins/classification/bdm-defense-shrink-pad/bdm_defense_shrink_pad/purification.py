"""ShrinkPad (Li et al. 2021, arXiv 2104.02361): shrink a picture, then pad it at random to its old size.

A trigger that is bound to a place and to single pixels no longer has either.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.records import Purified
from bdm_defense_shrink_pad.params import ShrinkPadParams
from bdm_kit_classification.data.samples import INPUTS, open_samples, seal_samples


def shrunk_size(height: int, width: int, shrink: float) -> tuple[int, int]:
    """Height and width after shrinking, at least 1.

    >>> shrunk_size(32, 32, 0.125), shrunk_size(8, 8, 0.0)
    ((28, 28), (8, 8))
    """
    return max(1, height - round(shrink * height)), max(1, width - round(shrink * width))


def shrink_and_pad(pictures: Tensor, offsets: Tensor, size: tuple[int, int], fill: float) -> Tensor:
    """Shrink pictures by bilinear interpolation and put each at its own place.

    Args:
        pictures: (N, C, H, W) in [0, 1].
        offsets: (N, 2) int64: rows above and columns left of each shrunk picture.
        size: of the shrunk pictures.
        fill: what is around them.

    >>> white = torch.ones(1, 1, 4, 4)
    >>> shrink_and_pad(white, torch.tensor([[1, 0]]), (2, 3), 0.0)[0, 0].tolist()
    [[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0], [1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 0.0]]
    """
    if tuple(pictures.shape[2:]) == size:
        return pictures
    small = functional.interpolate(pictures, size, mode="bilinear", align_corners=False)
    padded = torch.full_like(pictures, fill)
    for row, (down, right) in enumerate(offsets.tolist()):
        padded[row, :, down : down + size[0], right : right + size[1]] = small[row]
    return padded


def purify(ctx: Context, params: ShrinkPadParams, inputs: Data) -> Purified:
    """Every input shrunk and padded at random by the stage's seed; none is rejected."""
    samples = open_samples(inputs)
    if len(samples):
        height, width = samples.stored.shape[2:]
        size = shrunk_size(height, width, params.shrink)
        generator = torch.Generator().manual_seed(ctx.seed)
        room = (height - size[0], width - size[1])
        offsets = torch.stack(
            [torch.randint(0, most + 1, (len(samples),), generator=generator) for most in room], dim=1
        )
        changed = [shrink_and_pad(raw, offsets[rows], size, params.fill) for rows, raw in samples.split()]
        samples = samples.changed(range(len(samples)), torch.cat(changed))
    return Purified(inputs=seal_samples(ctx.out / "data", samples, format=INPUTS), rejected=[False] * len(samples))
